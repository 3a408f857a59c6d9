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

"""The CUDA driver through ctypes: what is asked before pycuda, and what pycuda lacks."""

from __future__ import annotations

import ctypes
import re
import threading
from typing import Any

from uhr_seg_ros.core.errors import EngineError

#: Comes with the NVIDIA driver, on a Jetson with JetPack.
LIBRARY = 'libcuda.so.1'


#: CUresults after which a process cannot use the GPU any more: those of which cuda.h says that the
#: context or the process has to end (700 to 721, 226, 810), uncorrectable errors of memory and
#: NVLink (214, 220), and what a GPU answers that was reset or has fallen off the bus (46, 100,
#: 101, 709, 999). An Xid in the kernel's log, whatever its number, ends in one of them.
FATAL_CODES = frozenset(
    (46, 100, 101, 214, 220, 226, 700, 702, 709, 710, *range(714, 720), 721, 810, 999)
)


class DriverMissingError(EngineError):
    """The driver's library is not there or cannot be loaded."""


class DriverCallError(EngineError):
    """
    The driver refused something.

    Attributes:
        code: the CUresult.

    """

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


class GpuLostError(DriverCallError):
    """The GPU, or the context on it, is of no use to this process any more; to a new one it is."""

    def __init__(self, text: str, code: int) -> None:
        remedy = 'dmesg (NVRM, Xid) tells why; only a new process can use the GPU again'
        super().__init__(f'{text}: {remedy}', code)


class Driver:
    """
    The loaded driver; belongs to the thread that makes it, as CUDA contexts do.

    Attributes:
        has_context: whether a context was made by it, which an error may end.

    Raises:
        DriverMissingError: it cannot be loaded; repeats what the loader says.

    """

    def __init__(self) -> None:
        self._thread = threading.current_thread()
        self.has_context = False
        try:
            self._library = ctypes.CDLL(LIBRARY)
        except OSError as err:
            msg = f'the CUDA driver cannot be loaded ({err})'
            raise DriverMissingError(msg) from err

    def call(self, function: str, *args: Any) -> None:
        """
        Call a function of the driver.

        Args:
            function: exported name, such as `cuGraphLaunch`.
            args: as ctypes wants them; handles as `c_void_p`, since an int would be cut to 32 bit.

        Raises:
            GpuLostError: so that nothing can succeed any more.
            DriverCallError: it failed; gives function, name and text of the error.
            EngineError: the driver has no such function, or this is another thread.

        """
        self.check_thread()
        if code := self._function(function)(*args):
            text = f'{function} failed: {self._describe(code)}'
            raise self._lost(text, code) or DriverCallError(text, code)

    def error_of(self, text: str) -> EngineError:
        """Return the error for what a library says that repeats the driver's texts, as pycuda."""
        codes = (code for code in FATAL_CODES if self._text(code) in text)
        return self._lost(text, next(codes, 0)) or EngineError(text)

    def owns_thread(self) -> bool:
        """Tell if this thread is the one that CUDA is used from."""
        return threading.get_ident() == self._thread.ident

    def check_thread(self) -> None:
        """
        Refuse another thread.

        Raises:
            EngineError: names both threads.

        """
        if not self.owns_thread():
            msg = (
                f'CUDA is used from thread {threading.current_thread().name}, but belongs to '
                f'{self._thread.name}: open, use and close it on one thread'
            )
            raise EngineError(msg)

    def _lost(self, text: str, code: int) -> GpuLostError | None:
        return GpuLostError(text, code) if self.has_context and code in FATAL_CODES else None

    def _function(self, name: str) -> Any:
        try:
            return getattr(self._library, name)
        except AttributeError as err:
            msg = (
                f'the CUDA driver has no {name}: update it to one for CUDA 11.4 or newer '
                '(JetPack 6 or newer on a Jetson)'
            )
            raise EngineError(msg) from err

    def _describe(self, code: int) -> str:
        """Return name and text of an error, such as `CUDA_ERROR_NO_DEVICE (no ...)`."""
        name = ctypes.c_char_p()
        self._function('cuGetErrorName')(code, ctypes.byref(name))
        if name.value is None:
            return f'error {code}, which this driver has no name for'
        return f'{name.value.decode()} ({self._text(code)})'

    def _text(self, code: int) -> str:
        """Return the text of an error; of one that this driver does not know, its number."""
        text = ctypes.c_char_p()
        self._function('cuGetErrorString')(code, ctypes.byref(text))
        return f'error {code}' if text.value is None else text.value.decode()


def error_of_runtime(text: str) -> EngineError:
    """Return the error for what ONNX Runtime says, which names a code as `CUDA failure 700`."""
    found = re.search(r'CUDA failure (\d+)', text)
    code = int(found[1]) if found else 0
    return GpuLostError(text, code) if code in FATAL_CODES else EngineError(text)
