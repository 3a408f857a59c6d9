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

"""The work of `uhr_seg segment`: frame after frame, each written before the next is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
import sys
from time import perf_counter

import cv2
import numpy as np

from uhr_seg_ros.cli.segment_rasters import RasterSegmentation
from uhr_seg_ros.core.errors import RecordingError, UhrSegError
from uhr_seg_ros.core.visualization import draw_density, OverlayOptions
from uhr_seg_ros.image_io.georeference import ground_pixel
from uhr_seg_ros.pipelines.frame_budget import FrameBudget
from uhr_seg_ros.pipelines.refinement.refine import Refinement
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.replay.frame_sources import Frame, FrameSource
from uhr_seg_ros.reports.class_areas import AreaSummary, count_pixels, ImageAreas
from uhr_seg_ros.reports.result_files import Results
from uhr_seg_ros.reports.segment_journal import Journal

# So many frames of a recording that fail are described; all are counted.
_DESCRIBED = 3


@dataclass
class Counts:
    """What has become of frames: segmented now or by an earlier run, or not, and why."""

    segmented: int = 0
    earlier: int = 0
    unreadable: int = 0
    failed: int = 0
    #: Of those that are segmented, rasters of which parts could not be read.
    damaged: int = 0

    @property
    def handled(self) -> int:
        """Frames that nothing more is done about."""
        return self.segmented + self.earlier + self.unreadable + self.failed


class FrameWork:
    """
    Segments the frames of sources and writes their files.

    Args:
        segmenter: with the model.
        results: what is written, and where.
        journal: of the folder.
        total: number of the frames, as far as it is known.
        m2_per_pixel: ground under a pixel; 0: what the images themselves say.
        refinement: of boundaries; None leaves them.
        budget: of a frame; None for the whole frame.
        rasters: segments maps, and what is too large for memory.

    Attributes:
        counts: of the frames so far.
        summary: of the masks so far, those of an earlier run among them.
        novelties: how far outside of what the model knows each frame is that was segmented now.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        results: Results,
        journal: Journal,
        total: int,
        *,
        m2_per_pixel: float = 0.0,
        refinement: Refinement | None = None,
        budget: FrameBudget | None = None,
        rasters: RasterSegmentation,
    ) -> None:
        self.counts = Counts()
        self.novelties: list[float] = []
        self.summary = AreaSummary(segmenter.bundle.classes.names)
        self._segmenter, self._results, self._journal = segmenter, results, journal
        self._total = total
        self._m2_per_pixel = m2_per_pixel
        self._refinement, self._budget = refinement, budget
        self._rasters = rasters
        self._told = segmenter.fallback
        self._time_left = TimeLeft()
        self._reasons: set[str] = set()

    def run(self, sources: Sequence[FrameSource]) -> None:
        """Segment every frame; what cannot be is told and counted, and the others go on."""
        for source in sources:
            faults = 0
            try:
                for frame in source.frames():
                    fault = self._attempt(frame)
                    faults += bool(fault)
                    if fault and (faults <= _DESCRIBED or not frame.place):
                        complain(fault)
            except RecordingError as err:  # what comes after this place
                complain(str(err))
                self.counts.unreadable += 1
            if faults > _DESCRIBED and len(source.named) == 1:
                complain(f'{faults} frames of {source.path} are left out')

    def _attempt(self, frame: Frame) -> str:
        """Segment a frame, or leave it to the earlier run; return why that was not possible."""
        is_raster = not frame.place and self._rasters.takes(frame.path)
        mask = (self._rasters if is_raster else self._results).mask(frame.stem)
        earlier = self._journal.find(frame.path, frame.place, frame.stem)
        if earlier is not None and mask.is_file():
            self.summary.rows.append(earlier)
            self.counts.earlier += 1
            return ''
        if is_raster:
            return self._attempt_raster(frame)
        try:
            image = frame.read()
        except RecordingError as err:
            self.counts.unreadable += 1
            return f'{frame} is left out: {err}' if frame.place else str(err)
        try:
            elapsed_ms = self._segment(frame, image)
        except (UhrSegError, MemoryError, cv2.error) as err:
            self.counts.failed += 1
            reason = str(err).strip() or 'out of memory'
            kind = '' if frame.place else 'image '
            return f'{kind}{frame} is left out: {reason}'
        self.counts.segmented += 1
        self._tell(frame, image.shape[1], image.shape[0], elapsed_ms)
        return ''

    def _attempt_raster(self, frame: Frame) -> str:
        """Segment a raster block by block; return why that was not possible."""
        start = perf_counter()
        try:
            found = self._rasters.segment(frame.path, frame.stem, self._m2_per_pixel)
        except (UhrSegError, MemoryError, cv2.error) as err:
            self.counts.failed += 1
            return f'raster {frame} is left out: {str(err).strip() or "out of memory"}'
        self._note(frame, found.areas)
        self.novelties += found.novelties
        self.counts.segmented += 1
        if found.damaged:
            self.counts.damaged += 1
            text = f'{found.damaged} blocks of {frame} cannot be read: they have no class'
            complain(text)
        self._tell(frame, found.areas.width, found.areas.height, (perf_counter() - start) * 1e3)
        return ''

    def _note(self, frame: Frame, areas: ImageAreas) -> None:
        self.summary.rows.append(areas)
        self._journal.add(frame.path, frame.place, areas)

    def _segment(self, frame: Frame, image: np.ndarray) -> float:
        """Segment an image, write its files and note them; return the ms of segmenting."""
        results = self._results
        height, width = image.shape[:2]
        files = results.files(frame.stem, (height, width))
        for note in files.notes:
            print(f'uhr_seg: {frame}: {note}', file=sys.stderr)
        if self._budget is not None:
            self._budget.forget()  # the images are not frames of one camera
        start = perf_counter()
        result = self._segmenter(
            image,
            logits=results.logits,
            overlay=OverlayOptions(overlay=results.overlay, color_mask=results.color_mask),
            refinement=self._refinement,
            budget=self._budget,
            novelty=True,
        )
        if result.novelty is not None:
            self.novelties.append(result.novelty)
        elapsed_ms = (perf_counter() - start) * 1e3
        sampling = None
        if results.sampling:
            sampling = draw_density(image, self._segmenter.sampling_grid(image))
        files.write(result.mask, result.overlay, result.color_mask, sampling, result.logits)
        pixels = count_pixels(result.mask, len(self._segmenter.bundle.classes))
        ground = self._m2_per_pixel or self._ground_of(frame)
        areas = ImageAreas(frame.stem, str(frame), width, height, pixels, ground)
        self._note(frame, areas)
        return elapsed_ms

    def _ground_of(self, frame: Frame) -> float:
        """Return the square meters under a pixel; where they cannot be told, say why once."""
        if frame.place:
            return 0.0
        found = ground_pixel(frame.path)
        if found.reason and found.reason not in self._reasons:
            self._reasons.add(found.reason)
            text = f'{found.reason}: no square meters; --ground-resolution gives them'
            print(f'uhr_seg: {frame}: {text}', file=sys.stderr)
        return found.m2

    def _tell(self, frame: Frame, width: int, height: int, elapsed_ms: float) -> None:
        if self._segmenter.fallback != self._told:
            # Engines for the size of this image were refused.
            self._told = self._segmenter.fallback
            print(f'uhr_seg: {self._told}', file=sys.stderr)
        number = self.counts.handled
        total = max(self._total, number)  # a container may have promised less
        left = self._time_left.after_frame(total - number)
        name = frame.stem if frame.place else frame.path.name
        print(
            f'[{number}/{total}] {name}  {width}x{height}  {elapsed_ms:.0f} ms{left}', flush=True
        )


