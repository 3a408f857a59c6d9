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
The primary context of a GPU on one thread, by pycuda, and everything that is taken from it.

CUDA graphs go through ctypes, since pycuda has none.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
import ctypes
from importlib import import_module
from typing import Any, TypeVar
from weakref import finalize, WeakSet

from uhr_seg_ros.core.cuda_driver import Driver, GpuLostError
from uhr_seg_ros.core.errors import EngineError

_CAPTURE_THREAD_LOCAL = 1  # CUstreamCaptureMode

_Held = TypeVar('_Held', bound='Handle')


class Handle:
    """Something of CUDA's; released when nothing refers to it, at the latest by `Cuda.close`."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw

    def close(self) -> None:
        """Release it; calling it again does nothing."""
        # The destructor of pycuda's object does it.
        self.raw = None


class Event(Handle):
    """A place in a stream."""


class Stream(Handle):
    """Work that is done in order; `handle` is its CUstream."""

    def __init__(self, raw: Any) -> None:
        super().__init__(raw)
        self.handle = int(raw.handle)


class GraphCaptureError(EngineError):
    """Work cannot be captured as a CUDA graph; it can be done without one."""


class Graph(Handle):
    """Captured work that is launched as one."""

    def __init__(self, driver: Driver, executable: ctypes.c_void_p) -> None:
        super().__init__(executable)
        self._driver = driver
        self._destroy = finalize(self, _destroy, driver, executable)

    @classmethod
    def capture(cls, driver: Driver, stream: Stream, work: Callable[[], None]) -> Graph:
        """Capture what `work` puts on a stream; see `Cuda.capture`."""
        executable = ctypes.c_void_p()
        try:
            captured = _capture(driver, ctypes.c_void_p(stream.handle), work)
            try:
                flags = ctypes.c_uint64(0)
                instantiate = 'cuGraphInstantiateWithFlags'
                driver.call(instantiate, ctypes.byref(executable), captured, flags)
            finally:
                driver.call('cuGraphDestroy', captured)
        except GpuLostError:
            raise
        except EngineError as err:
            msg = f'the work cannot be captured as a CUDA graph: {err}'
            raise GraphCaptureError(msg) from err
        return cls(driver, executable)

    def launch(self, stream: Stream) -> None:
        """Put the work on a stream; EngineError when the graph is closed or CUDA refuses."""
        if self.raw is None:
            msg = 'a CUDA graph is launched after it was closed'
            raise EngineError(msg)
        self._driver.call('cuGraphLaunch', self.raw, ctypes.c_void_p(stream.handle))

    def close(self) -> None:
        """Release it; calling it again does nothing."""
        self._driver.check_thread()
        self._destroy()
        self.raw = None


def _capture(driver: Driver, stream: ctypes.c_void_p, work: Callable[[], None]) -> ctypes.c_void_p:
    captured = ctypes.c_void_p()
    # Thread-local: other threads may go on using CUDA, but a call on this one that cannot be
    # replayed, such as an allocation, fails now instead of being missing from the graph.
    driver.call('cuStreamBeginCapture_v2', stream, ctypes.c_int(_CAPTURE_THREAD_LOCAL))
    try:
        work()
    except BaseException:
        # Otherwise the streams could not be used again.
        with suppress(EngineError):
            driver.call('cuStreamEndCapture', stream, ctypes.byref(captured))
            driver.call('cuGraphDestroy', captured)
        raise
    driver.call('cuStreamEndCapture', stream, ctypes.byref(captured))
    return captured


def _destroy(driver: Driver, executable: ctypes.c_void_p) -> None:
    # Fails on another thread that collects it, and after the GPU failed, which was told then.
    with suppress(EngineError):
        driver.call('cuGraphExecDestroy', executable)


class Context:
    """
    The primary context, current on the thread that makes this; see `cuda.Cuda`.

    Args:
        ordinal: which GPU.

    Attributes:
        pycuda: the module `pycuda.driver`.
        driver: the driver itself.
        name: of the GPU.
        capability: compute capability.
        is_integrated: whether the GPU works in the host's memory.
        allocations: address -> device memory.
        pinned: page-locked memory that is in use.

    Raises:
        EngineError: pycuda is missing, or there is no GPU.

    """

    def __init__(self, ordinal: int) -> None:
        self.pycuda = _import_pycuda()
        self.driver = Driver()
        self.allocations: dict[int, Any] = {}
        self.pinned: WeakSet[Any] = WeakSet()
        self._handles: WeakSet[Handle] = WeakSet()
        try:
            self.pycuda.init()
            device = self.pycuda.Device(ordinal)
            self.name: str = device.name()
            self.capability: tuple[int, int] = device.compute_capability()
            # Every integrated GPU since compute capability 7.2 can map the host's memory.
            integrated = self.pycuda.device_attribute.INTEGRATED
            self.is_integrated = bool(device.get_attribute(integrated))
            self._context = device.retain_primary_context()
            self._context.push()
        except self.pycuda.Error as err:
            raise self.translated(err) from err
        self.driver.has_context = True

    def translated(self, err: Exception) -> EngineError:
        """Make an error of ours that repeats pycuda's: function and text."""
        return self.driver.error_of(f'CUDA: {_one_line(err)}')

    def hold(self, handle: _Held) -> _Held:
        """Register a handle that is released when this is closed."""
        self._handles.add(handle)
        return handle

    def close(self) -> None:
        """Free everything and leave the context; on another thread, do nothing."""
        # At exit, or collected elsewhere: a context can only be left on its own thread.
        if not self.driver.owns_thread():
            return
        try:
            self._free()
        finally:
            # The driver's own stack, where pycuda would leave a primary context.
            with suppress(EngineError):
                self.driver.call('cuCtxPopCurrent_v2', ctypes.byref(ctypes.c_void_p()))
            self._context.detach()

    def _free(self) -> None:
        # Work that still runs uses what is freed; after an error of the GPU nothing runs.
        with suppress(self.pycuda.Error):
            self.pycuda.Context.synchronize()
        for handle in self._handles:
            handle.close()
        for memory in (*self.allocations.values(), *self.pinned):
            memory.free()


def _import_pycuda() -> Any:
    try:
        return import_module('pycuda.driver')
    except ImportError as err:
        msg = (
            f'pycuda cannot be imported ({_one_line(err)}): pip install pycuda, which needs the '
            'CUDA toolkit (on a Jetson: sudo apt install nvidia-jetpack)'
        )
        raise EngineError(msg) from err


def _one_line(err: Exception) -> str:
    return ' '.join(str(err).split())
