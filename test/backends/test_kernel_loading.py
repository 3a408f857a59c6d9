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

"""Which compiler's kernels a driver gets, and which of them go to the cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from standin_backend import ORIN

from uhr_seg_ros.backends.tensorrt import compiling, kernel_loading
from uhr_seg_ros.backends.tensorrt.cache import EngineCache
from uhr_seg_ros.backends.tensorrt.compiling import (
    CompilationError,
    find_compilers,
    Nvcc,
    Nvrtc,
)
from uhr_seg_ros.backends.tensorrt.kernel_loading import for_driver
from uhr_seg_ros.core.errors import EngineError


@dataclass(eq=False)
class Compiler:
    """A compiler whose code is its version."""

    cuda: tuple[int, int]
    name: str = 'cc'
    fails: bool = False
    compiled: int = 0

    def __str__(self) -> str:
        return f'{self.name} of {self.cuda}'

    def version(self) -> tuple[int, int]:
        return self.cuda

    def architectures(self) -> list[int]:
        return [87]

    def compile(self, architecture: int) -> bytes:
        self.compiled += 1
        if self.fails:
            msg = f'{self} failed: no host compiler'
            raise CompilationError(msg)
        return str(self.cuda).encode()


@dataclass
class Machine:
    """A machine with compilers, a driver that refuses some code, and a cache."""

    cache: EngineCache
    compilers: list[Compiler] = field(default_factory=list)
    refuses: list[tuple[int, int]] = field(default_factory=list)
    driver: tuple[int, int] = (12, 6)
    lines: list[str] = field(default_factory=list)

    def load(self, cubin: bytes) -> str:
        if cubin.decode() in map(str, self.refuses):
            msg = 'CUDA: cuModuleLoadDataEx failed: device kernel image is invalid'
            raise EngineError(msg)
        return cubin.decode()

    def start(self) -> tuple[int, int]:
        """Start the program, and tell whose code runs."""
        gpu = replace(ORIN, driver_version=self.driver)
        keep = lambda change, *arguments: change(*arguments)  # noqa: E731
        return kernel_loading.load_kernels(gpu, self.load, self.cache, keep, self.lines.append)

    @property
    def kept(self) -> list[str]:
        return sorted(entry.path.read_text() for entry in self.cache.entries())


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    made = Machine(EngineCache(tmp_path))
    monkeypatch.setattr(kernel_loading, 'find_compilers', lambda: made.compilers)
    return made


def test_code_that_is_not_loaded_is_not_kept(machine: Machine) -> None:
    """The right compiler, once it is installed, is not kept out by an entry of the wrong one."""
    wrong, right = Compiler((12, 5)), Compiler((12, 4))
    machine.compilers, machine.refuses = [wrong], [wrong.cuda]
    text = r'7: the driver does not load what cc of \(12, 5\) makes: .*image is invalid.*: install'
    for _ in range(2):
        with pytest.raises(CompilationError, match=text):
            machine.start()
    assert machine.kept == []
    machine.compilers = [wrong, right]
    assert machine.start() == '(12, 4)'
    assert machine.kept == ['(12, 4)']


def test_next_compiler_after_any_failure(machine: Machine) -> None:
    failing, refused, good = Compiler((12, 2), fails=True), Compiler((12, 3)), Compiler((12, 4))
    machine.compilers, machine.refuses = [failing, refused, good], [refused.cuda]
    assert machine.start() == '(12, 4)'
    assert [each.compiled for each in machine.compilers] == [1, 1, 1]
    # The next start asks none of them.
    assert machine.start() == '(12, 4)'
    assert [each.compiled for each in machine.compilers] == [1, 1, 1]
    assert machine.kept == ['(12, 4)']


def test_compilers_newer_than_the_driver(machine: Machine) -> None:
    """Those of another major version are no use, those of another minor one come last."""
    other, newer, older = Compiler((13, 0)), Compiler((12, 9)), Compiler((12, 6))
    machine.compilers = [other, newer, older]
    assert machine.start() == '(12, 6)'
    machine.compilers = [other, newer]
    assert machine.start() == '(12, 9)'
    machine.compilers = [other]
    machine.cache.prune()
    text = r'cc of \(13, 0\) is of CUDA 13\.0, newer than the driver, which knows 12\.6'
    with pytest.raises(CompilationError, match=text):
        machine.start()
    assert other.compiled == 0
    machine.driver = (13, 0)
    assert machine.start() == '(13, 0)'


def newer_driver(machine: Machine) -> None:
    machine.driver = (12, 8)


def newer_compiler(machine: Machine) -> None:
    machine.compilers = [Compiler((12, 5))]


def other_product(machine: Machine) -> None:
    machine.compilers = [Compiler((12, 4), name='dd')]


@pytest.mark.parametrize('change', [newer_driver, newer_compiler, other_product])
def test_what_the_entry_depends_on(machine: Machine, change: Callable[[Machine], None]) -> None:
    machine.compilers = [Compiler((12, 4))]
    machine.start()
    assert machine.compilers[0].compiled == 1
    change(machine)
    machine.start()
    machine.start()
    assert sum(line.startswith('compiling kernels') for line in machine.lines) == 2
    assert len(machine.kept) == 2


def test_entry_that_is_not_loaded_any_more(machine: Machine) -> None:
    first, second = Compiler((12, 4)), Compiler((12, 5))
    machine.compilers = [first, second]
    machine.start()
    machine.refuses = [first.cuda]
    assert machine.start() == '(12, 5)'
    assert machine.kept == ['(12, 5)']
    assert 'kernels-sm87 by cc 12.4 is compiled again: CUDA: cuModuleLoad' in machine.lines[1]


def test_a_machine_whose_compiler_has_gone(machine: Machine) -> None:
    machine.compilers = [Compiler((12, 4))]
    machine.start()
    machine.compilers = []
    assert machine.start() == '(12, 4)'
    machine.driver = (12, 8)
    with pytest.raises(CompilationError, match='neither nvcc nor NVRTC is found'):
        machine.start()


@pytest.fixture
def small_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Take a source file that compiles in no time."""
    source = tmp_path / 'small.cu'
    source.write_text('extern "C" __global__ void paint(char* picture) { *picture = 1; }\n')
    monkeypatch.setattr(compiling, 'SOURCE', source)