class TimeLeft:
    """How long the rest takes, by all frames but the first, which also opens engines."""

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self._clock = clock
        self._frames = 0
        self._start = 0.0

    def after_frame(self, frames_left: int) -> str:
        """Note that a frame is done; return a text such as `, 2 min 10 s left`, or none."""
        now = self._clock()
        if not self._frames:
            self._start = now
        self._frames += 1
        if self._frames < 2 or frames_left < 1:
            return ''
        seconds = (now - self._start) / (self._frames - 1) * frames_left
        return f', {_duration(seconds)} left'


def _duration(seconds: float) -> str:
    """Write a duration in its two largest units."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f'{hours} h {minutes} min'
    return f'{minutes} min {rest} s' if minutes else f'{rest} s'


def complain(text: str) -> None:
    """Tell an error that the command goes on after."""
    print(f'uhr_seg: error: {text}', file=sys.stderr)


def settings_of(segmenter: Segmenter, results: Results, options: dict[str, object]) -> dict:
    """Return what decides how results look, for `Journal`; its keys are read by people."""
    return {
        'model': {name: graph.sha256 for name, graph in segmenter.bundle.graphs.items()},
        'back end': [segmenter.backend, segmenter.provenance['precision']],
        'set of files': [
            results.mask_format,
            results.overlay,
            results.color_mask,
            results.logits,
            results.sampling,
        ],
        **options,
    }
