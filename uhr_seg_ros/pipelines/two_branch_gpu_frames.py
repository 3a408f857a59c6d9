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

"""Frames of one size through the GPU: upload, compute as a CUDA graph, download."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from uhr_seg_ros.backends.tensorrt.cuda import Cuda, Graph, GraphCaptureError
from uhr_seg_ros.backends.tensorrt.kernels import DeviceFrame, Kernels
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.classes import MAX_UINT8_CLASSES
from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.core.raw_frame import FORMATS, RawFrame
from uhr_seg_ros.core.timing import StageClock
from uhr_seg_ros.core.visualization import OverlayOptions, scaled_size
from uhr_seg_ros.pipelines.outputs import OutputCheck
from uhr_seg_ros.pipelines.pipeline import OutputRequest, PendingResult, Results
from uhr_seg_ros.pipelines.two_branch_gpu_engines import FrameProgram, Targets

#: Frames in work at a time: one is computed while the next one is uploaded.
SLOTS = 2

#: Graphs are captured per slot, pixel format and wanted results; the oldest one goes.
MAX_GRAPHS = 16

#: More than the frame and all results; the ones used last stay.
MAX_BUFFERS = 12


class Buffer(NamedTuple):
    """A result in device memory, and the host memory that it is copied to."""

    address: int
    host: np.ndarray


class Slot:
    """
    What one frame in work occupies.

    Args:
        cuda: the context.

    """

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._buffers: OrderedDict[tuple, Buffer] = OrderedDict()
        self.busy = False
        self.uploaded, self.started = cuda.event(), cuda.event()
        self.computed, self.done = cuda.event(), cuda.event()

    def buffer(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> Buffer:
        """
        Return the memory of a result or of the frame itself, the same for as long as it is used.

        A scale of the pictures that changes again and again leaves no more than `MAX_BUFFERS`.
        """
        key = name, shape, np.dtype(dtype)
        if key not in self._buffers:
            while len(self._buffers) >= MAX_BUFFERS:
                self._cuda.free(self._buffers.popitem(last=False)[1].address)
            size = int(np.prod(shape)) * key[2].itemsize
            # Logits are too large to be locked in memory.
            host = np.empty(size, np.uint8) if name == 'logits' else self._cuda.pinned(size)
            address = self._cuda.allocate(size)
            self._buffers[key] = Buffer(address, host.view(key[2]).reshape(shape))
        self._buffers.move_to_end(key)
        return self._buffers[key]

    def close(self) -> None:
        """Free the memory."""
        while self._buffers:
            self._cuda.free(self._buffers.popitem()[1].address)


class FramePipeline:
    """
    Frames of one size, at most `SLOTS` of them in work.

    Args:
        program: the engines.
        cuda: the context.
        module: the kernels, as `TensorRTBackend.load_kernels` gives them.
        bundle: its classes give the colors of the overlay.
        size: height and width of the frames, px.
        report: gets a line when CUDA graphs cannot be used.

    """

    def __init__(
        self,
        program: FrameProgram,
        cuda: Cuda,
        module: Any,
        bundle: Bundle,
        size: tuple[int, int],
        report: Callable[[str], None],
    ) -> None:
        self._program, self._cuda, self._size = program, cuda, size
        self._kernels = Kernels(cuda, module, program.dtype)
        self._report = report
        self._check = OutputCheck(bundle)
        self._classes = len(bundle.classes)
        self._palette = program.upload(bundle.classes.palette_bgr())
        self._copying = cuda.stream()
        self._slots = [Slot(cuda) for _ in range(SLOTS)]
        self._next = 0
        self._graphs: dict[tuple, Graph | None] = {}
        self._captures = True

    def submit(
        self,
        frame: RawFrame,
        request: OutputRequest,
        clock: StageClock,
    ) -> PendingResult[Results]:
        """
        Upload a frame and start its work; returns without waiting for the GPU.

        Args:
            frame: of this size.
            request: what is wanted.
            clock: takes the times of `upload`, `engines` and `download`.

        Returns:
            The results by name, `overlay` and `color_mask` among them.

        Raises:
            EngineError: `SLOTS` frames are in work already, or the GPU failed.
            EngineError: by `PendingResult.result`, when logits are not finite.

        """
        slot = self._slots[self._next]
        if slot.busy:
            msg = f'{SLOTS} frames are in work already: take the results of one first'
            raise EngineError(msg)
        with clock.stage('upload'):
            on_device = self._upload(slot, frame)
        wanted = self._wanted(request)
        buffers = {name: slot.buffer(name, *wanted[name]) for name in wanted}
        stream = self._program.stream
        self._cuda.wait(stream, slot.uploaded)
        self._cuda.record(slot.started, stream)
        self._compute(on_device, buffers, request.overlay)
        self._cuda.record(slot.computed, stream)
        for buffer in buffers.values():
            self._cuda.download(buffer.host, buffer.address, stream)
        self._cuda.record(slot.done, stream)
        slot.busy = True
        self._next = (self._next + 1) % SLOTS
        return PendingResult(partial(self._collect, slot, buffers, request, clock))

    def segment(self, frame: RawFrame, request: OutputRequest, clock: StageClock) -> Results:
        """Segment one frame and wait for it."""
        return self.submit(frame, request, clock).result()

    def semantic_logits(self, frame: RawFrame) -> np.ndarray:
        """Run one frame and return what the semantic branch says alone, (C, h, w) float32."""
        self.submit(frame, OutputRequest(), StageClock()).result()
        return self._program.logits('semantic_logits')

    def close(self) -> None:
        """Wait for what is in work and free the memory."""
        self._cuda.synchronize(self._program.stream)
        for graph in self._graphs.values():
            if graph is not None:
                graph.close()
        for slot in self._slots:
            slot.close()
        self._program.close()

    def _upload(self, slot: Slot, frame: RawFrame) -> DeviceFrame:
        rows, step = frame.data.shape
        buffer = slot.buffer('frame', (rows, step), np.dtype(np.uint8))
        np.copyto(buffer.host, frame.data)
        self._cuda.upload(buffer.address, buffer.host, self._copying)
        self._cuda.record(slot.uploaded, self._copying)
        return DeviceFrame(
            buffer.address, step, frame.height, frame.width, FORMATS.index(frame.format)
        )

    def _wanted(self, request: OutputRequest) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        """Return shape and type of every wanted result; a mask is always made."""
        small = self._classes <= MAX_UINT8_CLASSES
        known = {
            'mask': (self._size, np.dtype(np.uint8 if small else np.uint16)),
            'confidence': (self._size, np.dtype(np.uint8)),
            'logits': ((self._classes, *self._size), np.dtype(np.float32)),
        }
        names = {'mask', *request.outputs}
        wanted = {name: known[name] for name in known if name in names}
        if request.overlay.any:
            shape = (*scaled_size(self._size, request.overlay.scale), 3)
            for name in ('overlay', 'color_mask'):
                if getattr(request.overlay, name):
                    wanted[name] = shape, np.dtype(np.uint8)
        return wanted

    def _compute(
        self, frame: DeviceFrame, buffers: dict[str, Buffer], overlay: OverlayOptions
    ) -> None:
        """Launch the graph of this kind of frame; the first one runs without, as TensorRT asks."""
        work = partial(self._enqueue, frame, buffers, overlay)
        addresses = tuple((name, buffer.address) for name, buffer in buffers.items())
        key = frame, overlay, addresses
        if self._captures and key in self._graphs and self._graphs[key] is None:
            self._graphs[key] = self._capture(work)
        if (graph := self._graphs.setdefault(key, None)) is None:
            work()
        else:
            graph.launch(self._program.stream)
        if len(self._graphs) > MAX_GRAPHS:
            self._drop_oldest_graph()

    def _drop_oldest_graph(self) -> None:
        oldest = self._graphs.pop(next(iter(self._graphs)))
        if oldest is not None:
            self._cuda.synchronize(self._program.stream)
            oldest.close()

    def _capture(self, work: Callable[[], None]) -> Graph | None:
        try:
            self._program.check_capture()
            return self._cuda.capture(self._program.stream, work)
        except GraphCaptureError as err:
            self._captures = False
            self._report(f'frames run without CUDA graphs: {err}')
            return None

    def _enqueue(
        self, frame: DeviceFrame, buffers: dict[str, Buffer], overlay: OverlayOptions
    ) -> None:
        at = {name: buffer.address for name, buffer in buffers.items()}
        mask = at['mask'], buffers['mask'].host.itemsize
        targets = Targets(*mask, at.get('confidence', 0), at.get('logits', 0))
        self._program.enqueue(self._kernels, frame, targets)
        if overlay.any:
            self._kernels.paint(
                frame,
                mask,
                (self._palette, self._classes),
                scaled_size(self._size, overlay.scale),
                overlay.alpha,
                at.get('overlay', 0),
                at.get('color_mask', 0),
                self._program.stream,
            )

    def _collect(
        self, slot: Slot, buffers: dict[str, Buffer], request: OutputRequest, clock: StageClock
    ) -> Results:
        # Before the wait: should the GPU fail, the error is that of each frame to come, too.
        slot.busy = False
        self._cuda.finish(slot.done)
        clock.add('engines', self._cuda.elapsed_ms(slot.started, slot.computed))
        clock.add('download', self._cuda.elapsed_ms(slot.computed, slot.done))
        with clock.stage('download'):
            # The host memory is used again for the next frame but one.
            results = {name: buffer.host.copy() for name, buffer in buffers.items()}
            # The kernel gives pixels whose logits are not finite an id that no class has.
            if results['mask'].max() >= self._classes:
                raise self._check.not_finite('quarter', 'quarter_logits')
        if 'quarter_logits' in request.outputs:
            results['quarter_logits'] = self._program.logits('quarter_logits')
        return results
