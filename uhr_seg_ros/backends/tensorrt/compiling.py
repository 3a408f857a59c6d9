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

"""kernels.cu to machine code, by nvcc or by NVRTC; needs neither a GPU nor a driver."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
import ctypes
from ctypes.util import find_library
import hashlib
from importlib.util import find_spec
from pathlib import Path
import re
import subprocess
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.core.subprocesses import find_tool

#: Ten times the compute capabilities that we claim to run on: 7.5 Turing, 8.7 Orin, 11.0 Thor.
ARCHITECTURES = (75, 80, 86, 87, 89, 90, 100, 103, 110, 120, 121)

SOURCE = Path(__file__).with_name('kernels.cu')

_OPTIONS = ('--std=c++14',)

#: Where NVIDIA's installers put a toolkit, which need not be in the PATH.
CUDA = Path('/usr/local/cuda')

#: How much of a compiler's log an error repeats, characters.
_LOG_LENGTH = 2000

_REMEDY = (
    'install one that is not newer than the driver, on a Jetson: sudo apt install '
    'nvidia-cuda-dev; elsewhere: pip install nvidia-cuda-nvrtc-cu12, or nvidia-cuda-nvrtc for '
    'CUDA 13 (compute capability 11.0 and beyond 12.1 need it)'
)


class CompilationError(EngineError):
    """No compiler for this GPU, or it failed; the text repeats its log."""


class Compiler(Protocol):
    """
    What makes cubins.

    Attributes:
        name: of the product.

    """

    name: str

    def version(self) -> tuple[int, int]:
        """Return the CUDA that it belongs to, such as (12, 6)."""
        ...

    def architectures(self) -> list[int]:
        """Return the architectures that it knows, such as 87 for compute capability 8.7."""
        ...

    def compile(self, architecture: int) -> bytes:
        """Make a cubin of `SOURCE`."""
        ...


def compile_kernels(capability: tuple[int, int]) -> bytes:
    """
    Compile our kernels for one kind of GPU; takes some seconds.

    Args:
        capability: compute capability, major and minor.

    Returns:
        A cubin, to be loaded on GPUs of that capability.

    Raises:
        CompilationError: no compiler is found, none knows the GPU, or all of them failed.

    """
    reasons: list[str] = []
    for _, cubin in cubins(capability, find_compilers(), reasons):
        return cubin
    raise no_kernels(capability, reasons)


def cubins(
    capability: tuple[int, int], compilers: Iterable[Compiler], reasons: list[str]
) -> Iterator[tuple[Compiler, bytes]]:
    """
    Compile our kernels with one compiler after the other, each when the one before will not do.

    Args:
        capability: compute capability, major and minor.
        compilers: what to try.
        reasons: gets a line for each that fails.

    """
    architecture = 10 * capability[0] + capability[1]
    for compiler in compilers:
        try:
            known = compiler.architectures()
            if architecture in known:
                yield compiler, compiler.compile(architecture)
                continue
            numbers = ', '.join(f'{each / 10}' for each in known)
            reasons.append(f'{compiler} knows {numbers} only')
        except CompilationError as err:
            reasons.append(str(err))


def no_kernels(capability: tuple[int, int], reasons: Sequence[str]) -> CompilationError:
    """Make the error for a GPU that there are no kernels for."""
    return CompilationError(
        f'no compiler makes CUDA kernels for compute capability {capability[0]}.{capability[1]}: '
        f'{"; ".join(reasons) or "neither nvcc nor NVRTC is found"}: {_REMEDY}'
    )


def source_sha256() -> str:
    """Return a digest of everything that decides what is compiled, for cache keys."""
    return hashlib.sha256(SOURCE.read_bytes() + ' '.join(_OPTIONS).encode()).hexdigest()


def find_compilers() -> list[Compiler]:
    """List the compilers of this machine: nvcc before NVRTC, the system's before pip's."""
    nvcc = find_tool('nvcc', CUDA / 'bin')
    libraries = [find_library('nvrtc'), *_glob([CUDA], 'lib64')]
    spec = find_spec('nvidia')
    if spec is not None:
        libraries += _glob(spec.submodule_search_locations or [], '*/lib')
    compilers: list[Compiler] = [Nvrtc(path) for path in libraries if path]
    return [Nvcc(nvcc), *compilers] if nvcc else compilers


class Nvcc:
    """The compiler of the CUDA toolkit; needs g++ beside it."""

    name = 'nvcc'

    def __init__(self, path: str) -> None:
        self._path = path

    def __str__(self) -> str:
        return f'nvcc ({self._path})'

    def version(self) -> tuple[int, int]:
        """Ask nvcc."""
        text = self._run('--version')
        found = re.search(r'release (\d+)\.(\d+)', text)
        if found is None:
            msg = f'{self} does not tell its version: {_shorten(text)}'
            raise CompilationError(msg)
        return int(found[1]), int(found[2])

    def architectures(self) -> list[int]:
        """Ask nvcc."""
        return sorted({int(number) for number in re.findall(r'\d+', self._run('--list-gpu-code'))})

    def compile(self, architecture: int) -> bytes:
        """Make a cubin of `SOURCE`."""
        with TemporaryDirectory(prefix='uhr_seg_') as folder:
            target = Path(folder) / 'kernels.cubin'
            options = (*_OPTIONS, f'--gpu-architecture=sm_{architecture}')
            self._run('--cubin', *options, f'--output-file={target}', str(SOURCE))
            return target.read_bytes()

    def _run(self, *arguments: str) -> str:
        try:
            done = subprocess.run([self._path, *arguments], capture_output=True, text=True)
        except OSError as err:
            msg = f'{self} cannot be started: {err.strerror}'
            raise CompilationError(msg) from err
        if done.returncode != 0:
            msg = f'{self} failed: {_shorten(done.stderr or done.stdout)}'
            raise CompilationError(msg)
        return done.stdout


class Nvrtc:
    """The compiler as a library; needs nothing beside it."""

    name = 'NVRTC'

    def __init__(self, path: str) -> None:
        self._path = path

    def __str__(self) -> str:
        return f'NVRTC ({self._path})'

    def version(self) -> tuple[int, int]:
        """Ask NVRTC."""
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._call('nvrtcVersion', ctypes.byref(major), ctypes.byref(minor))
        return major.value, minor.value

    def architectures(self) -> list[int]:
        """Ask NVRTC."""
        count = ctypes.c_int()
        self._call('nvrtcGetNumSupportedArchs', ctypes.byref(count))
        numbers = (ctypes.c_int * count.value)()
        self._call('nvrtcGetSupportedArchs', numbers)
        return sorted(numbers)

    def compile(self, architecture: int) -> bytes:
        """Make a cubin of `SOURCE`."""
        program = ctypes.c_void_p()
        source, name = SOURCE.read_bytes(), SOURCE.name.encode()
        self._call('nvrtcCreateProgram', ctypes.byref(program), source, name, 0, None, None)
        try:
            return self._compile(program, [*_OPTIONS, f'--gpu-architecture=sm_{architecture}'])
        finally:
            self._call('nvrtcDestroyProgram', ctypes.byref(program))

    def _compile(self, program: ctypes.c_void_p, options: Sequence[str]) -> bytes:
        texts = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        try:
            self._call('nvrtcCompileProgram', program, len(options), texts)
        except CompilationError as err:
            log = self._read(program, 'nvrtcGetProgramLog').decode(errors='replace').rstrip('\0')
            msg = f'{err}: {_shorten(log)}'
            raise CompilationError(msg) from err
        return self._read(program, 'nvrtcGetCUBIN')

    def _read(self, program: ctypes.c_void_p, what: str) -> bytes:
        size = ctypes.c_size_t()
        self._call(f'{what}Size', program, ctypes.byref(size))
        content = ctypes.create_string_buffer(size.value)
        self._call(what, program, content)
        return content.raw

    def _call(self, name: str, *arguments: Any) -> None:
        try:
            library = ctypes.CDLL(self._path)
            status = getattr(library, name)(*arguments)
        except (AttributeError, OSError) as err:
            msg = f'{self} cannot be used: {err}'
            raise CompilationError(msg) from err
        if status != 0:
            library.nvrtcGetErrorString.restype = ctypes.c_char_p
            msg = f'{self} failed: {library.nvrtcGetErrorString(status).decode()}'
            raise CompilationError(msg)


def _glob(roots: Sequence[str | Path], folder: str) -> list[str]:
    """Find NVRTC below some roots, the oldest version first."""
    # Not libnvrtc.alt.so and libnvrtc-builtins.so, which lie beside it.
    found = (path for root in roots for path in Path(root).glob(f'{folder}/libnvrtc.so*'))
    # A driver loads what older compilers made, and not always what newer ones did.
    return sorted({str(path.resolve()) for path in found}, key=_version)


def _version(path: str) -> list[int]:
    return [int(number) for number in re.findall(r'\d+', Path(path).name)]


def _shorten(log: str) -> str:
    return ' '.join(log.split())[:_LOG_LENGTH]
