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
A stand-in for `backends.tensorrt.cuda.Cuda` on host memory, with kernels.cu compiled for the host.

Work on a stream is kept until something waits for it. Where the code under test forgets to let a
stream wait for an event, some order of the work gives a wrong result; three are tried:
`lazy` does no more than is needed, `hasty` does the other streams first, `eager` all at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
import ctypes
from typing import NamedTuple

from host_kernels import compile_host_kernels
import numpy as np

from uhr_seg_ros.backends.tensorrt.cuda import GraphCaptureError
from uhr_seg_ros.core.cuda_driver import GpuLostError

Work = Callable[[], None]

#: What a lost GPU refuses; it frees nothing either, but says no more than a line about that.
_FAILING = (
    'memory',
    'allocate',
    'pinned',
    'mapped',
    'stream',
    'event',
    'upload',
    'download',
    'clear',
    'record',
    'wait',
    'elapsed_ms',
    'finish',
    'synchronize',
    'load',
    'launch',
    'capture',
)


class HostStream:
    """Work in order; `handle` is what TensorRT's execute_async_v3 gets."""

    known: dict[int, HostStream] = {}

    def __init__(self, cuda: HostCuda) -> None:
        self.cuda = cuda
        self.queue: deque[Work] = deque()
        self.handle = id(self)
        self.known[self.handle] = self
        cuda.streams.append(self)

    def add(self, work: Work, prepare: Work = lambda: None) -> None:
        """Keep work for later, or do it now; `prepare` runs when the work is put in."""
        if self.cuda.recording is not None:
            self.cuda.recording.append(Step(self, work, prepare))
            return
        prepare()
        self.queue.append(work)
        if self.cuda.order == 'eager':
            self.drain()

    def drain(self) -> None:
        """Do all work."""
        while self.queue:
            self.queue.popleft()()


class HostEvent:
    """A place in a stream."""

    def __init__(self) -> None:
        self.stream: HostStream | None = None
        self.reached = False


class Step(NamedTuple):
    """Recorded work of one stream."""

    owner: HostStream
    work: Work
    prepare: Work


class HostGraph:
    """Recorded work of all streams."""

    def __init__(self, steps: list[Step]) -> None:
        self.steps = steps
        self.launches = 0

    def launch(self, stream: HostStream) -> None:
        """Put the whole graph on one stream; inside it, only events give an order."""
        stream.cuda.check_alive()
        self.launches += 1
        stream.add(lambda: self._run(stream))

    def close(self) -> None:
        """Forget the work."""
        self.steps = []

    def _run(self, stream: HostStream) -> None:
        behind, stream.queue = stream.queue, deque()
        for step in self.steps:
            step.prepare()
            step.owner.queue.append(step.work)
            if stream.cuda.order == 'eager':
                step.owner.drain()
        ended: list[bool] = []
        stream.queue.append(lambda: ended.append(True))
        stream.queue.extend(behind)
        # Another stream may wait for what lies behind, and do all of it.
        stream.cuda.do_others_first(stream)
        while not ended:
            stream.queue.popleft()()


