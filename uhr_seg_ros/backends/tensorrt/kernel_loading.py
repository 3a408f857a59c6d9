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

"""Our kernels on a GPU: from the cache, or by the first compiler whose code the driver loads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from uhr_seg_ros.backends.tensorrt.cache import EngineCache, Key
from uhr_seg_ros.backends.tensorrt.compiling import (
    CompilationError,
    Compiler,
    cubins,
    find_compilers,
    no_kernels,
    source_sha256,
)
from uhr_seg_ros.core.cuda_driver import GpuLostError
from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.core.gpu import Gpu


def load_kernels(
    gpu: Gpu,
    load: Callable[[bytes], Any],
    cache: EngineCache,
    keep: Callable[..., object],
    report: Callable[[str], None],
) -> Any:
    """
    Load our kernels; only code that was loaded goes to the cache.

    Args:
        gpu: what they are for.
        load: loads a cubin, as `Cuda.load` does.
        cache: where cubins are kept.
        keep: calls a function that changes the cache, with its arguments.
        report: gets one line whenever something takes long, and why.

    Returns:
        What `load` gave.

    Raises:
        CompilationError: no compiler makes code that the driver loads; says why for each.

    """
    reasons: list[str] = []
    compilers = for_driver(gpu.driver_version, find_compilers(), reasons)
    name = 'kernels-sm{}{}'.format(*gpu.capability)
    fields = {'source': source_sha256(), 'driver': '.'.join(map(str, gpu.driver_version))}
    keys = {
        compiler: Key('kernels', name, {**fields, 'compiler': label})
        for compiler, label in compilers.items()
    }
    # A machine without compilers runs what was compiled on it by one that has gone.
    kept = keys.values() or cache.matching(Key('kernels', name, fields))
    if (module := _load_kept(kept, load, cache, keep, report)) is not None:
        return module
    report(f'compiling kernels for {gpu.name}')
    for compiler, cubin in cubins(gpu.capability, compilers, reasons):
        try:
            module = load(cubin)
        except GpuLostError:
            raise
        except EngineError as err:
            reasons.append(f'the driver does not load what {compiler} makes: {err}')
        else:
            keep(cache.write, keys[compiler], cubin)
            return module
    raise no_kernels(gpu.capability, reasons)


def for_driver(
    driver: tuple[int, int], compilers: Iterable[Compiler], reasons: list[str]
) -> dict[Compiler, str]:
    """
    Choose the compilers whose code a driver may load, the surest ones first.

    A driver loads what compilers up to its own CUDA make and, on most machines, what newer ones
    of the same major version make.

    Args:
        driver: the newest CUDA that it knows, such as (12, 6).
        compilers: what there is.
        reasons: gets a line for each that is left out.

    Returns:
        Compiler -> its name and version.

    """
    older, newer = {}, {}
    for compiler in compilers:
        try:
            version = compiler.version()
        except CompilationError as err:
            reasons.append(str(err))
            continue
        label = f'{compiler.name} {_dotted(version)}'
        if version <= driver:
            older[compiler] = label
        elif version[0] == driver[0]:
            newer[compiler] = label
        else:
            reasons.append(
                f'{compiler} is of CUDA {_dotted(version)}, newer than the driver, which knows '
                f'{_dotted(driver)}'
            )
    return {**older, **newer}


def _load_kept(
    keys: Iterable[Key],
    load: Callable[[bytes], Any],
    cache: EngineCache,
    keep: Callable[..., object],
    report: Callable[[str], None],
) -> Any | None:
    """Load what lies in the cache, and remove from it what cannot be loaded."""
    for key in keys:
        if (found := cache.read(key)) is None:
            continue
        try:
            return load(found[0])
        except GpuLostError:
            raise
        except EngineError as err:
            report(f'{key.name} by {key.fields["compiler"]} is compiled again: {err}')
            keep(cache.discard, key)
    return None


def _dotted(version: tuple[int, int]) -> str:
    return '.'.join(map(str, version))
