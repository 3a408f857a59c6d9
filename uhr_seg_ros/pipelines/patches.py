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

"""FCtL: overlapping patches, each segmented with the help of the contexts around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
import time

import numpy as np

from uhr_seg_ros.backends.engine import Backend, Engine, Shape
from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.backends.registry import BACKENDS
from uhr_seg_ros.core.bundle import Bundle, Patches
from uhr_seg_ros.core.errors import BundleError, ConfigError, EngineError
from uhr_seg_ros.core.patch_grid import Context, PatchGrid, place_in, reduced, WHOLE
from uhr_seg_ros.core.raw_frame import RawFrame
from uhr_seg_ros.core.timing import StageClock
from uhr_seg_ros.pipelines.logit_accumulator import LogitAccumulator
from uhr_seg_ros.pipelines.outputs import CheckedGraphs, lengths
from uhr_seg_ros.pipelines.pipeline import OutputRequest, Results, TilingOptions, warm_up_frame
from uhr_seg_ros.pipelines.synchronous import SynchronousPipeline

#: Memory of a patch per px when the bundle does not tell, bytes.
DEFAULT_BYTES_PER_PIXEL = 4000.0
#: More patches at a time gain nothing on a CPU.
MAX_BATCH = 8
#: New engines are verified on a frame of so many patches in each direction.
VERIFICATION_PATCHES = 2
#: A frame that takes so long tells how far it is, and then again after so long, s.
SLOW_S, REPORT_INTERVAL_S = 1.0, 5.0


class PatchesWithContexts(SynchronousPipeline):
    """
    Run the graphs of one bundle of kind `patches`.

    Patches lie in rows. Their contexts are windows of reduced frames, which are made once; a
    context that is the whole frame is encoded once. The logits of overlapping patches are added
    up, a row of patches at a time, so that memory does not grow with the height of the frame.

    Args:
        bundle: a bundle of kind `patches`.
        engines: graph name -> engine.
        limits: `memory_limit_mb` decides how many patches run at a time, at least one.
        options: `report` of it gets a line now and then while a frame takes long.

    Raises:
        ConfigError: contexts that cannot be cut, or a limit for tiles.
        EngineError: a graph with another number of classes than the bundle.

    """

    def __init__(
        self,
        bundle: Bundle,
        engines: Mapping[str, Engine],
        limits: TilingOptions,
        options: EngineOptions = EngineOptions(),  # noqa: B008 - it cannot change
    ) -> None:
        if limits.tile is not None:
            msg = f'a tile of {limits.tile} px: patches of {bundle.name} have a size of their own'
            raise ConfigError(msg)
        self._bundle, self._report = bundle, options.report
        self.provenance = engines['patch'].provenance()
        patches = patches_of(bundle)
        self._side = patches.side
        self._contexts = {
            name: Context(factor, self._side) for name, factor in patches.contexts.items()
        }
        self._batch = batch_size(bundle, limits)
        mean, std = (np.array(values, np.float32)[:, None] for values in (bundle.mean, bundle.std))
        self._tables = (np.arange(256, dtype=np.float32) - mean) / std
        sizes = {'patch': {'logits': lengths(self._side, self._side)}}
        self._graphs = CheckedGraphs(bundle, engines, sizes)

    @classmethod
    def open_graphs(
        cls, bundle: Bundle, backend: Backend, limits: TilingOptions, options: EngineOptions
    ) -> dict[str, Engine]:
        """Open the graphs for batches of as many patches as run at a time."""
        patches, count = patches_of(bundle), batch_size(bundle, limits)
        side = patches.side
        shapes: dict[str, tuple[int, ...]] = {'image': (count, 3, side, side), 'place': (count, 4)}
        engines: dict[str, Engine] = {}
        for name, factor in patches.contexts.items():
            samples = 1 if factor == WHOLE else count
            engines[name] = backend.open(bundle.graphs[name], {'image': (samples, 3, side, side)})
            if not BACKENDS[options.backend].takes_any_shape:
                shapes[name] = _known(engines[name].output_shapes[name], name)
        engines['patch'] = backend.open(bundle.graphs['patch'], shapes)
        return engines

    @classmethod
    def verification_size(cls, bundle: Bundle) -> tuple[int, int]:
        """Return the size of a frame of a few patches."""
        side = VERIFICATION_PATCHES * patches_of(bundle).side
        return side, side

    def prepare(self, size: tuple[int, int]) -> None:
        """Run once on a black frame of one patch."""
        frame = warm_up_frame((min(size[0], self._side), min(size[1], self._side)))
        self.segment(frame, OutputRequest(), StageClock())

    def segment(self, frame: RawFrame, request: OutputRequest, clock: StageClock) -> Results:
        """
        Segment one frame; see `InferencePipeline.segment`.

        The stages are `convert`, `reduce`, `contexts`, `patches`, `merge` and `overlay`. The
        logits are sums over the patches, the confidence is that of their mean.
        """
        with clock.stage('convert'):
            image = frame.bgr
        results = self._merged(image, request, clock)
        if request.overlay.any:
            with clock.stage('overlay'):
                classes = self._bundle.classes
                results |= request.overlay.paint(image, results['mask'], classes)
        return results

    def semantic_mask(self, frame: RawFrame) -> np.ndarray:
        """Refuse: there is no such branch."""
        msg = f'bundle {self._bundle.name} segments patches, it has no semantic branch'
        raise ConfigError(msg)

    def bytes_per_pixel(self, outputs: Sequence[str]) -> float:
        """Count the reduced frames; one row of patches does not grow with a frame's height."""
        ratios = [context.ratio for context in self._contexts.values() if not context.is_whole]
        return sum(3 / float(ratio) ** 2 for ratio in ratios)

    def _merged(
        self, image: np.ndarray, request: OutputRequest, clock: StageClock
    ) -> dict[str, np.ndarray]:
        """Segment all patches and merge them from top to bottom."""
        size = image.shape[:2]
        grid = PatchGrid.of(size, self._side, self._contexts)
        with clock.stage('reduce'):
            frames = {
                name: reduced(image, *context.of_frame(size, grid.size))
                for name, context in self._contexts.items()
            }
        whole = self._whole(frames, clock)
        sums = LogitAccumulator(size, len(self._bundle.classes), self._side, grid, request.outputs)
        progress = _Progress(self._report, image.shape, len(grid.rows))
        for row, top in enumerate(grid.rows):
            for lefts in _batches(grid.columns, self._batch):
                places = [(top, left) for left in lefts]
                maps = whole | self._encoded(frames, places, clock)
                logits = self._patches(image, places, maps, clock)
                with clock.stage('merge'):
                    for left, scores in zip(lefts, logits, strict=True):
                        sums.add(scores, left)
            with clock.stage('merge'):
                sums.finish(row)
            progress.tell(row + 1)
        return sums.results

    def _whole(self, frames: Mapping[str, np.ndarray], clock: StageClock) -> dict[str, np.ndarray]:
        """Encode the contexts that are the same for all patches."""
        names = [name for name, context in self._contexts.items() if context.is_whole]
        with clock.stage('contexts'):
            return {name: self._encode(name, frames[name][None]) for name in names}

    def _encoded(
        self,
        frames: Mapping[str, np.ndarray],
        places: Sequence[tuple[int, int]],
        clock: StageClock,
    ) -> dict[str, np.ndarray]:
        """Encode the other contexts of some patches."""
        maps = {}
        with clock.stage('contexts'):
            for name, context in self._contexts.items():
                if not context.is_whole:
                    starts = [context.start(place) for place in places]
                    maps[name] = self._encode(name, _cut(frames[name], starts, self._side))
        return maps

    def _encode(self, name: str, images: np.ndarray) -> np.ndarray:
        return self._graphs.run(name, {'image': self._planes(images)}, {name: {}})[name]

    def _patches(
        self,
        image: np.ndarray,
        places: Sequence[tuple[int, int]],
        maps: Mapping[str, np.ndarray],
        clock: StageClock,
    ) -> np.ndarray:
        """Return the logits of some patches, (N, C, side, side) float32."""
        with clock.stage('patches'):
            planes = self._planes(_cut(image, places, self._side))
            feeds = {'image': planes, **maps}
            if 'place' in self._graphs['patch'].input_shapes:
                shares = [place_in(place, self._side, image.shape[:2]) for place in places]
                feeds['place'] = np.array(shares, np.float32)
            sizes = {'patches': len(places), **lengths(self._side, self._side)}
            return self._graphs.run('patch', feeds, {'logits': sizes})['logits']

    def _planes(self, images: np.ndarray) -> np.ndarray:
        """(N, h, w, 3) uint8 BGR -> (N, 3, h, w) float32 RGB, normalized."""
        planes = [table[images[..., 2 - index]] for index, table in enumerate(self._tables)]
        return np.stack(planes, 1)


