# Copyright 2026 uhr_seg_ros contributors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""The way of a frame on the worker: decode, segment, paint, publish."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
import time
from typing import NamedTuple

import cv2
import numpy as np
from rclpy.impl.rcutils_logger import RcutilsLogger
from sensor_msgs.msg import CompressedImage, Image

from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.errors import UhrSegError
from uhr_seg_ros.core.memory import trim_heap
from uhr_seg_ros.core.raw_frame import RawFrame
from uhr_seg_ros.core.visualization import draw_density, OverlayOptions, scaled_size
from uhr_seg_ros.image_io.limits import FrameLimit
from uhr_seg_ros.pipelines.pipeline import PendingResult
from uhr_seg_ros.pipelines.relabeling import Relabeling
from uhr_seg_ros.pipelines.segmenter import Segmentation, Segmenter
from uhr_seg_ros.pipelines.smoothing import BYTES_PER_PIXEL, MaskSmoother
from uhr_seg_ros.ros.camera import Camera, Frame
from uhr_seg_ros.ros.diagnostics import Recent, StageWindows
from uhr_seg_ros.ros.engines import Engines, why_whole
from uhr_seg_ros.ros.messages.images import read_frame
from uhr_seg_ros.ros.outputs import CameraOutput, FrameResult
from uhr_seg_ros.ros.parameters.node_parameters import Parameters
from uhr_seg_ros.ros.parameters.settings import Settings
from uhr_seg_ros.ros.samples import Sample, SampleRequests

SMALL_MESSAGE = 1 << 24
"""Messages of up to so many bytes are not worth giving back; those of pictures vary in size."""

_REMEMBERED = 8
"""Sizes that are remembered; of them, what came once is no reason to keep memory."""

_SLACK = 1.5
"""How many times the usual size may be kept."""


class TypicalSize:
    """
    Tells when buffers that grow with the work should be given back.

    They may stay as large as what came twice among the last pieces of work, so that two cameras
    of different sizes, or a change of resolution, cost nothing for long.
    """

    def __init__(self) -> None:
        self._recent: deque[int] = deque(maxlen=_REMEMBERED)
        self._held = 0

    def outgrows(self, size: int) -> bool:
        """
        Note a piece of work; True asks for its buffers to be given back when it is done.

        Args:
            size: of the work, in any unit.

        """
        self._recent.append(size)
        usual = sorted(self._recent)[-2] if len(self._recent) > 1 else size
        self._held = max(self._held, size)
        if self._held <= _SLACK * usual:
            return False
        self._held = 0
        return True


class _Work(NamedTuple):
    """A frame that the segmenter has begun; times in s (`time.monotonic`)."""

    camera: Camera
    output: CameraOutput
    frame: Frame
    pending: PendingResult[Segmentation]
    asked: frozenset[str]
    settings: Settings
    sampling: Callable[[], np.ndarray]
    start: float
    convert_ms: float
    is_watched: bool
    sampled: RawFrame | None


