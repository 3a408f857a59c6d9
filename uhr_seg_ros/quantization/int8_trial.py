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

"""What int8 graphs change in the masks of a sample of real tiles, and how much faster they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
import time

import numpy as np

from uhr_seg_ros.backends.engine import Engine
from uhr_seg_ros.backends.registry import open_engine
from uhr_seg_ros.core.bundle import Bundle, Graph
from uhr_seg_ros.pipelines.preprocessing import Preprocessor
from uhr_seg_ros.pipelines.two_branch_maps import detail_feeds

Maps = dict[str, np.ndarray]

#: The graphs that are worth int8: the fusion is bound by memory and decides about edges.
BRANCHES = ('semantic', 'detail')

#: What the branches hand to the fusion.
MAPS = ('tokens', 'affinity', 'local')

#: Runs of a graph whose fastest one counts.
TIMED_RUNS = 7


@dataclass(frozen=True)
class Loss:
    """
    What int8 changes.

    Attributes:
        agreement: share of the pixels with the same class as in float32, 0 to 1.
        logit_error: root mean square of the differences of the logits, relative to that of the
            logits.

    """

    agreement: float
    logit_error: float

    def facts(self) -> dict[str, float]:
        """Return it as numbers to store."""
        return {name: round(value, 6) for name, value in asdict(self).items()}

    def __str__(self) -> str:
        return (
            f'same class as fp32 on {self.agreement:.3%} of the pixels, '
            f'logit error {self.logit_error:.2%}'
        )


class LossCounter:
    """Adds up the loss over tiles."""

    def __init__(self) -> None:
        self._same = self._pixels = 0
        self._error = self._power = 0.0

    def add(self, expected: np.ndarray, found: np.ndarray) -> None:
        """Compare logits (C, h, w) of float32 with those of int8."""
        same = expected.argmax(0) == found.argmax(0)
        self._same += int(same.sum())
        self._pixels += same.size
        self._error += float(np.square(found - expected, dtype=np.float64).sum())
        self._power += float(np.square(expected, dtype=np.float64).sum())

    @property
    def loss(self) -> Loss:
        """The loss over all that was added."""
        power = max(self._power, np.finfo(np.float64).tiny)
        return Loss(self._same / max(self._pixels, 1), (self._error / power) ** 0.5)


class Trial:
    """
    Tiles in float32, and what comes of them when graphs are in int8.

    Logits are compared at a quarter of the size.

    Args:
        bundle: of kind `two_branch`.
        tiles: (h, w, 3) uint8 BGR.

    """

    def __init__(self, bundle: Bundle, tiles: Sequence[np.ndarray]) -> None:
        self._bundle = bundle
        self._quarter = open_engine(bundle.graphs['quarter'])
        self._feeds = {name: list(feeds(bundle, name, tiles)) for name in BRANCHES}
        graphs = {name: bundle.graphs[name] for name in BRANCHES}
        self._maps = self._replaced([{} for _ in tiles], graphs)
        self._expected = list(map(self._logits, self._maps))

    def loss(self, graphs: Mapping[str, Path]) -> Loss:
        """
        Run int8 graphs in the place of those in float32.

        Args:
            graphs: graph name -> ONNX file; what is missing stays float32.

        """
        counter = LossCounter()
        drafts = {name: self._bundle.graphs[name].with_file(path) for name, path in graphs.items()}
        maps = self._replaced(self._maps, drafts)
        for expected, each in zip(self._expected, maps, strict=True):
            counter.add(expected, self._logits(each))
        return counter.loss

    def speed(self, name: str, path: Path) -> float:
        """Return how many times faster a graph is in int8, by the time of one core."""
        return self.gain(name, self._bundle.graphs_in('fp32')[name].path, path)

    def gain(self, name: str, before: Path, after: Path) -> float:
        """Return how many times faster one file of a graph is than another; as `speed`."""
        graph = self._bundle.graphs[name]
        engines = [open_engine(graph.with_file(each), threads=1) for each in (before, after)]
        times: list[list[float]] = [[], []]
        for _ in range(TIMED_RUNS):
            for engine, seconds in zip(engines, times, strict=True):
                # The time of the process, since others may share the core.
                start = time.process_time()
                engine.run(_taken(engine, self._feeds[name][0]), graph.outputs)
                seconds.append(time.process_time() - start)
        return min(times[0]) / min(times[1])

    def _replaced(self, maps: Sequence[Maps], graphs: Mapping[str, Graph]) -> list[Maps]:
        """Compute what some graphs hand to the fusion; keep the rest."""
        result = [dict(each) for each in maps]
        for name, graph in graphs.items():
            engine = open_engine(graph)
            outputs = [each for each in engine.output_shapes if each in MAPS]
            for feed, each in zip(self._feeds[name], result, strict=True):
                each.update(engine.run(_taken(engine, feed), outputs))
        return result

    def _logits(self, maps: Maps) -> np.ndarray:
        return self._quarter.run(maps, ['quarter_logits'])['quarter_logits'][0]


def _taken(engine: Engine, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Add what a file of the graph for a CPU takes beside the image."""
    return (
        {**feed, **detail_feeds(feed['image'], engine.input_shapes)} if 'image' in feed else feed
    )


def feeds(
    bundle: Bundle, name: str, tiles: Iterable[np.ndarray]
) -> Iterator[dict[str, np.ndarray]]:
    """Return what tiles put into a branch."""
    preprocessor = Preprocessor(bundle)
    for tile in tiles:
        planes, low_res = preprocessor.whole(tile)
        yield {'low_res': low_res.copy()} if name == 'semantic' else {'image': planes.copy()}


def tiles_of(frame: np.ndarray, side: int) -> Iterator[np.ndarray]:
    """
    Cut a frame into tiles that share no pixel.

    Args:
        frame: (H, W, 3).
        side: of the tiles, px; a frame that is smaller is one tile, as it is.

    """
    height, width = frame.shape[:2]
    for top in range(0, max(height - side, 0) + 1, side):
        for left in range(0, max(width - side, 0) + 1, side):
            yield frame[top : top + side, left : left + side]


def sample_tiles(
    frames: Iterable[np.ndarray], side: int, count: int, seed: int
) -> list[np.ndarray]:
    """
    Draw tiles, each with the same probability, in random order.

    Args:
        frames: (H, W, 3) uint8 BGR, of any sizes; taken one at a time.
        side: of the tiles, px.
        count: of tiles, at most.
        seed: of the draw.

    """
    generator = np.random.default_rng(seed)
    chosen: list[np.ndarray] = []
    seen = 0
    for frame in frames:
        for tile in tiles_of(frame, side):
            # Reservoir sampling: a place among the chosen ones, or beyond them.
            seen += 1
            place = int(generator.integers(seen))
            if len(chosen) < count:
                chosen.insert(place, tile.copy())
            elif place < count:
                chosen[place] = tile.copy()
    return chosen
