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

"""What `scripts/gpu_acceptance` measures, in the order in which it does, and how long at most."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from importlib import metadata
import os
import subprocess
import sys
from time import sleep
from typing import NamedTuple

from tools.gpu_baselines import compiled, eager
from tools.gpu_cases import BUNDLE, Case, Cases, PAPER, PRETEND, Result, spread, wall_times
from tools.gpu_kernels import KernelBench
from tools.gpu_life import broken_context, life
from tools.gpu_pipeline import measure, NO_TILES, overlap, torch_backend
from tools.gpu_process import section_command
from tools.gpu_setup import Setup
from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.backends.tensorrt.cache import EngineCache
from uhr_seg_ros.backends.tensorrt.compiling import CUDA
from uhr_seg_ros.backends.tensorrt.specialized_graphs import SpecializedGraphs
from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.core.gpu_health import open_probe
from uhr_seg_ros.core.raw_frame import FORMATS
from uhr_seg_ros.core.subprocesses import find_tool
from uhr_seg_ros.pipelines.pipeline import TilingOptions
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.pipelines.verification import mirrored
from uhr_seg_ros.quantization.tensorrt_calibration import calibrate
from uhr_seg_ros.synthetic.scenes import generate_scene

PACKAGES = (
    'tensorrt',
    'tensorrt-rtx',
    'pycuda',
    'nvidia-ml-py',
    'torch',
    'triton',
    'onnx',
    'onnxruntime',
    'numpy',
    'opencv-python-headless',
    'pytest',
)

_SMI_FIELDS = 'driver_version,clocks.sm,clocks.mem,power.limit,pcie.link.gen.max'

_TOOLS = ('nvcc', 'compute-sanitizer', 'ncu')

#: What TensorRT builds, the most important first; the paper's network if the kit has it.
_ENGINES = (
    Case(BUNDLE, '1080p', 'fp16'),
    Case(BUNDLE, '4K', 'fp16'),
    Case(PAPER, 'paper', 'fp16'),
    Case(BUNDLE, '8K', 'fp16'),
    Case(BUNDLE, '4K', 'fp32'),
    Case(BUNDLE, '4K', 'int8'),
    Case(PAPER, 'paper', 'fp32'),
)

#: What compute-sanitizer looks for; our kernels share no memory between threads.
_SANITIZERS = ('memcheck', 'initcheck')


class Section(NamedTuple):
    """Cases that run one after the other in a process of its own; limit in s."""

    cases: Callable[[Setup], Cases]
    seconds: float


def environment(setup: Setup) -> Cases:
    """Tell what is there; nothing is imported, which takes seconds."""
    yield 'packages', lambda: {'python': sys.version.split()[0], **_versions()}
    yield 'gpu', lambda: _gpu(setup)
    yield 'nvidia-smi', _nvidia_smi
    yield 'health', _health
    yield 'tools', lambda: {name: _tool(name) or 'missing' for name in _TOOLS}
    yield 'host', lambda: {'cpus': len(os.sched_getaffinity(0)), 'kernel': os.uname().release}


def tensorrt(setup: Setup) -> Cases:
    """Build and time the engines, which are inspected; says at once if TensorRT is missing."""
    for case in _ENGINES:
        yield str(case), partial(_engines, setup, case)


def kernels(setup: Setup) -> Cases:
    """Run every kernel against the CPU and against the memory's bandwidth, and copies."""
    cubin = setup.kit.cubin(setup.machine.gpu().capability)
    with closing(KernelBench(setup.machine, cubin, setup.scale)) as bench:
        for classes in (5, 19):
            yield f'finish {classes} classes', partial(bench.finish, classes)
        for name in FORMATS:
            yield f'prepare {name}', partial(bench.prepare, name)
        for scale in (1.0, 0.5, 0.25):
            yield f'paint {scale}', partial(bench.paint, scale)
        yield 'accumulate', bench.accumulate
        yield 'check', bench.check
        for name, work in bench.copies():
            yield name, work
    for tool in _SANITIZERS:
        yield tool, partial(_sanitized, setup, tool)


def small_kernels(setup: Setup) -> Result:
    """Run every kernel once on small frames, for compute-sanitizer."""
    cubin = setup.kit.cubin(setup.machine.gpu().capability)
    scale = replace(setup.scale, check_size=PRETEND.check_size)
    with closing(KernelBench(setup.machine, cubin, scale)) as bench:
        return bench.all_once()