class _Progress:
    """Reports now and then how far a slow frame is."""

    def __init__(self, report: Callable[[str], None], shape: Sequence[int], rows: int) -> None:
        self._report, self._shape, self._rows = report, shape, rows
        self._start = time.monotonic()
        self._due = self._start + SLOW_S

    def tell(self, done: int) -> None:
        """Report if it is time, after so many rows of patches."""
        now = time.monotonic()
        if now < self._due or done == self._rows:
            return
        self._due = now + REPORT_INTERVAL_S
        left = (now - self._start) * (self._rows - done) / done
        height, width = self._shape[:2]
        self._report(
            f'frame of {width} x {height} px: {done} of {self._rows} rows of patches, '
            f'{left:.0f} s left'
        )


def patches_of(bundle: Bundle) -> Patches:
    """
    Return how a bundle sees a frame.

    Raises:
        BundleError: it has no patches.

    """
    if bundle.patches is None:
        msg = f'bundle {bundle.path} is of kind {bundle.kind}: it has no patches'
        raise BundleError(msg)
    return bundle.patches


def batch_size(bundle: Bundle, limits: TilingOptions) -> int:
    """Return how many patches fit into the memory limit, at least one."""
    if not limits.memory_limit_mb:
        return MAX_BATCH
    per_pixel = limits.bytes_per_pixel or bundle.detail_bytes_per_pixel or DEFAULT_BYTES_PER_PIXEL
    fitting = int(limits.memory_limit_mb * 1e6 / (per_pixel * patches_of(bundle).side ** 2))
    return min(max(fitting, 1), MAX_BATCH)


def _known(shape: Shape, name: str) -> tuple[int, ...]:
    if None in shape or np.prod([length or 0 for length in shape]) < 1:
        msg = f'the engine of {name} gives a map of shape {shape}: export the model again'
        raise EngineError(msg)
    return tuple(length for length in shape if length is not None)


def _batches(starts: Sequence[int], most: int) -> Iterator[Sequence[int]]:
    """Divide starts into as few groups as possible, of nearly one size."""
    count = -(-len(starts) // most)
    edges = [len(starts) * index // count for index in range(count + 1)]
    for first, last in zip(edges[:-1], edges[1:], strict=True):
        yield starts[first:last]


def _cut(image: np.ndarray, places: Sequence[tuple[int, int]], side: int) -> np.ndarray:
    """Cut squares (N, side, side, 3) out of an image; what lies outside of it is black."""
    squares = np.zeros((len(places), side, side, 3), np.uint8)
    for square, (top, left) in zip(squares, places, strict=True):
        part = image[top : top + side, left : left + side]
        square[: part.shape[0], : part.shape[1]] = part
    return squares
