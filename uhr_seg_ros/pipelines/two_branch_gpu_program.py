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

"""What a frame of one size takes of a GPU: kernels and engines in order on two streams."""

from __future__ import annotations

from functools import partial
import math
from typing import NamedTuple

import numpy as np

from uhr_seg_ros.backends.tensorrt.backend import TensorRTBackend
from uhr_seg_ros.backends.tensorrt.cuda import Stream
from uhr_seg_ros.backends.tensorrt.device_memory import DeviceMemory
from uhr_seg_ros.backends.tensorrt.formats import CHANNELS
from uhr_seg_ros.backends.tensorrt.kernels import DeviceFrame, DeviceMap, Kernels
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.pipelines.tiling import padded_size, Span, tile_spans
from uhr_seg_ros.pipelines.two_branch_gpu_engines import FrameEngines
from uhr_seg_ros.pipelines.two_branch_gpu_tiles import DetailTiles, Window
from uhr_seg_ros.pipelines.two_branch_maps import DETAIL_MAPS

#: What is looked through for NaN and infinity, and the graph that gives it: the outputs that the
#: CPU path checks, since a rectifier makes a number of NaN and the mask would not show it.
CHECKED = {
    'tokens': 'semantic',
    'affinity': 'detail',
    'local': 'detail',
    'quarter_logits': 'quarter',
}

_FLAG_BYTES = 4


class Targets(NamedTuple):
    """
    Where results go, as device addresses; 0 for what is not wanted.

    `flags` is (len(CHECKED),) uint32: 1 for what is not finite, 0 for the others.
    """

    flags: int
    mask: int
    mask_bytes: int
    confidence: int
    logits: int


