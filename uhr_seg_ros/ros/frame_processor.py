# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""The way of a frame on the worker: decode, segment, paint, publish."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
import math
import time
from typing import Any

import cv2
import numpy as np

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.core.gpu_health import GpuSample, open_probe, Probe
from uhr_seg_ros.core.memory import trim_heap, TypicalSize
from uhr_seg_ros.core.raw_frame import RawFrame
from uhr_seg_ros.core.timing import StageClock
from uhr_seg_ros.core.visualization import draw_density, scaled_size
from uhr_seg_ros.image_io.limits import FrameLimit
from uhr_seg_ros.pipelines.pipeline import TilingOptions
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.ros.camera import Camera
from uhr_seg_ros.ros.inputs import Frame
from uhr_seg_ros.ros.parameters.settings import Settings
from uhr_seg_ros.ros.stage_windows import StageWindows
from uhr_seg_ros.ros.stalls import Sign

PROGRESS_PERIOD_S = 5.0

SMALL_MESSAGE = 1 << 24
"""Messages of up to so many bytes are not worth giving back; those of pictures vary in size."""


class FrameProcessor:
    """
    Owns the segmenter.

    `load`, `unload` and `process` are for the worker's thread alone: an engine may belong to the
    thread that opened it, as those of CUDA do.

    Args:
        report: gets a line when something takes long, such as building an engine.
        warn: gets a line about what works, but should be mended.
        later: runs a job on the worker, when the frame in work is gone.

    Attributes:
        not_kept: why engines have to be built again at the next start, and what to do; or empty.
        gpu_temperature_c: what `values` has found last, None without a GPU.
        last_sign: when a build has shown progress last, s (`time.monotonic`).
        sign: what was told last by something that takes long, None for nothing.

    """

    def __init__(
        self,
        report: Callable[[str], None],
        warn: Callable[[str], None],
        later: Callable[[Callable[[], object]], object],
    ) -> None:
        self._report = report
        self._warn = warn
        self._later = later
        self._usual, self._messages = TypicalSize(), TypicalSize()
        self.not_kept = ''
        self.last_sign = -math.inf
        self.sign: Sign | None = None
        self._next_progress_s = 0.0
        self._segmenter: Segmenter | None = None
        self._facts: dict[str, str] = {}
        self._stages = StageWindows()
        self._probe: Probe | None = None
        self.gpu_temperature_c: float | None = None

    @property
    def name(self) -> str:
        """Bundle and back end, for a log line."""
        return f'{self._facts.get("bundle")} on {self._facts.get("backend")}'

    @property
    def samples(self) -> bool:
        """Whether the bundle chooses where it samples a frame."""
        return self._segmenter is not None and self._segmenter.bundle.kind.has_sampling_grid

    @property
    def fallback(self) -> str:
        """Why a slower back end runs than there could be, and what to do; or empty."""
        return self._facts.get('fallback', '')

    def misfit(self, settings: Settings) -> str:
        """Return why the bundle is not for how the cameras look, and what to do; or empty."""
        segmenter = self._segmenter  # the worker may unload meanwhile
        if segmenter is None:
            return ''
        return segmenter.bundle.domain.misfit(segmenter.bundle.name, settings.camera_view)

    def load(self, settings: Settings) -> ClassSet:
        """
        Open the engines of the bundle and return its classes.

        Raises:
            UhrSegError: the bundle, the back end or the memory limit is not usable.

        """
        self.not_kept = ''
        FrameLimit(settings.max_pixels).check('input_size', *settings.input_size[::-1])
        self._segmenter = Segmenter(
            settings.bundle,
            settings.backend,
            TilingOptions(settings.memory_limit_mb),
            input_size=settings.input_size[::-1],
            options=EngineOptions(
                threads=settings.threads,
                precision=settings.precision,
                workspace_mb=settings.workspace_mb,
                cache=settings.engine_cache,
                report=self._on_report,
                warn=self._note_not_kept,
                on_progress=self._on_progress,
            ),
        )
        self._stages = StageWindows()
        self._facts = _facts(self._segmenter)
        line = self._segmenter.bundle.domain_line
        self._report(f'{line}; camera_view is {settings.camera_view}')
        if misfit := self.misfit(settings):
            self._warn(misfit)
        self._probe = open_probe() if self._segmenter.backend == 'tensorrt' else None
        return self._segmenter.bundle.classes

    def unload(self) -> None:
        """Close the engines, if there are any."""
        segmenter, self._segmenter = self._segmenter, None
        self._facts = {}
        self.not_kept = ''
        self._probe = None
        self._stages = StageWindows()
        if segmenter is not None:
            segmenter.close()

    def process(
        self, camera: Camera, frame: Frame, settings: Settings
    ) -> Callable[[], None] | None:
        """
        Turn one frame into the messages that someone subscribes to.

        Returns:
            None when that is done; on a GPU what waits for it and publishes, so that the next
            frame may be uploaded before.

        Raises:
            UhrSegError: the frame cannot be read or segmented.

        """
        start = time.monotonic()
        clock = StageClock()
        confidence = settings.confidence_enabled and camera.output.wants_confidence
        wanted = {
            'confidence': confidence or camera.wants_points,
            'overlay': camera.output.wanted_pictures(settings),
        }
        # A message that is rejected has been in memory, too.
        if self._messages.outgrows(max(len(frame.message.data), SMALL_MESSAGE)):
            self._later(trim_heap)
        with clock.stage('convert'):
            image = frame.view(camera.remark, self._limit(settings, wanted))
        size = image.height, image.width
        camera.monitor.pace.begin(size)
        outgrows = self._usual.outgrows(image.height * image.width)
        self._segmenter.keep_memory(not outgrows)
        if outgrows:
            self._later(trim_heap)  # when the frame is done and gone
        pending = self._segmenter.submit(image, **wanted, refinement=settings.refinement)

        def finish() -> None:
            result = pending.result()
            with clock.stage('publish'):
                camera.output.publish(frame.message.header, result, confidence=confidence)
                if camera.output.wants_sampling:
                    picture = self._sampling_picture(image, settings.overlay_scale)
                    camera.output.publish_sampling(frame.message.header, picture)
            now = time.monotonic()
            clock.add('total', (now - start) * 1e3)
            # On the CPU the segmenter converts the frame too.
            times = Counter(convert=0.0)
            times.update(result.stage_times)
            times.update(clock.times)
            latency_ms = (now - frame.arrival) * 1e3
            self._stages.add(times, latency_ms, result.refined_share)
            waited_ms = (start - frame.arrival) * 1e3
            camera.monitor.note_mask(now, size, now - start)
            camera.output.publish_times(
                frame.message.header, {'wait': waited_ms, **times, 'latency': latency_ms}
            )
            if camera.clouds is not None:
                camera.clouds.offer_mask(frame.message.header, result)

        if self._segmenter.is_async:
            return finish
        finish()
        return None

    def _limit(self, settings: Settings, wanted: Mapping[str, Any]) -> FrameLimit:
        """Return how large a frame may be of which this is wanted."""
        each = self._segmenter.bytes_per_pixel(**wanted)
        return FrameLimit(settings.max_pixels, settings.memory_limit_mb, each)

    def note_cloud(self, milliseconds: float) -> None:
        """Note what labelling and publishing the points of a camera took."""
        self._stages.add_cloud(milliseconds)

    def _sampling_picture(self, image: RawFrame, scale: float) -> np.ndarray:
        """Paint where a frame is sampled; to look at, so it is worked out once more."""
        height, width = scaled_size((image.height, image.width), scale)
        small = cv2.resize(image.bgr, (width, height), interpolation=cv2.INTER_AREA)
        return draw_density(small, self._segmenter.sampling_grid(image))

    def values(self) -> dict[str, str]:
        """Return stage times, what runs, and how the GPU is, for `/diagnostics`."""
        probe = self._probe  # the worker may unload meanwhile
        sample = probe() if probe else GpuSample(None, None, None)
        self.gpu_temperature_c = sample.temperature_c
        gpu = {
            f'gpu_{name}': f'{value:.1f}'
            for name, value in sample._asdict().items()
            if value is not None
        }
        return {**self._stages.values(), **self._facts, **gpu}

    def take_recent(self) -> list[tuple[float, float | None]]:
        """Return latency, ms, and refined share of the frames since the last call."""
        return self._stages.take_recent()

    def _note_not_kept(self, text: str) -> None:
        self.not_kept = text
        self._warn(text)

    def _on_report(self, text: str) -> None:
        self._note_sign(text)
        self._report(text)

    def _note_sign(self, text: str) -> float:
        segmenter = self._segmenter  # none while the first engines are built
        builds = segmenter is not None and segmenter.backend == 'tensorrt'
        self.last_sign = time.monotonic()
        self.sign = Sign(text, self.last_sign, builds)
        return self.last_sign

    def _on_progress(self, phase: str, done: int, total: int) -> None:
        """Report the progress of a build now and then."""
        now = self._note_sign(f'{phase}: {done} of {total}')
        if now >= self._next_progress_s:
            self._next_progress_s = now + PROGRESS_PERIOD_S
            self._report(f'{phase}: {done} of {total}')


def _facts(segmenter: Segmenter) -> dict[str, str]:
    """Return what makes two runs comparable."""
    provenance = segmenter.provenance
    facts = {
        'backend': segmenter.backend,
        'backend_version': str(provenance['version']),
        'device': str(provenance['device']),
        'bundle': segmenter.bundle.name,
        'bundle_sha256': segmenter.bundle.sha256,
        'domain': str(segmenter.bundle.domain),
        'domain_view': ', '.join(segmenter.bundle.domain.views) or 'unknown',
        'engine_sha256': ', '.join(f'{name} {sha}' for name, sha in provenance['sha256'].items()),
    }
    if segmenter.fallback:
        facts['fallback'] = segmenter.fallback
    # Whatever else is told of what runs has its own name; these have one above.
    named = ('bundle', 'backend', 'version', 'device', 'sha256')
    others = {key: str(value) for key, value in provenance.items() if key not in named and value}
    return {**facts, **others}