@pytest.mark.parametrize('kind', [Nvcc, Nvrtc])
def test_real_compilers(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, small_source: None, kind: type
) -> None:
    found = [compiler for compiler in find_compilers() if isinstance(compiler, kind)]
    if not found:
        pytest.skip(f'no {kind.__name__} here')
    compiler = found[0]
    machine.compilers, machine.driver = [compiler], compiler.version()
    monkeypatch.setattr(machine, 'load', lambda cubin: cubin[:4])
    assert machine.start() == b'\x7fELF'
    (entry,) = machine.cache.entries()
    version = '.'.join(map(str, compiler.version()))
    assert entry.facts['fields']['compiler'] == f'{compiler.name} {version}'
    assert entry.facts['fields']['driver'] == version
    reasons: list[str] = []
    assert for_driver((compiler.version()[0] - 1, 9), [compiler], reasons) == {}
    assert f'{compiler} is of CUDA {version}, newer than the driver' in reasons[0]


def test_nvcc_that_tells_no_version(tmp_path: Path) -> None:
    path = tmp_path / 'nvcc'
    path.write_text('#!/bin/sh\necho a wrapper\n')
    path.chmod(0o755)
    reasons: list[str] = []
    assert for_driver((12, 6), [Nvcc(str(path)), Nvrtc(str(path))], reasons) == {}
    assert 'does not tell its version: a wrapper' in reasons[0]
    assert 'cannot be used' in reasons[1]
