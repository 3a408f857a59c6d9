# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""The primary context of a GPU on one thread, by pycuda, and everything that is taken from it."""

from __future__ import annotations

from contextlib import suppress
import ctypes
from importlib import import_module
from typing import Any, TypeVar
from weakref import WeakSet

from uhr_seg_ros.core.cuda_driver import Driver
from uhr_seg_ros.core.errors import EngineError

_Held = TypeVar('_Held', bound='Handle')


class Handle:
    """Something of CUDA's; goes when nothing refers to it, at the latest with `Cuda.close`."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw

    def close(self) -> None:
        """Return it back; calling it again does nothing."""
        # The destructor of pycuda's object does it.
        self.raw = None


class Event(Handle):
    """A place in a stream."""


class Stream(Handle):
    """Work that is done in order; `handle` is its CUstream."""

    def __init__(self, raw: Any) -> None:
        super().__init__(raw)
        self.handle = int(raw.handle)


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
            self._context = device.retain_primary_context()
            self._context.push()
        except self.pycuda.Error as err:
            raise translated(err) from err

    def hold(self, handle: _Held) -> _Held:
        """Take a handle away when this is closed."""
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


def translated(err: Exception) -> EngineError:
    """Make an error of ours that repeats pycuda's: function and text."""
    return EngineError(f'CUDA: {_one_line(err)}')


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
