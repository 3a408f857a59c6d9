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

"""What `scripts/gpu_acceptance` measures, each section in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
import subprocess
from time import perf_counter
from typing import Any

import numpy as np

from tools.gpu_cases import (
    CASES,
    FRAMES,
    paper_bundle,
    PAPER_NETWORK,
    paper_network,
    PAPER_SIZE,
    size_of,
    spread,
)
from tools.gpu_kernels import KernelBench
from tools.gpu_overlap import draw_timeline, measure
from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.benchmark.stages import benchmark_image
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.gpu import find_gpu
from uhr_seg_ros.core.raw_frame import FORMATS
from uhr_seg_ros.core.subprocesses import find_tool
from uhr_seg_ros.core.visualization import OverlayOptions
from uhr_seg_ros.pipelines.pipeline import TilingOptions
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.synthetic.scenes import generate_scene

Result = dict[str, Any]


def environment(work: Path) -> Result:
    """Return what is there, and why what is not there is missing."""
    found: Result = {}
    for package in ('tensorrt', 'tensorrt_rtx', 'pycuda.driver', 'torch', 'onnxruntime'):
        try:
            module = import_module(package)
            found[package] = getattr(module, '__version__', 'there')
        except Exception as err:  # the reason is the result
            found[package] = f'missing: {" ".join(str(err).split())}'
    try:
        gpu = find_gpu()
        found['gpu'] = {
            'name': gpu.name,
            'capability': gpu.capability,
            'memory': gpu.memory,
            'cuda_of_the_driver': gpu.driver_version,
        }
    except Exception as err:
        found['gpu'] = f'missing: {err}'
    query = [
        '--query-gpu=name,driver_version,clocks.sm,clocks.mem,power.limit',
        '--format=csv,noheader',
    ]
    if tool := find_tool('nvidia-smi'):
        done = subprocess.run([tool, *query], capture_output=True, text=True, check=False)
        found['nvidia_smi'] = done.stdout.strip()
    else:
        found['nvidia_smi'] = 'missing: it is in no folder of PATH'
    return found


def kernels(work: Path) -> Result:
    """Run every kernel on the GPU, against the CPU and against the memory's bandwidth."""
    bench = KernelBench()
    result: Result = {'write_gb_per_s': bench.write_bandwidth(), 'prepare': {}}
    for name in FORMATS:
        result['prepare'][name] = bench.prepare(name, (2160, 3840))
    result['finish'] = {
        f'{classes} classes': bench.finish(classes, (2160, 3840)) for classes in (5, 19)
    }
    result['paint'] = {
        f'scale {scale}': bench.paint((2160, 3840), scale) for scale in (1.0, 0.5, 0.25)
    }
    bench.close()
    return result


def engines(work: Path, done: Mapping[str, Any]) -> Iterator[tuple[str, Result]]:
    """Build and time every case that is not in `done`; one after the other, as they finish."""
    for name, size, precision in CASES:
        case = f'{name} {size} {precision}'
        if case in done:
            continue
        try:
            yield case, _engine_case(paper_bundle(work, name), size_of(size), precision, work)
        except Exception as err:  # the next case may work
            yield case, {'missing': ' '.join(str(err).split())}


def overlap(work: Path) -> Result:
    """Time both branches on two streams and on one, and draw when each of them works."""
    result: Result = {}
    for name, size in (('hlrc_s_aerial', '4K'), (PAPER_NETWORK, '2048x1024')):
        bundle = paper_bundle(work, name)
        times, spans = measure(bundle, size_of(size), work / 'cache')
        picture = work / f'overlap_{name}.png'
        draw_timeline(spans, picture, f'{name} {size}')
        result[f'{name} {size}'] = {**times, 'spans_ms': spans, 'picture': picture.name}
    return result