class FrameProcessor:
    """
    Owns the segmenter, turns frames into messages, and knows how long that takes.

    `load`, `adopt`, `relabel`, `unload` and `process` are for the worker's thread alone: an engine
    may belong to the thread that opened it, as those of CUDA do.

    Args:
        cameras: by their names.
        parameters: of the node.
        logger: gets a line when something takes long, such as building an engine, and about what
            works, but should be mended.
        run_later: runs a job on the worker, when the frame in work is gone.

    Attributes:
        engines: opens engines, and tells of those that run.
        samples: who waits for a frame with all that became of it.
        applied: the settings that bundle and classes are those of.

    """

    def __init__(
        self,
        cameras: Mapping[str, Camera],
        parameters: Parameters,
        logger: RcutilsLogger,
        run_later: Callable[[Callable[[], object]], object],
    ) -> None:
        self._cameras, self._parameters = cameras, parameters
        self._logger, self._run_later = logger, run_later
        self._frame_sizes, self._message_sizes = TypicalSize(), TypicalSize()
        self.engines = Engines(logger)
        self._segmenter: Segmenter | None = None
        self._smoothers: dict[str, MaskSmoother] = {}
        self._stages = StageWindows()
        self.samples = SampleRequests()
        self.applied = parameters.settings
        self._labels: Relabeling | None = None

    @property
    def name(self) -> str:
        """Bundle and back end, for a log line."""
        facts = self.engines.facts
        return f'{facts.get("bundle")} on {facts.get("backend")}'

    @property
    def bundle(self) -> Bundle:
        """The bundle that is loaded."""
        assert self._segmenter is not None  # who asks has loaded it
        return self._segmenter.bundle

    @property
    def labels(self) -> Relabeling:
        """What the ids of the masks mean."""
        assert self._labels is not None  # who asks has loaded a bundle
        return self._labels

    def runs(self, segmenter: Segmenter) -> bool:
        """Tell whether frames run on these engines."""
        return self._segmenter is segmenter

    @property
    def is_loaded(self) -> bool:
        """Whether a bundle is loaded."""
        return self._segmenter is not None

    @property
    def fallback(self) -> str:
        """Why a slower back end runs than there could be, and what to do; or empty."""
        return self.engines.facts.get('fallback', '')

    def misfit(self, settings: Settings) -> str:
        """Return why the bundle is not for how the cameras look, and what to do; or empty."""
        segmenter = self._segmenter  # the worker may unload meanwhile
        if segmenter is None:
            return ''
        return segmenter.bundle.domain.misfit(segmenter.bundle.name, settings.camera_view)

    def why_whole(self, settings: Settings) -> str:
        """Return why a frame budget that is asked for is not kept, and what to do; or empty."""
        return why_whole(self._segmenter, settings)

    def load(self, settings: Settings) -> None:
        """
        Open the engines of the bundle.

        Raises:
            UhrSegError: the bundle, the back end, the memory limit, a region of interest or a name
                of a class is not usable.

        """
        self.engines.rebuild_reason = ''
        segmenter = self.open(settings)
        try:
            self._begin(segmenter, settings)
        except UhrSegError:  # such as a class that the bundle does not have
            segmenter.close()
            raise

    def open(self, settings: Settings) -> Segmenter:
        """
        Open the engines of a bundle beside those that run, if any.

        That may be done on another thread than the worker's where they do not belong to it, see
        `needs_one_thread`.

        Raises:
            UhrSegError: as `load`, but for names of classes.

        """
        return self.engines.open(settings)

    def adopt(self, segmenter: Segmenter, settings: Settings) -> None:
        """
        Let the next frames run on other engines, and close those before.

        Raises:
            ConfigError: a class that the bundle does not have; everything is as it was.

        """
        before = self._segmenter
        self._begin(segmenter, settings)
        for camera in self._cameras.values():
            camera.adopt(segmenter.bundle, self.labels)
        if before is not None:
            before.close()
        self._run_later(trim_heap)

    def relabel(self, settings: Settings) -> None:
        """
        Let classes of the next frames be as they are wanted.

        Raises:
            ConfigError: a class that the bundle does not have; everything is as it was.

        """
        if self._segmenter is None:
            return
        self._labels = _labels(self._segmenter, settings)
        self.applied = settings
        for camera in self._cameras.values():
            if camera.output is not None:
                camera.output.publish_labels(self._labels)

    def _begin(self, segmenter: Segmenter, settings: Settings) -> None:
        self._labels = _labels(segmenter, settings)
        self._segmenter, self.applied = segmenter, settings
        self._smoothers = {}
        self._stages = StageWindows()
        self.engines.note(segmenter)
        line = segmenter.bundle.domain_line
        self._logger.info(f'{line}; camera_view is {settings.camera_view}')
        if misfit := self.misfit(settings):
            self._logger.warning(misfit)

    def unload(self) -> None:
        """Close the engines, if there are any."""
        segmenter, self._segmenter = self._segmenter, None
        self._smoothers = {}
        self.engines.forget()
        self._stages = StageWindows()
        if segmenter is not None:
            segmenter.close()

    def survives_loss(self) -> bool:
        """Take note that the GPU is lost, and tell if the segmenter goes on without it."""
        segmenter = self._segmenter
        if segmenter is None or segmenter.is_lost:
            return False
        self._stages = StageWindows()
        self.engines.note(segmenter)
        self._logger.warning(segmenter.fallback)
        return True

    def min_interval(self) -> float:
        """Return the least time between two frames of a camera that are processed, s."""
        return self._parameters.settings.min_interval_s

    def process(self, name: str, frame: Frame) -> Callable[[], None] | None:
        """
        Turn one frame of a camera into the messages that someone subscribes to.

        Returns:
            None when that is done; on a GPU what waits for it and publishes, so that the next
            frame may be uploaded before.

        Raises:
            UhrSegError: the frame cannot be read or segmented.

        """
        start = time.monotonic()
        camera, settings = self._cameras[name], self._parameters.settings
        segmenter, output = self._segmenter, camera.output
        if output is None or segmenter is None:  # a transition did not wait for the frame
            msg = 'the node was closed while the frame was in work'
            raise UhrSegError(msg)
        asked = output.wanted(settings)
        is_sampled = name in self.samples.wanted
        labels = self.labels if self.labels.changes else None
        confidence = 'confidence' in asked or camera.wants_points
        confidence |= 'objects' in asked or (labels is not None and labels.threshold > 0)
        overlay = OverlayOptions(
            overlay='overlay' in asked or is_sampled,
            color_mask='color_mask' in asked,
            alpha=settings.overlay_alpha,
            scale=settings.overlay_scale,
        )
        # A message that is rejected has been in memory, too.
        if self._message_sizes.outgrows(max(len(frame.message.data), SMALL_MESSAGE)):
            self._run_later(trim_heap)
        begun = time.monotonic()
        smoother = self._smoother(name, settings.smoothing)
        each = segmenter.bytes_per_pixel(confidence=confidence, overlay=overlay)
        each += BYTES_PER_PIXEL if smoother else 0
        limit = FrameLimit(settings.max_pixels, settings.memory_limit_mb, each)
        image = read_frame(frame.message, camera.remark, limit)
        convert_ms = 1e3 * (time.monotonic() - begun)
        camera.monitor.pace.begin((image.height, image.width))
        self._keep_memory(segmenter, image)
        budget = roi = None
        if settings.detail == 'budget' and not self.why_whole(settings):
            budget = camera.attention.budget(settings.frame_budget_ms, convert_ms)
        if name in settings.regions:
            roi = camera.attention.roi(settings.regions[name])
        is_watched = camera.is_watched(frame.arrival, settings)
        pending = segmenter.submit(
            image,
            confidence=confidence,
            overlay=overlay,
            refinement=settings.refinement,
            budget=budget,
            roi=roi,
            smoothing=smoother and partial(smoother, stamp_ns=frame.stamp_ns),
            novelty=is_watched,
            relabeling=labels,
        )
        if segmenter.fallback != self.fallback:  # engines for a new size were refused
            self.engines.note(segmenter)
            self._logger.warning(self.fallback)
        sampling = partial(_sampling_picture, segmenter, image, settings.overlay_scale)
        work = _Work(
            camera,
            output,
            frame,
            pending,
            asked,
            settings,
            sampling,
            start,
            convert_ms,
            is_watched,
            image if is_sampled else None,
        )
        if segmenter.is_async:
            return partial(self._finish, work)
        self._finish(work)
        return None

    def _smoother(self, name: str, frames: int) -> MaskSmoother | None:
        """Return the filter over time of a camera, a new one where the parameter changed."""
        smoother = self._smoothers.get(name)
        if frames <= 1:
            self._smoothers.pop(name, None)
            return None
        if smoother is None or smoother.frames != frames:
            smoother = self._smoothers[name] = MaskSmoother(frames)
        return smoother

    def _finish(self, work: _Work) -> None:
        """Wait for the result of a frame, publish it, and note what that took."""
        header, result = work.frame.message.header, work.pending.result()
        done = time.monotonic()
        settings = work.settings
        shown = settings.mask_size.fit(result)
        published = FrameResult(header, shown, work.asked, work.sampling, settings)
        work.output.publish(published)
        now = time.monotonic()
        stages = dict(result.stage_times)
        # On the CPU the segmenter converts the frame too.
        times = {'convert': work.convert_ms + stages.pop('convert', 0.0), **stages}
        times |= {'publish': 1e3 * (now - done), 'total': 1e3 * (now - work.start)}
        latency_ms = 1e3 * (now - work.frame.arrival)
        self._stages.add(times, latency_ms, result.refined_share, result.detail_share)
        height, width = result.mask.shape
        work.camera.monitor.note_mask(now, (height, width), now - work.start)
        waited_ms = 1e3 * (work.start - work.frame.arrival)
        times = {'wait': waited_ms, **times, 'latency': latency_ms}
        work.output.publish_times(replace(published, times_ms=times))
        if work.sampled is not None:
            self._hand_in(work, work.sampled, result, times)
        if work.camera.clouds is not None:
            work.camera.clouds.put_mask(header, result)
        if work.camera.ground is not None:
            work.camera.ground.put_mask(header, result)
        if work.is_watched:
            work.camera.look(header, result, settings)

    def segment(self, message: Image | CompressedImage) -> Segmentation:
        """
        Segment an image that belongs to no camera; its mask has its size.

        Raises:
            UhrSegError: it cannot be read or segmented, or nothing is loaded.

        """
        segmenter, settings = self._segmenter, self._parameters.settings
        if segmenter is None:
            msg = 'no bundle is loaded: configure the node'
            raise UhrSegError(msg)
        labels = self.labels if self.labels.changes else None
        each = segmenter.bytes_per_pixel(confidence=labels is not None and labels.threshold > 0)
        limit = FrameLimit(settings.max_pixels, settings.memory_limit_mb, each)
        image = read_frame(message, lambda remark: None, limit)
        self._keep_memory(segmenter, image)
        return segmenter(image, refinement=settings.refinement, relabeling=labels)

    def _keep_memory(self, segmenter: Segmenter, image: RawFrame) -> None:
        """Let memory go behind an image that is larger than usual."""
        outgrows = self._frame_sizes.outgrows(image.height * image.width)
        segmenter.keep_memory(not outgrows)
        if outgrows:
            self._run_later(trim_heap)  # when it is done and gone

    def _hand_in(
        self, work: _Work, image: RawFrame, result: Segmentation, times_ms: Mapping[str, float]
    ) -> None:
        """Hand a frame and what became of it to whoever waits for a sample."""
        camera, header = work.camera, work.frame.message.header
        topic = camera.monitor.topic_name
        sample = Sample(header, topic, image, result, times_ms, dict(self.engines.facts))
        self.samples.put(camera.name, sample)

    def note_cloud(self, milliseconds: float) -> None:
        """Note what labeling and publishing the points of a camera took."""
        self._stages.add_cloud(milliseconds)

    def values(self) -> dict[str, str]:
        """Return stage times, what runs, and how the GPU is, for `/diagnostics`."""
        return {**self._stages.values(), **self.engines.facts, **self.engines.gpu_values()}

    def take_recent(self) -> list[Recent]:
        """Return what is judged of the frames since the last call."""
        return self._stages.take_recent()


def _sampling_picture(segmenter: Segmenter, image: RawFrame, scale: float) -> np.ndarray:
    """Paint where a frame is sampled; to look at, so it is worked out once more."""
    height, width = scaled_size((image.height, image.width), scale)
    small = cv2.resize(image.bgr, (width, height), interpolation=cv2.INTER_AREA)
    return draw_density(small, segmenter.sampling_grid(image))


def _labels(segmenter: Segmenter, settings: Settings) -> Relabeling:
    threshold = settings.confidence_threshold
    return Relabeling(segmenter.bundle.classes, settings.class_edits, threshold)
