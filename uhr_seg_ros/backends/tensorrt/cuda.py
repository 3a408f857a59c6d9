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

"""CUDA behind a small interface: memory, streams, kernels and graphs of one GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
import struct
from threading import local
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import finalize

import numpy as np

from uhr_seg_ros.backends.tensorrt.cuda_context import (
    Context,
    Event,
    Graph,
    GraphCaptureError,
    Handle,
    Stream,
)
from uhr_seg_ros.core.errors import EngineError

__all__ = ['Cuda', 'Event', 'Graph', 'GraphCaptureError', 'Stream']

_STREAM_NON_BLOCKING = 1  # CUstream_flags

_this_thread = local()

_Given = ParamSpec('_Given')
_Result = TypeVar('_Result')


def _guarded(
    method: Callable[Concatenate[Cuda, _Given], _Result],
) -> Callable[Concatenate[Cuda, _Given], _Result]:
    """Refuse other threads and use after close, and translate pycuda's errors."""

    @wraps(method)
    def guarded(self: Cuda, *args: _Given.args, **kwargs: _Given.kwargs) -> _Result:
        self._check()
        try:
            return method(self, *args, **kwargs)
        except self._pycuda.Error as err:
            raise self._context.translated(err) from err

    return guarded


class Cuda:
    """
    The primary context of one GPU, which TensorRT shares; belongs to the thread that makes it.

    It closes when nothing refers to it, when its thread ends and at exit, if nobody did so
    before. Every method raises EngineError when CUDA refuses something, on another thread, and
    after `close`; GpuLostError of these when nothing can succeed any more.

    Args:
        ordinal: which GPU, in CUDA's order.

    Attributes:
        name: of the GPU.
        capability: compute capability, such as (8, 7).
        is_integrated: whether the GPU has no memory but the host's, as on a Jetson.

    Raises:
        EngineError: pycuda is missing, or there is no GPU; see `core.gpu.find_gpu`.

    """

    def __init__(self, ordinal: int = 0) -> None:
        self._context = Context(ordinal)
        self._pycuda = self._context.pycuda
        self.name, self.capability = self._context.name, self._context.capability
        self.is_integrated = self._context.is_integrated
        # pycuda ends the process when a thread ends in a context, the main one too.
        self._close = finalize(self, self._context.close)
        finalize(_sentinel_of_thread(), self._close)

    @_guarded
    def memory(self) -> tuple[int, int]:
        """Return free and total memory, bytes."""
        return self._pycuda.mem_get_info()

    @_guarded
    def allocate(self, size: int) -> int:
        """Take device memory, bytes; gives its address, a multiple of 256."""
        try:
            allocation = self._pycuda.mem_alloc(size)
        except self._pycuda.MemoryError as err:
            free, total = (value / 1e6 for value in self._pycuda.mem_get_info())
            msg = (
                f'the GPU has no {size / 1e6:.0f} MB left, {free:.0f} of {total:.0f} MB are free: '
                'stop other programs on it, or use smaller tiles'
            )
            raise EngineError(msg) from err
        self._context.allocations[int(allocation)] = allocation
        return int(allocation)

    @_guarded
    def free(self, address: int) -> None:
        """Free device memory."""
        self._context.allocations.pop(address).free()

    @_guarded
    def pinned(self, size: int) -> np.ndarray:
        """
        Take page-locked host memory, for copies that run beside other work.

        Returns:
            (size,) uint8; free when nothing refers to it, and not to be touched after `close`.

        """
        mapped = self._pycuda.host_alloc_flags.DEVICEMAP
        array = self._pycuda.pagelocked_empty(size, np.uint8, mem_flags=mapped)
        self._context.pinned.add(array.base)
        return array

    @_guarded
    def mapped(self, pinned: np.ndarray) -> int:
        """
        Return the address by which kernels read and write what `pinned` gave.

        An integrated GPU does so without a copy, at its full speed where every byte is touched
        once; any other one goes over the bus each time.
        """
        memory: Any = pinned.base
        return int(memory.get_device_pointer())

    @_guarded
    def stream(self) -> Stream:
        """Make a stream that does not wait for CUDA's default stream."""
        return self._context.hold(Stream(self._pycuda.Stream(_STREAM_NON_BLOCKING)))

    @_guarded
    def event(self) -> Event:
        """Make an event that takes the time; a thread that waits for it sleeps."""
        sleeping = self._pycuda.event_flags.BLOCKING_SYNC
        return self._context.hold(Event(self._pycuda.Event(sleeping)))

    @_guarded
    def upload(self, address: int, array: np.ndarray, stream: Stream) -> None:
        """Copy to the device, later: the array must not change until then; C-contiguous."""
        _check_contiguous(array)
        self._pycuda.memcpy_htod_async(address, array, stream.raw)

    @_guarded
    def download(self, array: np.ndarray, address: int, stream: Stream) -> None:
        """Copy from the device, later, into a C-contiguous array."""
        _check_contiguous(array)
        self._pycuda.memcpy_dtoh_async(array, address, stream.raw)

    @_guarded
    def clear(self, address: int, size: int, stream: Stream) -> None:
        """Fill device memory with zeros, later."""
        self._pycuda.memset_d8_async(address, 0, size, stream.raw)

    @_guarded
    def record(self, event: Event, stream: Stream) -> None:
        """Mark the place that the stream has come to."""
        event.raw.record(stream.raw)

    @_guarded
    def wait(self, stream: Stream, event: Event) -> None:
        """Let the stream wait for the place that the event marks."""
        stream.raw.wait_for_event(event.raw)

    @_guarded
    def elapsed_ms(self, start: Event, end: Event) -> float:
        """Return the time between two places that the GPU has passed, ms."""
        return end.raw.time_since(start.raw)

    @_guarded
    def finish(self, event: Event) -> None:
        """Wait until the GPU has passed the place that the event marks."""
        event.raw.synchronize()

    @_guarded
    def synchronize(self, stream: Stream) -> None:
        """Wait until everything on the stream is done."""
        stream.raw.synchronize()

    @_guarded
    def load(self, cubin: bytes) -> Handle:
        """Load a module, compiled for this GPU."""
        return self._context.hold(Handle(self._pycuda.module_from_buffer(cubin)))

    @_guarded
    def function(self, module: Handle, name: str) -> Handle:
        """Find a kernel of a module."""
        return self._context.hold(Handle(module.raw.get_function(name)))

    @_guarded
    def launch(
        self,
        function: Handle,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        args: Sequence[np.generic],
        stream: Stream,
    ) -> None:
        """
        Run a kernel, later.

        Args:
            function: the kernel.
            grid: blocks.
            block: threads of a block.
            args: of exactly the types that the kernel has: addresses as uint64.
            stream: to run on.

        """
        # A kernel's parameters are aligned as the members of a C struct are.
        layout = ''.join(value.dtype.char for value in args)
        packed = struct.pack(layout, *args)
        # What pycuda's `__call__` ends in, without its tests of every argument.
        function.raw._launch_kernel(grid, block, packed, 0, stream.raw)

    @_guarded
    def capture(self, stream: Stream, work: Callable[[], None]) -> Graph:
        """
        Capture work as a CUDA graph instead of doing it.

        Args:
            stream: on which the work begins and ends.
            work: puts work on the stream, and on others that wait for it and that it waits for.

        Raises:
            GraphCaptureError: something in it cannot be captured; the streams can be used again.
            GpuLostError: nothing can be done any more.

        """
        return self._context.hold(Graph.capture(self._context.driver, stream, work))

    def close(self) -> None:
        """Free everything and leave the context; calling it again does nothing."""
        if self._close.alive:
            self._context.driver.check_thread()
            self._close()

    def _check(self) -> None:
        if not self._close.alive:
            msg = 'CUDA is used after it was closed'
            raise EngineError(msg)
        self._context.driver.check_thread()


class _Sentinel:
    """Something that goes with its thread."""


def _sentinel_of_thread() -> _Sentinel:
    if not hasattr(_this_thread, 'sentinel'):
        _this_thread.sentinel = _Sentinel()
    return _this_thread.sentinel


def _check_contiguous(array: np.ndarray) -> None:
    if not array.flags.c_contiguous:
        msg = (
            f'an array of shape {array.shape} and strides {array.strides} cannot be copied in '
            'one piece: make it C-contiguous'
        )
        raise EngineError(msg)
