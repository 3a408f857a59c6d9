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
kernels.cu compiled by g++: the arithmetic of the GPU, checked without one.

CXX and CXXFLAGS are honoured, for example to look for reads outside of arrays:

    export CXXFLAGS='-g -fsanitize=address,undefined -fno-sanitize-recover'
    export LD_PRELOAD=$(g++ -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=0
    pytest test/backends/test_kernels.py test/backends/test_mask_kernels.py
"""

from __future__ import annotations

from collections.abc import Sequence
import ctypes
import fcntl
from functools import lru_cache
import hashlib
import os
from pathlib import Path
import re
import shlex
import shutil
import subprocess
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from uhr_seg_ros.backends.tensorrt import compiling
from uhr_seg_ros.backends.tensorrt.kernels import BLOCK

HERE = Path(__file__).parent
FLAGS = ['-std=c++14', '-O2', '-fno-strict-aliasing', '-Wall', '-Wextra', '-Wno-unknown-pragmas']

#: Environment variable: folder in which processes leave the compiled kernels to each other.
KEPT = 'UHR_SEG_TEST_KERNELS'


class _Index3(ctypes.Structure):
    _fields_ = [(axis, ctypes.c_uint) for axis in 'xyz']


class HostKernels:
    """
    The compiled kernels.

    Args:
        path: shared library made by `compile_host_kernels`.
        names: of the kernels.

    """

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        library = ctypes.CDLL(str(path))
        self.names = tuple(names)
        self._launch = {name: getattr(library, f'launch_{name}') for name in names}
        self._types = {}
        for name in names:
            self._launch[name].restype = ctypes.c_bool
            signature = getattr(library, f'signature_{name}')
            signature.restype = ctypes.c_char_p
            self._types[name] = signature().decode().split()

    def run(
        self, name: str, threads: Sequence[int], *args: np.ndarray | np.generic | float | None
    ) -> None:
        """
        Run a kernel on arrays.

        Args:
            name: of the kernel.
            threads: how many it needs at least along x, y and z.
            args: arrays, or None for a null address; int and float stand for int32 and float32.

        """
        grid = tuple(-(-count // side) for count, side in zip(threads, BLOCK, strict=True))
        self.launch(name, grid, BLOCK, [_scalar(argument) for argument in args])

    def launch(
        self,
        name: str,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        args: Sequence[np.generic],
    ) -> None:
        """
        Run a kernel to its end, thread by thread.

        Args:
            name: of the kernel.
            grid: blocks along x, y and z.
            block: threads of a block along x, y and z.
            args: one numpy scalar per argument; addresses as uint64.

        Raises:
            TypeError: the scalars are not what the kernel takes, which CUDA would not notice.
            AssertionError: it reads what a GPU cannot read.

        """
        types = [argument.dtype.str[1:] for argument in args]
        if types != self._types[name]:
            msg = f'{name} takes {self._types[name]}, not {types}'
            raise TypeError(msg)
        values = [np.array(argument) for argument in args]
        addresses = [value.ctypes.data for value in values]
        parameters = (ctypes.c_void_p * len(values))(*addresses)
        if not self._launch[name](_Index3(*grid), _Index3(*block), parameters):
            msg = f'{name} read words at addresses that are no multiples of their size'
            raise AssertionError(msg)


def _scalar(argument: np.ndarray | np.generic | float | None) -> np.generic:
    if argument is None:
        return np.uint64(0)
    if isinstance(argument, np.ndarray):
        return np.uint64(argument.ctypes.data)
    if isinstance(argument, np.generic):
        return argument
    return np.float32(argument) if isinstance(argument, float) else np.int32(argument)


@lru_cache(maxsize=1)
def compile_host_kernels() -> HostKernels:
    """
    Compile once per process, or once for all that share a folder; skips the test without a g++.

    The folder is named by the environment variable `KEPT`.
    """
    compiler = os.environ.get('CXX', 'g++')
    if shutil.which(compiler) is None:
        pytest.skip(f'{compiler} is not installed: sudo apt install g++')
    names = re.findall(r'^KERNEL (\w+)', compiling.SOURCE.read_text(), re.MULTILINE)
    exports = ''.join(f'EXPORT({name})\n' for name in names)
    source = f'#include "host_shim.h"\n#include "{compiling.SOURCE}"\n{exports}'
    flags = [*FLAGS, *shlex.split(os.environ.get('CXXFLAGS', ''))]
    command = [compiler, *flags, '-shared', '-fPIC', f'-I{HERE}']
    if KEPT not in os.environ:
        with TemporaryDirectory(prefix='uhr_seg_kernels_') as folder:
            # A loaded library outlives its file.
            return HostKernels(_compiled(command, source, Path(folder) / 'kernels'), names)
    shared = Path(os.environ[KEPT])
    parts = (*command, source, compiling.SOURCE.read_text(), (HERE / 'host_shim.h').read_text())
    digest = hashlib.sha256('\0'.join(map(str, parts)).encode()).hexdigest()[:16]
    shared.mkdir(parents=True, exist_ok=True)
    with (shared / f'{digest}.lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = shared / f'{digest}.so'
        if not made.is_file():
            _compiled(command, source, shared / f'{digest}_draft').rename(made)
    return HostKernels(made, names)


def _compiled(command: Sequence[str], source: str, stem: Path) -> Path:
    file, target = stem.with_suffix('.cpp'), stem.with_suffix('.so')
    file.write_text(source)
    done = subprocess.run([*command, file, '-o', target], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target
