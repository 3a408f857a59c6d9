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

"""Peak memory of the graph that sees the image, measured in processes of its own (Linux)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
import subprocess
import sys

import numpy as np

from uhr_seg_ros.backends.engine import Shape
from uhr_seg_ros.backends.registry import open_engine
from uhr_seg_ros.core.bundle import Bundle, Graph, load_bundle
from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.core.laplacian import RESIDUALS
from uhr_seg_ros.core.memory import peak_resident_bytes
from uhr_seg_ros.core.subprocesses import python_child

#: The growth between these sizes (height, width) is what one more pixel costs.
SIZES = ((512, 1024), (1536, 2048))

#: So many px of patches more tell what a patch costs.
MORE_PATCHES_PX = 1 << 19


def detail_bytes_per_pixel(bundle: Bundle, precision: str = 'fp32') -> float | None:
    """
    Measure what a pixel of the frame costs the detail branch, or the only one, in bytes.

    It is that of the graphs that a CPU runs in a precision. With patches it is a pixel of a patch.
    The input is part of it. None where it cannot be told, is too little, or where a network sees
    as many px of every frame. Every size runs in a new process: the peak of a process never falls.

    Raises:
        EngineError: The graph does not run at one of the sizes.
    """
    if bundle.kind.is_fixed_size or bundle.input_size or peak_resident_bytes() is None:
        return None
    sizes = tuple(_multiples(bundle, *size) for size in SIZES)
    if bundle.patches:
        side = bundle.patches.side
        more = max(2, MORE_PATCHES_PX // side**2)
        sizes = (side, side), (side, (1 + more) * side)
    peaks = [_in_new_process(bundle, precision, *size) for size in sizes]
    pixels = [height * width for height, width in sizes]
    growth = (peaks[1] - peaks[0]) / (pixels[1] - pixels[0])
    return growth if growth > 0 else None


def _multiples(bundle: Bundle, height: int, width: int) -> tuple[int, int]:
    rows, columns = (-(-side // bundle.multiple) * bundle.multiple for side in (height, width))
    return rows, columns


def _in_new_process(bundle: Bundle, precision: str, height: int, width: int) -> int:
    child = python_child(__spec__.name, bundle.path, precision, height, width)
    done = subprocess.run(**child, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().rpartition('\n')[2] or f'exit code {done.returncode}'
        msg = f'the memory of {bundle.path} cannot be measured at {width}x{height}: {reason}'
        raise EngineError(msg)
    return int(done.stdout)


def _peak_bytes(bundle: Bundle, precision: str, height: int, width: int) -> int | None:
    feeds_of = _patch_feeds if bundle.patches else _image_feeds
    graph, feeds = feeds_of(bundle, bundle.graphs_in(precision), height, width)
    engine = open_engine(graph)
    _forget_peak()
    for _ in range(2):
        engine.run(feeds, graph.outputs)
    return peak_resident_bytes()


def _forget_peak() -> None:
    """Let the peak begin at what there is now: weights take most of it while they are read."""
    with suppress(OSError):
        Path('/proc/self/clear_refs').write_text('5', encoding='ascii')


def _image_feeds(
    bundle: Bundle, graphs: Mapping[str, Graph], height: int, width: int
) -> tuple[Graph, dict[str, np.ndarray]]:
    graph = next(graph for graph in graphs.values() if graph.inputs == ('image',))
    factor = bundle.low_res_factor if bundle.kind.sees_reduced_frame else 1
    feeds = {'image': _written((1, 3, height // factor, width // factor))}
    if RESIDUALS in open_engine(graph).input_shapes:
        feeds[RESIDUALS] = _written((1, 2, height // 2, width // 2))
    return graph, feeds


def _written(size: tuple[int, ...]) -> np.ndarray:
    """Return an array that takes memory: pages of zeros that nobody wrote to do not."""
    return np.ones(size, np.float32)


def _patch_feeds(
    _bundle: Bundle, graphs: Mapping[str, Graph], side: int, width: int
) -> tuple[Graph, dict[str, np.ndarray]]:
    """Return the graph of patches and as many of them as a width holds, with empty contexts."""
    graph, count = graphs['patch'], width // side
    shapes = open_engine(graph).input_shapes
    fixed = {'image': (count, 3, side, side)}
    sizes = {
        name: fixed.get(name) or (count, *_known(name, shape[1:]))
        for name, shape in shapes.items()
    }
    return graph, {name: _written(size) for name, size in sizes.items()}


def _known(name: str, shape: Shape) -> tuple[int, ...]:
    sizes = tuple(size for size in shape if size is not None)
    if len(sizes) < len(shape):
        msg = f'context {name} has shape {shape}, which is not fixed: export the model again'
        raise EngineError(msg)
    return sizes


if __name__ == '__main__':
    print(_peak_bytes(load_bundle(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])))