class FrameProgram:
    """
    The engines for frames of one size and the memory between them.

    Both branches begin when their inputs are made, each on a stream of its own; the fusion waits
    for both.

    Args:
        bundle: a bundle of kind `two_branch`.
        backend: opens the engines.
        size: height and width of the frames, px.
        tile: largest side of a tile, or None for the whole frame.

    Raises:
        EngineError: an engine cannot be built or does not fit to the others.
        EngineError: an output has another size than is expected, or number of classes.

    """

    def __init__(
        self, bundle: Bundle, backend: TensorRTBackend, size: tuple[int, int], tile: int | None
    ) -> None:
        self._size = size
        self._cuda = backend.cuda
        self._scale_bias = _scale_bias(bundle)
        self._padded = height, width = padded_size(size, bundle.multiple)
        rows = tile_spans(height, tile or height, bundle.multiple)
        columns = tile_spans(width, tile or width, bundle.multiple)
        self._main, self._side = self._cuda.stream(), self._cuda.stream()
        self._memory = DeviceMemory(self._cuda, self._main)
        self._prepared, self._detailed = self._cuda.event(), self._cuda.event()
        try:
            self._open(bundle, backend, rows, columns)
        except Exception:
            self.close()
            raise

    @property
    def stream(self) -> Stream:
        """The stream on which `enqueue` begins and ends."""
        return self._main

    def enqueue(self, kernels: Kernels, frame: DeviceFrame, targets: Targets) -> None:
        """
        Put a frame's work on the streams; it can be captured as a CUDA graph.

        Args:
            kernels: of the type of the engines, see `dtype`.
            frame: the camera's bytes, which lie there when the stream comes to this.
            targets: where the results go.

        """
        engines = self._engines
        image = 0 if self._tiles else self._at['image']
        window = (0, 0, *self._padded)
        self._cuda.clear(targets.flags, _FLAG_BYTES * len(CHECKED), self._main)
        self._prepare(kernels, frame, window, (image, self._at['low_res']), self._main)
        self._cuda.record(self._prepared, self._main)
        self._cuda.wait(self._side, self._prepared)
        engines.semantic.enqueue(self._main)
        self._check(kernels, 'tokens', targets, self._main)
        if self._tiles is None:
            engines.detail.enqueue(self._side)
        else:
            self._tiles.enqueue(
                kernels, partial(self._prepare_tile, kernels, frame), self._at, self._side
            )
        for name in DETAIL_MAPS:
            self._check(kernels, name, targets, self._side)
        self._cuda.record(self._detailed, self._side)
        self._cuda.wait(self._main, self._detailed)
        engines.quarter.enqueue(self._main)
        shape = engines.quarter.outputs['quarter_logits'].shape
        kernels.finish(
            DeviceMap.over(self._at['quarter_logits'], shape, row_axis=2),
            self._size,
            (targets.mask, targets.mask_bytes),
            targets.confidence,
            targets.logits,
            self._main,
            _flag_of('quarter_logits', targets),
        )

    def check_capture(self) -> None:
        """
        Refuse to be captured where an engine does, before that is tried.

        Raises:
            GraphCaptureError: names the engine.

        """
        for engine, stream in (
            (self._engines.semantic, self._main),
            (self._engines.detail, self._side),
            (self._engines.quarter, self._main),
        ):
            engine.check_capture(stream)

    def upload(self, values: np.ndarray) -> int:
        """Put an array into device memory for as long as this lives, and return its address."""
        return self._memory.upload(values)

    def logits(self, name: str) -> np.ndarray:
        """
        Return logits or tokens of the last frame, (C, h, w) float32.

        Args:
            name: `semantic_logits`, `quarter_logits` or `tokens`.

        """
        tensor = {**self._engines.semantic.outputs, **self._engines.quarter.outputs}[name]
        logits = np.empty(tensor.shape, tensor.dtype)
        self._cuda.download(logits, self._at[name], self._main)
        self._cuda.synchronize(self._main)
        return logits[0].astype(np.float32)

    def detail_memory(self) -> tuple[int, int]:
        """Return what the detail branch takes, bytes, and for how many pixels."""
        detail = self._engines.detail
        return detail.memory_bytes, math.prod(detail.inputs['image'].shape[2:])

    def close(self) -> None:
        """Free the memory."""
        self._memory.close()

    def _open(
        self, bundle: Bundle, backend: TensorRTBackend, rows: list[Span], columns: list[Span]
    ) -> None:
        engines = FrameEngines(bundle, backend, self._padded, rows, columns)
        self._engines, self.dtype = engines, engines.dtype
        self._is_interleaved = engines.detail.inputs['image'].channels == CHANNELS['CHW4']
        self._at = {name: self._memory.take(size) for name, size in engines.sizes().items()}
        self._tiles: DetailTiles | None = None
        #: Where maps of the whole frame lie.
        self._whole_at = self._at
        if len(rows) * len(columns) > 1:
            self._tiles = DetailTiles(
                engines.detail, rows, columns, engines.maps, self._cuda, self._memory
            )
            self._whole_at = {**self._at, **self._tiles.addresses}
        engines.semantic.bind(self._at)
        engines.detail.bind(self._at)
        engines.quarter.bind(self._whole_at)

    def _check(self, kernels: Kernels, name: str, targets: Targets, stream: Stream) -> None:
        """Look through a map of the whole frame."""
        count = int(np.prod(self._engines.quarter.inputs[name].shape))
        kernels.check(self._whole_at[name], count, _flag_of(name, targets), stream)

    def _prepare_tile(self, kernels: Kernels, frame: DeviceFrame, window: Window) -> None:
        self._prepare(kernels, frame, window, (self._at['image'], 0), self._side)

    def _prepare(
        self,
        kernels: Kernels,
        frame: DeviceFrame,
        window: Window,
        inputs: tuple[int, int],
        stream: Stream,
    ) -> None:
        kernels.prepare(
            frame, window, self._scale_bias, *inputs, stream, interleaved=self._is_interleaved
        )


def _flag_of(name: str, targets: Targets) -> int:
    return targets.flags + _FLAG_BYTES * list(CHECKED).index(name)


def _scale_bias(bundle: Bundle) -> tuple[float, ...]:
    """Write (x - mean) / std as x * scale + bias."""
    scales = [1.0 / std for std in bundle.std]
    biases = [-mean / std for mean, std in zip(bundle.mean, bundle.std, strict=True)]
    return *scales, *biases
