# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""CUDA graphs through ctypes, since pycuda has none."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
import ctypes
from weakref import finalize

from uhr_seg_ros.backends.tensorrt.cuda_context import Handle, Stream
from uhr_seg_ros.core.cuda_driver import Driver
from uhr_seg_ros.core.errors import EngineError

_CAPTURE_THREAD_LOCAL = 1  # CUstreamCaptureMode


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
        """Return it back; calling it again does nothing."""
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