def pytorch(work: Path) -> Result:
    """Time the same network and weights in PyTorch: eager float32 and float16, and compiled."""
    import torch

    from uhr_seg_ros.networks.backbones.normalization import normalized

    network = paper_network().cuda()
    bundle = paper_bundle(work, PAPER_NETWORK)
    picture = normalized(benchmark_image(PAPER_SIZE)[None], bundle.mean, bundle.std).cuda()
    forms: dict[str, tuple[Any, Any]] = {'eager fp32': (network, picture)}
    half = paper_network().cuda().half()
    forms['eager fp16'] = half, picture.half()
    forms['compiled fp16'] = torch.compile(half, mode='max-autotune'), picture.half()
    result: Result = {}
    # As PyTorch is by default: no TF32 in products.
    for name, (form, image) in forms.items():
        try:
            result[name] = spread(_torch_times(form, image))
        except Exception as err:  # such as a compiler that is missing
            result[name] = {'missing': ' '.join(str(err).split())[:300]}
    return result


def onnxruntime(work: Path) -> Result:
    """Time the CPU path of this machine."""
    result: Result = {}
    for size in ('1080p', '4K'):
        with Segmenter('hlrc_s_aerial', 'onnxruntime') as segmenter:
            result[size] = spread(_wall_times(segmenter, benchmark_image(size_of(size)), 8))
    return result


def _engine_case(bundle: Bundle, size: tuple[int, int], precision: str, work: Path) -> Result:
    lines: list[str] = []
    options = EngineOptions(precision=precision, cache=str(work / 'cache'), report=lines.append)
    if precision == 'int8':
        _calibrate(bundle, size, work)
    start = perf_counter()
    frame = benchmark_image(size)
    with Segmenter(
        bundle, 'tensorrt', TilingOptions(0), input_size=size, options=options
    ) as segmenter:
        ready_s = perf_counter() - start
        stages = [segmenter(frame).stage_times for _ in range(FRAMES)][3:]
        walls = _wall_times(segmenter, frame, FRAMES)
        pictures = OverlayOptions(True, True, 0.5, 0.5)
        painted = _wall_times(lambda image: segmenter(image, overlay=pictures), frame, FRAMES)
        result = {
            'engines': spread([times['engines'] for times in stages]),
            'upload': spread([times['upload'] for times in stages]),
            'download': spread([times['download'] for times in stages]),
            'end to end': spread(walls),
            'end to end with pictures': spread(painted),
            'provenance': segmenter.provenance,
        }
    agreement = [line for line in lines if line.startswith('same class')]
    return {**result, 'ready_s': round(ready_s, 1), 'agreement': agreement, 'said': lines}


def _calibrate(bundle: Bundle, size: tuple[int, int], work: Path) -> None:
    from uhr_seg_ros.backends.tensorrt.cache import EngineCache
    from uhr_seg_ros.backends.tensorrt.specialized_graphs import SpecializedGraphs
    from uhr_seg_ros.quantization.tensorrt_calibration import calibrate

    graphs = SpecializedGraphs(bundle.name, 'int8', EngineCache(work / 'cache'))
    frames = [generate_scene(seed, *size)[0] for seed in range(4)]
    calibrate(bundle, graphs, TilingOptions(0), size, frames)


def _wall_times(
    call: Callable[[np.ndarray], object], frame: np.ndarray, count: int
) -> list[float]:
    """Time calls, ms; three more warm up."""
    times = []
    for _ in range(count + 3):
        start = perf_counter()
        call(frame)
        times.append((perf_counter() - start) * 1e3)
    return times[3:]


def _torch_times(network: Any, image: Any) -> list[float]:
    import torch

    times = []
    with torch.inference_mode():
        for _ in range(FRAMES + 8):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            network(image).argmax(1).byte()
            end.record()
            end.synchronize()
            times.append(start.elapsed_time(end))
    return times[8:]


#: In order of importance.
SECTIONS: dict[str, Callable[..., Any]] = {
    'environment': environment,
    'kernels': kernels,
    'engines': engines,
    'pytorch': pytorch,
    'overlap': overlap,
    'onnxruntime': onnxruntime,
}
