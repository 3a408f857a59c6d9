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

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from uhr_seg_ros.backends.tensorrt.cuda import Cuda
from uhr_seg_ros.backends.tensorrt.kernels import DeviceFrame, Kernels
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.classes import MAX_UINT8_CLASSES
from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.core.raw_frame import FORMATS, RawFrame
from uhr_seg_ros.core.timing import StageClock
from uhr_seg_ros.core.visualization import OverlayOptions, scaled_size
from uhr_seg_ros.pipelines.outputs import OutputCheck
from uhr_seg_ros.pipelines.pipeline import OutputRequest, PendingResult, Results
from uhr_seg_ros.pipelines.two_branch_gpu_graphs import FrameGraphs
from uhr_seg_ros.pipelines.two_branch_gpu_program import CHECKED, FrameProgram, Targets
from uhr_seg_ros.pipelines.two_branch_gpu_slots import Buffer, Slot

#: Frames in work at a time: one is computed while the next one is uploaded.
SLOTS = 2


class FramePipeline:
    """
    Frames of one size, at most `SLOTS` of them in work.

    Three streams: while one frame is computed, the next one is uploaded and the results of the
    one before are downloaded. A GPU that shares the host's memory works there, without copies.

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
        self._check = OutputCheck(bundle)
        self._classes = len(bundle.classes)
        self._palette = program.upload(bundle.classes.palette_bgr())
        self._uploads, self._downloads = cuda.stream(), cuda.stream()
        self._slots = [Slot(cuda) for _ in range(SLOTS)]
        self._next = 0
        self._graphs = FrameGraphs(program, cuda, report)

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
        self._cuda.wait(self._downloads, slot.computed)
        for buffer in buffers.values():
            if not buffer.is_shared:
                self._cuda.download(buffer.host, buffer.address, self._downloads)
        self._cuda.record(slot.done, self._downloads)
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

    def tokens(self) -> np.ndarray:
        """Wait for the frame that was submitted last; return its tokens, (T, h, w) float32."""
        return self._program.logits('tokens')

    def close(self) -> None:
        """Wait for what is in work and free the memory."""
        with suppress(EngineError):  # after an error of the GPU nothing is in work
            for stream in (self._uploads, self._program.stream, self._downloads):
                self._cuda.synchronize(stream)
        self._graphs.close()
        for slot in self._slots:
            slot.close()
        self._program.close()

    def _upload(self, slot: Slot, frame: RawFrame) -> DeviceFrame:
        rows, step = frame.data.shape
        buffer = slot.buffer('frame', (rows, step), np.dtype(np.uint8))
        np.copyto(buffer.host, frame.data)
        if not buffer.is_shared:
            self._cuda.upload(buffer.address, buffer.host, self._uploads)
        self._cuda.record(slot.uploaded, self._uploads)
        return DeviceFrame(
            buffer.address, step, frame.height, frame.width, FORMATS.index(frame.format)
        )

    def _wanted(self, request: OutputRequest) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        """Return shape and type of every wanted result; flags and a mask are always made."""
        small = self._classes <= MAX_UINT8_CLASSES
        known = {
            'flags': ((len(CHECKED),), np.dtype(np.uint32)),
            'mask': (self._size, np.dtype(np.uint8 if small else np.uint16)),
            'confidence': (self._size, np.dtype(np.uint8)),
            'logits': ((self._classes, *self._size), np.dtype(np.float32)),
        }
        names = {'flags', 'mask', *request.outputs}
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
        addresses = tuple((name, buffer.address) for name, buffer in buffers.items())
        self._graphs.run(
            (frame, overlay, addresses), partial(self._enqueue, frame, buffers, overlay)
        )

    def _enqueue(
        self, frame: DeviceFrame, buffers: dict[str, Buffer], overlay: OverlayOptions
    ) -> None:
        at = {name: buffer.address for name, buffer in buffers.items()}
        mask = at['mask'], buffers['mask'].host.itemsize
        targets = Targets(at['flags'], *mask, at.get('confidence', 0), at.get('logits', 0))
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
        for flag, (name, graph) in zip(results.pop('flags'), CHECKED.items(), strict=True):
            if flag:
                raise self._check.not_finite(graph, name)
        if 'quarter_logits' in request.outputs:
            results['quarter_logits'] = self._program.logits('quarter_logits')
        return results
