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

"""The detail branch on a GPU tile by tile, with maps that are blended into those of the frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import math

from uhr_seg_ros.backends.tensorrt.cuda import Cuda, Stream
from uhr_seg_ros.backends.tensorrt.device_memory import DeviceMemory
from uhr_seg_ros.backends.tensorrt.engine import Execution
from uhr_seg_ros.backends.tensorrt.kernels import DeviceMap, Kernels
from uhr_seg_ros.pipelines.tiling import BlendAxis, Span
from uhr_seg_ros.pipelines.two_branch_maps import DETAIL_MAPS, ROW_AXES, STRIDES

#: Top, left, height and width of a tile in the padded frame, px.
Window = tuple[int, int, int, int]


class DetailTiles:
    """
    One engine that runs once for every tile.

    Args:
        execution: of the detail branch, for tiles.
        rows: spans of the tiles along the height of the padded frame, px.
        columns: spans along its width, px.
        shapes: map -> shape over the whole frame.
        cuda: the context.
        memory: where maps and weights lie.

    Attributes:
        addresses: map -> where it lies, over the whole frame.

    """

    def __init__(
        self,
        execution: Execution,
        rows: Sequence[Span],
        columns: Sequence[Span],
        shapes: Mapping[str, tuple[int, ...]],
        cuda: Cuda,
        memory: DeviceMemory,
    ) -> None:
        self._execution, self._cuda = execution, cuda
        self._rows, self._columns, self._shapes = rows, columns, shapes
        self._axes = {
            name: tuple(BlendAxis(spans, STRIDES[name]) for spans in (rows, columns))
            for name in DETAIL_MAPS
        }
        self._sizes = {
            name: math.prod(shapes[name]) * execution.outputs[name].dtype.itemsize
            for name in DETAIL_MAPS
        }
        self.addresses = {name: memory.take(size) for name, size in self._sizes.items()}
        #: Map -> how much each row and each column of a tile counts, on the device.
        self._weights = {
            name: [[memory.upload(part) for part in axis.weights] for axis in axes]
            for name, axes in self._axes.items()
        }

    def enqueue(
        self,
        kernels: Kernels,
        prepare: Callable[[Window], None],
        at: Mapping[str, int],
        stream: Stream,
    ) -> None:
        """
        Put the work of all tiles on a stream.

        Args:
            kernels: of the type of the engine.
            prepare: puts the making of a tile's image on that stream.
            at: map -> address that the engine writes that of a tile to.
            stream: behind which image and maps of a tile are used again.

        """
        for name, address in self.addresses.items():
            self._cuda.clear(address, self._sizes[name], stream)
        for row, (top, bottom) in enumerate(self._rows):
            for column, (left, right) in enumerate(self._columns):
                prepare((top, left, bottom - top, right - left))
                self._execution.enqueue(stream)
                for name in DETAIL_MAPS:
                    self._blend(kernels, name, at[name], (row, column), stream)

    def _blend(
        self, kernels: Kernels, name: str, address: int, place: tuple[int, int], stream: Stream
    ) -> None:
        row, column = place
        row_axis, column_axis = self._axes[name]
        tile = DeviceMap.over(address, self._execution.outputs[name].shape, ROW_AXES[name])
        total = DeviceMap.over(self.addresses[name], self._shapes[name], ROW_AXES[name])
        corner = row_axis.spans[row][0], column_axis.spans[column][0]
        weights = self._weights[name][0][row], self._weights[name][1][column]
        kernels.accumulate(tile, total, corner, weights, stream)