def pipeline(setup: Setup) -> Cases:
    """Segment frames with the half-precision graphs in PyTorch in the place of TensorRT."""
    for size in ('1080p', '4K', '8K'):
        case = Case(BUNDLE, size, 'fp16')
        yield str(case), partial(_torch_frames, setup, case)
    case = Case(BUNDLE, '4K', 'fp16')
    yield f'{case}, channels last', partial(_torch_frames, setup, case, channels_last=True)
    tiles = TilingOptions(0, tile=setup.scale.tile)
    yield f'{case}, tiles', lambda: measure(setup, torch_backend(setup), case, tiles)
    yield 'overlap 4K', lambda: overlap(setup, '4K', setup.files / 'overlap_4K.png')


def onnxruntime(setup: Setup) -> Cases:
    """Time the CPU path of this machine."""
    for name in ('1080p', '4K'):
        yield name, partial(_cpu_path, setup, name)


#: In order of importance.
SECTIONS = {
    'environment': Section(environment, 15),
    'life': Section(life, 40),
    'tensorrt': Section(tensorrt, 120),
    'kernels': Section(kernels, 60),
    'pipeline': Section(pipeline, 80),
    'pytorch': Section(eager, 45),
    'onnxruntime': Section(onnxruntime, 20),
    'compiled': Section(compiled, 90),
}

#: What sections run in processes of their own.
PARTS: dict[str, Callable[[Setup], Result]] = {
    'broken_context': broken_context,
    'small_kernels': small_kernels,
}


def _versions() -> Result:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = 'missing'
    return found


def _gpu(setup: Setup) -> Result:
    gpu = setup.machine.gpu()
    return {
        'name': gpu.name,
        'capability': gpu.capability,
        'memory_gb': round(gpu.memory / 1e9, 1),
        'cuda_of_the_driver': gpu.driver_version,
        'l2_mb': round(setup.machine.l2_bytes() / 1e6, 1),
    }


def _tool(name: str) -> str | None:
    return find_tool(name, CUDA / 'bin')


def _nvidia_smi() -> Result:
    tool = _tool('nvidia-smi')
    if tool is None:
        raise EngineError('nvidia-smi is in no folder of PATH')
    query = [f'--query-gpu={_SMI_FIELDS}', '--format=csv,noheader']
    done = subprocess.run([tool, *query], capture_output=True, text=True, check=False)
    values = done.stdout.strip().splitlines()[:1]
    return dict(zip(_SMI_FIELDS.split(','), ''.join(values).split(', '), strict=False))


def _health() -> Result:
    """Ask for what /diagnostics shows."""
    probe = open_probe()
    if probe is None:
        raise EngineError('neither NVML with nvidia-ml-py nor a Jetson tells it')
    sleep(0.1)
    return probe()._asdict()


def _engines(setup: Setup, case: Case) -> Result:
    said: list[str] = []
    bundle, cache = setup.kit.bundle(case.bundle), setup.work / 'cache'
    options = EngineOptions(precision=case.precision, cache=str(cache), report=said.append)
    dumps = setup.files / f'engines_{case}'.replace(' ', '_')
    backend = setup.machine.tensorrt(bundle.name, options, dumps)
    if case.precision == 'int8':
        size = setup.scale.size(case.size)
        graphs = SpecializedGraphs(bundle.name, 'int8', EngineCache(cache))
        side = min(1024, *size)
        frames = [mirrored(generate_scene(seed, side, side)[0], size) for seed in range(4)]
        calibrate(bundle, graphs, NO_TILES, size, frames)
    return {**measure(setup, backend, case), 'said': said}


def _torch_frames(setup: Setup, case: Case, *, channels_last: bool = False) -> Result:
    return measure(setup, torch_backend(setup, channels_last=channels_last), case)


def _sanitized(setup: Setup, tool: str) -> Result:
    """Run the kernels under compute-sanitizer."""
    program = _tool('compute-sanitizer')
    if program is None:
        raise EngineError('compute-sanitizer is in no folder of PATH')
    child = section_command('small_kernels', setup)
    python, starter, _, _, *arguments = child['args']  # without --end-with: its parent is another
    check = [program, '--tool', tool, '--error-exitcode', '9']
    child['args'] = [*check, python, starter, *arguments]
    done = subprocess.run(**child, capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).strip().splitlines()
    said = [line for line in lines if line.startswith('=====')]
    return {'exit_code': done.returncode, 'said': ' '.join(said[-4:])[:600]}


def _cpu_path(setup: Setup, size: str) -> Result:
    frame = setup.kit.frame(setup.scale.sizes[size])
    with Segmenter(BUNDLE, 'onnxruntime') as segmenter:
        segmenter(frame.bgr)
        return spread(wall_times(lambda: segmenter(frame.bgr), 5))
