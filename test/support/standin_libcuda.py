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

"""Builds the stand-in for libcuda.so.1 (see standin_libcuda.c) and tells it how to behave."""

from __future__ import annotations

import ctypes
from pathlib import Path
import shutil
import subprocess

import pytest

SOURCE = Path(__file__).with_suffix('.c')

#: What has to be given back, as the stand-in counts it; `current` are contexts of this thread.
KINDS = (
    'memory',
    'pinned',
    'stream',
    'event',
    'module',
    'graph',
    'executable',
    'context',
    'current',
)


def build_standin(folder: Path) -> Path:
    """
    Compile it; gives the path of the library.

    It has no soname, so that a process that loads it by its path does not take it for the
    machine's own driver later.
    """
    compiler = shutil.which('cc') or shutil.which('gcc')
    if compiler is None:
        pytest.skip('there is no C compiler for the stand-in of the CUDA driver')
    library = folder / 'libcuda.so.1'
    command = [compiler, '-std=gnu11', '-shared', '-fPIC', str(SOURCE), '-o', str(library)]
    subprocess.run(command, check=True)
    return library


class Launch(ctypes.Structure):
    """A kernel launch that was written down."""

    _fields_ = (
        ('name', ctypes.c_char * 64),
        ('grid', ctypes.c_uint * 3),
        ('block', ctypes.c_uint * 3),
        ('bytes', ctypes.c_uint),
        ('data', ctypes.c_ubyte * 256),
    )


class StandIn:
    """
    Controls of the stand-in.

    Args:
        library: its path, or only its name where the loader finds it.

    """

    def __init__(self, library: str) -> None:
        self._library = ctypes.CDLL(library)
        self._library.standin_launch.restype = ctypes.POINTER(Launch)

    def fail(self, function: str, code: int) -> None:
        """Let a function fail, or with `*` all of them; code 0 for never."""
        self._library.standin_fail(function.encode(), code)

    def devices(self, count: int, capability: tuple[int, int] = (8, 7)) -> None:
        """Have so many GPUs."""
        self._library.standin_devices(count, *capability)

    def integrated(self, is_integrated: bool) -> None:
        """Have a GPU without memory of its own, or one with it."""
        self._library.standin_integrated(is_integrated)

    def live(self) -> dict[str, int]:
        """Count what was not given back."""
        counts = {kind: self._library.standin_live(index) for index, kind in enumerate(KINDS)}
        return {kind: count for kind, count in counts.items() if count}

    def launches(self) -> list[Launch]:
        """Return all launches so far."""
        count = self._library.standin_launch_count()
        return [self._library.standin_launch(index)[0] for index in range(count)]

    def reset(self) -> None:
        """Behave again, and forget what was done and not given back."""
        self.fail('', 0)
        self.devices(1)
        self.integrated(False)
        self._library.standin_forget()