class HostCuda:
    """The methods of `Cuda` on host memory; addresses are real ones."""

    name = 'host stand-in'
    capability = (8, 7)

    def __init__(
        self, *, order: str = 'lazy', graphs: bool = True, is_integrated: bool = False
    ) -> None:
        self.order, self.graphs, self.is_integrated = order, graphs, is_integrated
        self.streams: list[HostStream] = []
        self.recording: list[Step] | None = None
        self.blocks: dict[int, np.ndarray] = {}
        self.host_blocks: dict[int, int] = {}
        self.kernels = compile_host_kernels()
        self.captured: list[HostGraph] = []
        self.uploaded = self.downloaded = 0
        self.used: dict[str, set[HostStream]] = {
            'upload': set(),
            'kernel': set(),
            'download': set(),
        }

    def lose(self) -> None:
        """Let all that waits and all to come fail, as after a fault of the GPU."""
        self.check_alive = self._fail
        for name in _FAILING:
            setattr(self, name, self._fail)

    def check_alive(self) -> None:
        """Do nothing, until the GPU is lost."""

    def _fail(self, *arguments: object) -> None:
        text = 'CUDA: cuEventSynchronize failed: an illegal memory access was encountered'
        raise GpuLostError(text, 700)

    def memory(self) -> tuple[int, int]:
        """Return free and total memory, bytes."""
        return 8 << 30, 8 << 30

    def allocate(self, size: int) -> int:
        """Take memory filled with garbage; NaN in both float types, so that reading it shows."""
        block = np.full(size + 256, 0xFF, np.uint8)
        address = -(-block.ctypes.data // 256) * 256
        self.blocks[address] = block
        return address

    def free(self, address: int) -> None:
        """Return memory back."""
        del self.blocks[address]

    def pinned(self, size: int) -> np.ndarray:
        """Take host memory, from an address on as the driver gives."""
        block = np.full(size + 256, 0xFF, np.uint8)
        start = -block.ctypes.data % 256
        return block[start : start + size]

    def mapped(self, pinned: np.ndarray) -> int:
        """Return the address of host memory, which has to stay; kernels can use it."""
        assert self.is_integrated
        self.host_blocks[pinned.ctypes.data] = pinned.nbytes
        return pinned.ctypes.data

    def stream(self) -> HostStream:
        """Make a stream."""
        return HostStream(self)

    def event(self) -> HostEvent:
        """Make an event."""
        return HostEvent()

    def upload(self, address: int, array: np.ndarray, stream: HostStream) -> None:
        """Copy to the device, later: the array must not change until then."""
        assert array.flags.c_contiguous
        self.uploaded += array.nbytes
        self.used['upload'].add(stream)
        self._check(address, array.nbytes)
        stream.add(lambda: ctypes.memmove(address, array.ctypes.data, array.nbytes))

    def download(self, array: np.ndarray, address: int, stream: HostStream) -> None:
        """Copy from the device, later."""
        assert array.flags.c_contiguous
        self.downloaded += array.nbytes
        self.used['download'].add(stream)
        self._check(address, array.nbytes)
        stream.add(lambda: ctypes.memmove(array.ctypes.data, address, array.nbytes))

    def clear(self, address: int, size: int, stream: HostStream) -> None:
        """Fill with zeros, later."""
        if address not in self.host_blocks:
            self._check(address, size)
        stream.add(lambda: ctypes.memset(address, 0, size))

    def record(self, event: HostEvent, stream: HostStream) -> None:
        """Mark a place in the stream."""

        def prepare() -> None:
            event.stream, event.reached = stream, False

        def reach() -> None:
            event.reached = True

        stream.add(reach, prepare)

    def wait(self, stream: HostStream, event: HostEvent) -> None:
        """Let the stream wait for the event."""

        def catch_up() -> None:
            assert event.stream is not None, 'waits for an event that was never recorded'
            while not event.reached:
                assert event.stream.queue, 'waits for an event that is never reached'
                event.stream.queue.popleft()()

        stream.add(catch_up)

    def elapsed_ms(self, start: HostEvent, end: HostEvent) -> float:
        """Return one millisecond; the stand-in measures nothing."""
        assert start.reached
        assert end.reached
        return 1.0

    def do_others_first(self, stream: HostStream) -> None:
        """Do what is on the other streams, the newest one first."""
        if self.order == 'hasty':
            for other in reversed(self.streams):
                if other is not stream:
                    other.drain()

    def finish(self, event: HostEvent) -> None:
        """Do what the event needs."""
        assert event.stream is not None
        self.do_others_first(event.stream)
        while not event.reached:
            event.stream.queue.popleft()()

    def synchronize(self, stream: HostStream) -> None:
        """Do what is on the stream."""
        self.do_others_first(stream)
        stream.drain()

    def load(self, cubin: bytes) -> bytes:
        """Take the module as it is; the kernels are those of the host."""
        return cubin

    def function(self, module: bytes, name: str) -> str:
        """Name a kernel."""
        return name

    def launch(
        self,
        function: str,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        args: Sequence[np.generic],
        stream: HostStream,
    ) -> None:
        """Run a kernel on the host, later."""
        values = list(args)
        self.used['kernel'].add(stream)
        stream.add(lambda: self.kernels.launch(function, grid, block, values))

    def capture(self, stream: HostStream, work: Work) -> HostGraph:
        """Record work."""
        if not self.graphs:
            msg = 'stand-in: this device captures no graphs'
            raise GraphCaptureError(msg)
        self.recording = []
        try:
            work()
            graph = HostGraph(self.recording)
        finally:
            self.recording = None
        self.captured.append(graph)
        return graph

    def close(self) -> None:
        """Return all memory back."""
        self.blocks.clear()

    def _check(self, address: int, size: int) -> None:
        """Refuse a copy that leaves the block that begins at the address."""
        block = self.blocks[address]
        assert address + size <= block.ctypes.data + block.nbytes
