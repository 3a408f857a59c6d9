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

"""Opens engines, and tells what they are, how far a build is, and how the GPU is."""

from __future__ import annotations

import math
import time

from rclpy.impl.rcutils_logger import RcutilsLogger

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.core.gpu_health import GpuSample, open_probe, Probe
from uhr_seg_ros.image_io.limits import FrameLimit
from uhr_seg_ros.pipelines.frame_budget import FrameBudget
from uhr_seg_ros.pipelines.pipeline import TilingOptions, WARM_UP_SIZE
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.ros.parameters.settings import Settings
from uhr_seg_ros.ros.stalls import Sign

PROGRESS_PERIOD_S = 5.0


class Engines:
    """
    Opens the engines of bundles, and knows of those that run what `/diagnostics` tells.

    Args:
        logger: gets a line when something takes long, such as building an engine, and about what
            works, but should be mended.

    Attributes:
        facts: what makes two runs comparable; empty where nothing runs.
        rebuild_reason: why engines have to be built again at the next start, and what to do; or
            empty.
        gpu_temperature_c: what `gpu_values` has found last, None without a GPU.
        last_sign: when a build has shown progress last, s (`time.monotonic`).
        sign: what was told last by something that takes long, None for nothing.

    """

    def __init__(self, logger: RcutilsLogger) -> None:
        self._logger = logger
        self.facts: dict[str, str] = {}
        self.rebuild_reason = ''
        self.last_sign = -math.inf
        self.sign: Sign | None = None
        self._next_progress_s = 0.0
        self._probe: Probe | None = None
        self.gpu_temperature_c: float | None = None

    def open(self, settings: Settings) -> Segmenter:
        """
        Open the engines of the bundle that the parameters name.

        Raises:
            UhrSegError: the bundle, the back end, the memory limit or a region of interest is not
                usable.

        """
        FrameLimit(settings.max_pixels).check('input_size', *settings.input_size[::-1])
        for region in settings.regions.values():
            region.open()  # or raises
        segmenter = Segmenter(
            settings.bundle,
            settings.backend,
            TilingOptions(settings.memory_limit_mb, settings.tile_size or None),
            input_size=settings.input_size[::-1],
            options=EngineOptions(
                threads=settings.threads,
                precision=settings.precision,
                workspace_mb=settings.workspace_mb,
                cache=settings.engine_cache,
                report=self.on_report,
                warn=self.note_rebuild,
                on_progress=self.on_progress,
            ),
        )
        if settings.frame_budget_ms and not why_whole(segmenter, settings):
            segmenter.warm_up(WARM_UP_SIZE, FrameBudget(settings.frame_budget_ms))
        return segmenter

    def note(self, segmenter: Segmenter) -> None:
        """Take note of the engines that run."""
        self.facts = _facts(segmenter)
        self._probe = open_probe() if segmenter.backend == 'tensorrt' else None

    def forget(self) -> None:
        """Take note that none run any more."""
        self.facts, self._probe, self.rebuild_reason = {}, None, ''

    def gpu_values(self) -> dict[str, str]:
        """Return how the GPU is, for `/diagnostics`; nothing without one."""
        probe = self._probe  # the worker may unload meanwhile
        sample = probe() if probe else GpuSample(None, None, None)
        self.gpu_temperature_c = sample.temperature_c
        return {
            f'gpu_{name}': f'{value:.1f}'
            for name, value in sample._asdict().items()
            if value is not None
        }

    def note_rebuild(self, text: str) -> None:
        """Tell that engines will be built again."""
        self.rebuild_reason = text
        self._logger.warning(text)

    def on_report(self, text: str) -> None:
        """Tell what takes long."""
        self._note_sign(text)
        self._logger.info(text)

    def on_progress(self, phase: str, done: int, total: int) -> None:
        """Tell of the progress of a build now and then."""
        now = self._note_sign(f'{phase}: {done} of {total}')
        if now >= self._next_progress_s:
            self._next_progress_s = now + PROGRESS_PERIOD_S
            self._logger.info(f'{phase}: {done} of {total}')

    def _note_sign(self, text: str) -> float:
        builds = self.facts.get('backend') == 'tensorrt'  # of the first engines there are no facts
        self.last_sign = time.monotonic()
        self.sign = Sign(text, self.last_sign, builds)
        return self.last_sign


def why_whole(segmenter: Segmenter | None, settings: Settings) -> str:
    """Return why a frame budget that is asked for is not kept, and what to do; or empty."""
    if segmenter is None or settings.detail != 'budget':
        return ''
    if not settings.latency_budget_ms:
        return 'latency.budget_ms is 0: set it to what a frame may take, ms'
    return segmenter.why_whole


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
