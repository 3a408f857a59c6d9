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

"""
How far the graphs of a bundle are from what the CPU can do at most.

For each graph: its multiply-adds and the bytes that it moves (`onnx_graphs.traffic`), the time
that a machine which reaches its peaks would take, and the time that ONNX Runtime takes. Both peaks
are measured in the same run, before and after each graph. The bound takes for each kernel the
longer of its two times. It counts maps that stay in a cache between two kernels as moved, so a
graph that runs in strips may come below its memory's part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
import time
from typing import Any

import numpy as np
import onnx

from uhr_seg_ros.backends.onnxruntime import OnnxRuntimeBackend
from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.benchmark.graph_traffic import fixed_graphs, gives_floats
from uhr_seg_ros.benchmark.machine_peaks import measure_peaks, Peaks
from uhr_seg_ros.core.bundle import Bundle, Graph
from uhr_seg_ros.core.resources import available_cores
from uhr_seg_ros.onnx_graphs.graph_view import GraphView
from uhr_seg_ros.onnx_graphs.traffic import Device, Kernel, kernels_of, paper_ms


def measure_roofline(
    bundle: Bundle,
    size: tuple[int, int],
    precisions: Sequence[str],
    repeat: int,
    threads: int = 0,
    on_graph: Callable[[dict[str, Any], int], object] = lambda report, total: None,
) -> dict[str, Any]:
    """
    Measure the graphs that give floats, on a frame that is not cut into tiles.

    Args:
        bundle: of any kind; of patches and contexts, one of each is counted.
        size: height and width of the frame, px.
        precisions: `fp32` and `int8`.
        repeat: runs of each graph that count; one more comes before them.
        threads: of ONNX Runtime, 0 = one per core.
        on_graph: called after each graph with what is returned, as far as it is known, and the
            number of all graphs.

    Returns:
        `bundle`, `size`, `threads`; `peaks`: `gflops` (precision -> value) and
        `copy_gb_s`; `graphs`: a list of `name`, `precision`, `gflop`, `mb` moved, `compute_ms`
        and `memory_ms` alone, `bound_ms`, and measured `min_ms`, `median_ms`, `max_ms`.

    Raises:
        BundleError: a file is not the one that the bundle names.
        EngineError: a graph cannot be fixed to this size, or there is none in a precision.

    """
    threads = threads or available_cores()
    peaks = measure_peaks(threads)
    found: list[tuple[str, str, list[Kernel], list[float]]] = []

    def report() -> dict[str, Any]:
        return {
            'bundle': bundle.name,
            'size': list(size),
            'threads': threads,
            'peaks': {
                'gflops': {name: round(value, 1) for name, value in peaks.gflops.items()},
                'copy_gb_s': round(peaks.copy_gb_s, 1),
            },
            'graphs': [_figures(*each, peaks) for each in found],
        }

    graphs_in = {precision: _graphs(bundle, precision) for precision in precisions}
    total = sum(gives_floats(each) for graphs in graphs_in.values() for each in graphs.values())
    for precision, graphs in graphs_in.items():
        backend = OnnxRuntimeBackend(bundle, EngineOptions(precision=precision, threads=threads))
        for name, model in fixed_graphs(bundle, graphs, size):
            engine = backend.open(bundle.graphs[name])
            times = _times(engine.run, _feeds(model), list(engine.output_shapes), repeat)
            engine.close()
            peaks = peaks.best(measure_peaks(threads))
            found.append((name, precision, kernels_of(GraphView(model)), times))
            on_graph(report(), total)
    return report()


def _graphs(bundle: Bundle, precision: str) -> dict[str, Graph]:
    """Return the graphs of a precision that are not those of fp32 as well."""
    every = bundle.graphs_in(precision)
    own = every if precision == 'fp32' else bundle.precisions[precision].graphs
    return {name: every[name] for name in own}


def _feeds(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Fill the inputs of a graph of fixed shapes with noise: values do not change the time."""
    generator = np.random.default_rng(0)
    return {
        tensor.name: generator.standard_normal(
            [each.dim_value for each in tensor.type.tensor_type.shape.dim], np.float32
        )
        for tensor in model.graph.input
    }


def _times(
    run: Callable[..., object], feeds: Mapping[str, np.ndarray], names: list[str], repeat: int
) -> list[float]:
    """Run a graph and once more, and return how long all but the first run took, ms."""
    times = []
    for _ in range(repeat + 1):
        start = time.perf_counter()
        run(feeds, names)
        times.append((time.perf_counter() - start) * 1e3)
    return times[1:]


def _figures(
    name: str, precision: str, kernels: Sequence[Kernel], times: Sequence[float], peaks: Peaks
) -> dict[str, Any]:
    macs = {kind: value / 2 * 1e9 for kind, value in peaks.gflops.items()}
    infinite = dict.fromkeys(macs, float('inf'))
    devices = {
        'compute_ms': Device('compute alone', float('inf'), macs),
        'memory_ms': Device('memory alone', peaks.copy_gb_s * 1e9, infinite),
        'bound_ms': Device('this machine', peaks.copy_gb_s * 1e9, macs),
    }
    figures = {
        'gflop': 2 * sum(each.macs for each in kernels) / 1e9,
        'mb': sum(each.bytes for each in kernels) / 1e6,
        **{key: paper_ms(kernels, device, 1.0) for key, device in devices.items()},
        'min_ms': min(times),
        'median_ms': median(times),
        'max_ms': max(times),
    }
    # By digits and not by decimals: graphs at small sizes take microseconds.
    rounded = {key: float(f'{value:.4g}') for key, value in figures.items()}
    return {'name': name, 'precision': precision, **rounded}
