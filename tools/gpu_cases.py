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

"""What the GPU acceptance measures on: sizes and frames, in full and for a dry run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from uhr_seg_ros.core.raw_frame import memory_shape, RawFrame

Result = dict[str, Any]

#: Cases of a section: a name, and what measures it.
Cases = Iterator[tuple[str, Callable[[], Result]]]

#: What is segmented; its files travel with the repository.
BUNDLE = 'hlrc_s_aerial'

#: The paper's network with random weights, which are too large to travel everywhere.
PAPER = 'hlrc_cityscapes'


class Case(NamedTuple):
    """A bundle, the name of a frame's size, and what its engines compute in."""

    bundle: str
    size: str
    precision: str

    def __str__(self) -> str:
        start = '' if self.bundle == BUNDLE else f'{self.bundle} '
        return f'{start}{self.size} {self.precision}'


@dataclass(frozen=True)
class Scale:
    """
    How much is measured.

    Attributes:
        sizes: name -> height and width of frames, px.
        paper_size: of the frame that the paper's network sees, px.
        network: preset of the paper's network.
        tile: largest side of a tile, where frames are tiled, px.
        check_size: of the frame on which kernels are compared with the CPU, px.
        frames: that are timed per case.
        warm_up: frames before them: until every slot has its CUDA graph.
        launches: of a kernel in one timed CUDA graph.
        copied: size of a copy that is timed, bytes.
        product: rows and columns of a matrix product.
        patience: factor of the time limits of sections, which are a GPU's.

    """

    sizes: dict[str, tuple[int, int]]
    paper_size: tuple[int, int] = (1024, 2048)
    network: str = PAPER
    tile: int = 1024
    check_size: tuple[int, int] = (540, 960)
    frames: int = 40
    warm_up: int = 4
    launches: int = 60
    copied: int = 256 << 20
    product: int = 8192
    patience: float = 1.0

    def size(self, name: str) -> tuple[int, int]:
        """Return height and width of a frame; `paper` is that of the paper's network."""
        return self.paper_size if name == 'paper' else self.sizes[name]


FULL = Scale({'1080p': (1080, 1920), '4K': (2160, 3840), '8K': (4320, 7680)})

#: For `--pretend`: stand-ins on a CPU are a million times slower.
PRETEND = Scale(
    {'1080p': (64, 96), '4K': (64, 160), '8K': (96, 160)},
    paper_size=(64, 128),
    network='fast_scnn',
    tile=128,
    check_size=(64, 96),
    frames=1,
    warm_up=0,
    launches=2,
    copied=1 << 16,
    product=64,
    patience=20.0,
)


def random_frame(name: str, size: tuple[int, int], seed: int = 0) -> RawFrame:
    """Make a frame of random bytes."""
    shape = memory_shape(name, *size)
    return RawFrame(np.random.default_rng(seed).integers(0, 256, shape, np.uint8), name, *size)


def spread(times: Sequence[float]) -> Result:
    """Return median and 95th percentile of times in ms."""
    median, p95 = np.percentile(times, (50, 95)).tolist()
    return {'median_ms': round(median, 3), 'p95_ms': round(p95, 3), 'runs': len(times)}


def wall_times(call: Callable[[], object], count: int) -> list[float]:
    """Time calls, ms."""
    times = []
    for _ in range(count):
        start = perf_counter()
        call()
        times.append((perf_counter() - start) * 1e3)
    return times
