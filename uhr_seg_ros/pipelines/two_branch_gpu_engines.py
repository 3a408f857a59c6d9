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

"""What frames of one size need on the GPU: engines, memory and a CUDA graph."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from uhr_seg_ros.backends.tensorrt.backend import TensorRTBackend
from uhr_seg_ros.backends.tensorrt.cuda import Stream
from uhr_seg_ros.backends.tensorrt.engine import Execution
from uhr_seg_ros.backends.tensorrt.formats import CHANNELS
from uhr_seg_ros.backends.tensorrt.kernels import DeviceFrame, DeviceMap, Kernels
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.pipelines.outputs import OutputCheck
from uhr_seg_ros.pipelines.tiling import BlendAxis, padded_size, tile_spans
from uhr_seg_ros.pipelines.two_branch_maps import (
    DETAIL_MAPS,
    map_shape,
    map_sizes,
    ROW_AXES,
    STRIDES,
)

#: What is looked through for NaN and infinity, and the graph that gives it: the outputs that the
#: CPU path checks, since a rectifier makes a number of NaN and the mask would not show it.
CHECKED = {
    'tokens': 'semantic',
    'affinity': 'detail',
    'local': 'detail',
    'quarter_logits': 'quarter',
}

_FLAG_BYTES = 4
#: How what no one else reads lies in memory, for the sake of the convolutions.
IMAGE_FORMAT = {'image': 'CHW4'}
MAP_FORMATS = {'local': 'HWC8'}


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
        self._memory: list[int] = []
        self._scale_bias = _scale_bias(bundle)
        self._padded = height, width = padded_size(size, bundle.multiple)
        self._rows = tile_spans(height, tile or height, bundle.multiple)
        self._columns = tile_spans(width, tile or width, bundle.multiple)
        self._is_tiled = len(self._rows) * len(self._columns) > 1
        self._main, self._side = self._cuda.stream(), self._cuda.stream()
        self._prepared, self._detailed = self._cuda.event(), self._cuda.event()
        try:
            self._open(bundle, backend)
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
        image = 0 if self._is_tiled else self._at['image']
        window = (0, 0, *self._padded)
        self._cuda.clear(targets.flags, _FLAG_BYTES * len(CHECKED), self._main)
        self._prepare(kernels, frame, window, (image, self._at['low_res']), self._main)
        self._cuda.record(self._prepared, self._main)
        self._cuda.wait(self._side, self._prepared)
        self._semantic.enqueue(self._main)
        self._check(kernels, 'tokens', targets, self._main)
        if self._is_tiled:
            self._enqueue_tiles(kernels, frame)
        else:
            self._detail.enqueue(self._side)
        for name in DETAIL_MAPS:
            self._check(kernels, name, targets, self._side)
        self._cuda.record(self._detailed, self._side)
        self._cuda.wait(self._main, self._detailed)
        self._quarter.enqueue(self._main)
        quarter = self._map('quarter_logits', self._quarter.outputs['quarter_logits'].shape)
        mask = targets.mask, targets.mask_bytes
        kernels.finish(
            quarter,
            self._size,
            mask,
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
            (self._semantic, self._main),
            (self._detail, self._side),
            (self._quarter, self._main),
        ):
            engine.check_capture(stream)

    def upload(self, values: np.ndarray) -> int:
        """Put an array into device memory for as long as this lives, and return its address."""
        values = np.ascontiguousarray(values)
        address = self._take(values.nbytes)
        self._cuda.upload(address, values, self._main)
        # The array may go as soon as this returns.
        self._cuda.synchronize(self._main)
        return address

    def logits(self, name: str) -> np.ndarray:
        """
        Return logits or tokens of the last frame, (C, h, w) float32.

        Args:
            name: `semantic_logits`, `quarter_logits` or `tokens`.

        """
        tensor = {**self._semantic.outputs, **self._quarter.outputs}[name]
        logits = np.empty(tensor.shape, tensor.dtype)
        self._cuda.download(logits, self._at[name], self._main)
        self._cuda.synchronize(self._main)
        return logits[0].astype(np.float32)

    def detail_memory(self) -> tuple[int, int]:
        """Return what the detail branch takes, bytes, and for how many pixels."""
        return self._detail.memory_bytes, math.prod(self._detail.inputs['image'].shape[2:])

    def close(self) -> None:
        """Free the memory."""
        for address in self._memory:
            self._cuda.free(address)
        self._memory.clear()

    def _open(self, bundle: Bundle, backend: TensorRTBackend) -> None:
        graphs, (height, width) = bundle.graphs, self._padded
        factor = bundle.low_res_factor
        low_res = (1, 3, height // factor, width // factor)
        (top, bottom), (left, right) = self._rows[0], self._columns[0]
        self._semantic = backend.execution(graphs['semantic'], {'low_res': low_res})
        image = (1, 3, bottom - top, right - left)
        # Blending tiles takes maps that lie row by row.
        formats = IMAGE_FORMAT if self._is_tiled else {**IMAGE_FORMAT, **MAP_FORMATS}
        self._detail = backend.execution(graphs['detail'], {'image': image}, formats)
        self._is_interleaved = self._detail.inputs['image'].channels == CHANNELS['CHW4']
        check = OutputCheck(bundle)
        check.declared(
            'semantic',
            _shapes(self._semantic),
            {
                'tokens': map_sizes('tokens', height, width),
            },
        )
        check.declared(
            'detail',
            _shapes(self._detail),
            {name: map_sizes(name, *image[2:]) for name in DETAIL_MAPS},
        )
        tiles = {name: self._detail.outputs[name].shape for name in DETAIL_MAPS}
        self._totals = {name: map_shape(name, tiles[name], height, width) for name in tiles}
        meeting = {'tokens': self._semantic.outputs['tokens'].shape, **self._totals}
        formats = {} if self._is_tiled else MAP_FORMATS
        self._quarter = backend.execution(graphs['quarter'], meeting, formats)
        check.declared(
            'quarter',
            _shapes(self._quarter),
            {
                'quarter_logits': map_sizes('local', height, width),
            },
        )
        self.dtype = self._common_type()
        self._at = self._allocate()
        self._semantic.bind(self._at)
        self._detail.bind(self._at)
        self._quarter.bind({**self._at, **self._total_at})

    def _common_type(self) -> np.dtype:
        """Return the type of the tensors between the engines, which bind the same memory."""
        engines = (self._semantic, self._detail, self._quarter)
        tensors = [each for engine in engines for each in (engine.inputs, engine.outputs)]
        types = {tensor.dtype for each in tensors for tensor in each.values()}
        if len(types) != 1:
            msg = f'the engines have tensors of several types ({types}): export the model again'
            raise EngineError(msg)
        return types.pop()

    def _allocate(self) -> dict[str, int]:
        engines = (self._semantic, self._detail, self._quarter)
        sizes = {
            name: tensor.size
            for engine in engines
            for name, tensor in (*engine.inputs.items(), *engine.outputs.items())
            if engine is not self._quarter or name == 'quarter_logits'
        }
        addresses = {name: self._take(size) for name, size in sizes.items()}
        self._total_at: dict[str, int] = {}
        if self._is_tiled:
            self._prepare_tiles()
        return addresses

    def _prepare_tiles(self) -> None:
        """Make room for the blended maps, and upload how much each tile counts."""
        self._axes = {
            name: tuple(BlendAxis(spans, STRIDES[name]) for spans in (self._rows, self._columns))
            for name in DETAIL_MAPS
        }
        itemsize = self.dtype.itemsize
        self._total_sizes = {
            name: int(np.prod(shape)) * itemsize for name, shape in self._totals.items()
        }
        self._total_at = {name: self._take(size) for name, size in self._total_sizes.items()}
        self._weights = {
            name: [[self.upload(part) for part in axis.weights] for axis in axes]
            for name, axes in self._axes.items()
        }

    def _enqueue_tiles(self, kernels: Kernels, frame: DeviceFrame) -> None:
        """Run the detail branch tile by tile and blend its maps."""
        for name, address in self._total_at.items():
            self._cuda.clear(address, self._total_sizes[name], self._side)
        for row, (top, bottom) in enumerate(self._rows):
            for column, (left, right) in enumerate(self._columns):
                window = top, left, bottom - top, right - left
                self._prepare(kernels, frame, window, (self._at['image'], 0), self._side)
                self._detail.enqueue(self._side)
                for name in DETAIL_MAPS:
                    self._blend(kernels, name, row, column)

    def _check(self, kernels: Kernels, name: str, targets: Targets, stream: Stream) -> None:
        """Look through a map of the whole frame."""
        address = self._total_at.get(name, self._at[name])
        count = int(np.prod(self._quarter.inputs[name].shape))
        kernels.check(address, count, _flag_of(name, targets), stream)

    def _blend(self, kernels: Kernels, name: str, row: int, column: int) -> None:
        row_axis, column_axis = self._axes[name]
        tile = self._map(name, self._detail.outputs[name].shape)
        total = DeviceMap.over(self._total_at[name], self._totals[name], ROW_AXES[name])
        place = row_axis.spans[row][0], column_axis.spans[column][0]
        weights = self._weights[name][0][row], self._weights[name][1][column]
        kernels.accumulate(tile, total, place, weights, self._side)

    def _prepare(
        self,
        kernels: Kernels,
        frame: DeviceFrame,
        window: tuple[int, int, int, int],
        inputs: tuple[int, int],
        stream: Stream,
    ) -> None:
        kernels.prepare(
            frame, window, self._scale_bias, *inputs, stream, interleaved=self._is_interleaved
        )

    def _map(self, name: str, shape: tuple[int, ...]) -> DeviceMap:
        return DeviceMap.over(self._at[name], shape, ROW_AXES.get(name, 2))

    def _take(self, size: int) -> int:
        address = self._cuda.allocate(size)
        self._memory.append(address)
        return address


def _flag_of(name: str, targets: Targets) -> int:
    return targets.flags + _FLAG_BYTES * list(CHECKED).index(name)


def _shapes(execution: Execution) -> dict[str, tuple[int, ...]]:
    return {name: tensor.shape for name, tensor in execution.outputs.items()}


def _scale_bias(bundle: Bundle) -> tuple[float, ...]:
    """Write (x - mean) / std as x * scale + bias."""
    scales = [1.0 / std for std in bundle.std]
    biases = [-mean / std for mean, std in zip(bundle.mean, bundle.std, strict=True)]
    return *scales, *biases
