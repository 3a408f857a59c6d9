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

"""The kernels compile for every GPU that we claim, with the compilers that are here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from uhr_seg_ros.backends.tensorrt import compiling
from uhr_seg_ros.backends.tensorrt.compiling import (
    ARCHITECTURES,
    CompilationError,
    compile_kernels,
    Compiler,
    find_compilers,
    Nvcc,
    Nvrtc,
    source_sha256,
)

TYPED = ('prepare', 'accumulate', 'finish')
KERNELS = ['paint', *(f'{name}_{kind}' for name in TYPED for kind in ('f32', 'f16'))]

#: The number of NVIDIA's GPUs among the machines of ELF.
EM_CUDA = 190


def check_cubin(content: bytes, kernels: Sequence[str] = KERNELS) -> None:
    """Tell that it is machine code of a GPU, with all our kernels."""
    assert content[:4] == b'\x7fELF'
    assert int.from_bytes(content[18:20], 'little') == EM_CUDA
    for name in kernels:
        assert f'.text.{name}\0'.encode() in content


#: Always compiled for: Orin's; the others with `--all`, as each takes seven seconds.
ALWAYS = (87,)


@pytest.mark.parametrize(
    'architecture',
    [
        each if each in ALWAYS else pytest.param(each, marks=pytest.mark.slow)
        for each in ARCHITECTURES
    ],
)
def test_every_architecture(architecture: int) -> None:
    known = {number for compiler in find_compilers() for number in compiler.architectures()}
    if architecture not in known:
        pytest.skip(f'no CUDA compiler here knows sm_{architecture}')
    check_cubin(compile_kernels(divmod(architecture, 10)))


def first_of(kind: type) -> Compiler:
    """Return a compiler of this machine."""
    found = [compiler for compiler in find_compilers() if isinstance(compiler, kind)]
    if not found:
        pytest.skip(f'no {kind.__name__} here')
    return found[0]


@pytest.fixture
def small_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return a source file that compiles in no time."""
    source = tmp_path / 'small.cu'
    source.write_text('extern "C" __global__ void paint(char* picture) { *picture = 1; }\n')
    monkeypatch.setattr(compiling, 'SOURCE', source)
    return source


@pytest.mark.parametrize('kind', [Nvcc, Nvrtc])
def test_both_compilers(kind: type, monkeypatch: pytest.MonkeyPatch, small_source: Path) -> None:
    compiler = first_of(kind)
    monkeypatch.setattr(compiling, 'find_compilers', lambda: [compiler])
    check_cubin(compile_kernels((8, 7)), ['paint'])


@pytest.mark.parametrize('kind', [Nvcc, Nvrtc])
def test_log_of_the_compiler(
    kind: type, monkeypatch: pytest.MonkeyPatch, small_source: Path
) -> None:
    compiler = first_of(kind)
    small_source.write_text('extern "C" __global__ void paint() { not_declared(); }\n')
    monkeypatch.setattr(compiling, 'find_compilers', lambda: [compiler])
    with pytest.raises(CompilationError, match='failed: .*"not_declared" is undefined') as caught:
        compile_kernels((8, 7))
    assert '\n' not in str(caught.value)


def test_broken_compiler_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, small_source: Path
) -> None:
    """An nvcc without g++, a library that is none: the next compiler may do."""
    good = first_of(Nvrtc)
    broken = tmp_path / 'nvcc'
    broken.write_text('#!/bin/sh\necho "no host compiler" >&2\nexit 1\n')
    broken.chmod(0o755)
    library = tmp_path / 'libnvrtc.so.99'
    library.write_text('no library')
    bad = [Nvcc(str(broken)), Nvcc(str(tmp_path / 'gone')), Nvrtc(str(library))]
    monkeypatch.setattr(compiling, 'find_compilers', lambda: [*bad, good])
    check_cubin(compile_kernels((8, 7)), ['paint'])
    monkeypatch.setattr(compiling, 'find_compilers', lambda: bad)
    with pytest.raises(CompilationError, match='failed: no host compiler; nvcc .*gone') as caught:
        compile_kernels((8, 7))
    assert f'NVRTC ({library}) cannot be used' in str(caught.value)


def test_library_that_is_not_nvrtc() -> None:
    with pytest.raises(CompilationError, match=r'libm\.so\.6.* cannot be used: .*nvrtcGetNum'):
        Nvrtc('libm.so.6').architectures()


def test_unknown_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = first_of(Nvrtc)
    monkeypatch.setattr(compiling, 'find_compilers', lambda: [compiler])
    with pytest.raises(CompilationError, match=r'capability 99\.0: NVRTC .* knows .*8\.7, .*only'):
        compile_kernels((99, 0))


def test_no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.setattr(compiling, 'CUDA', tmp_path)
    monkeypatch.setattr(compiling, 'find_library', lambda name: None)
    monkeypatch.setattr(compiling, 'find_spec', lambda name: None)
    assert find_compilers() == []
    with pytest.raises(CompilationError, match='neither nvcc nor NVRTC is found: .*pip install'):
        compile_kernels((8, 7))


def test_oldest_library_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / 'lib64'
    folder.mkdir()
    for name in ('so.13', 'so.12', 'so.11.2', 'alt.so.12'):
        (folder / f'libnvrtc.{name}').touch()
    (folder / 'libnvrtc.so').symlink_to('libnvrtc.so.12')
    monkeypatch.setattr(compiling, 'CUDA', tmp_path)
    found = [str(each) for each in find_compilers() if str(tmp_path) in str(each)]
    assert found == [f'NVRTC ({folder}/libnvrtc.so.{number})' for number in ('11.2', '12', '13')]


def test_digest_follows_the_source(small_source: Path) -> None:
    before = source_sha256()
    assert len(before) == 64
    assert source_sha256() == before
    small_source.write_bytes(small_source.read_bytes() + b'\n')
    assert source_sha256() != before
