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

"""The engines of two branches and their fusion for frames of one size, and how they fit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from uhr_seg_ros.backends.tensorrt.backend import TensorRTBackend
from uhr_seg_ros.backends.tensorrt.engine import Execution
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.pipelines.outputs import OutputCheck
from uhr_seg_ros.pipelines.tiling import Span
from uhr_seg_ros.pipelines.two_branch_maps import DETAIL_MAPS, map_shape, map_sizes

#: How what no one else reads lies in memory, for the sake of the convolutions.
IMAGE_FORMAT = {'image': 'CHW4'}
MAP_FORMATS = {'local': 'HWC8'}


class FrameEngines:
    """
    What runs of the graphs `semantic`, `detail` and `quarter`.

    Args:
        bundle: a bundle of kind `two_branch`.
        backend: opens them.
        size: height and width of the padded frames, px.
        rows: spans of the tiles of the detail branch along the height, px.
        columns: spans along the width; one of each is the whole frame.

    Attributes:
        semantic: `low_res` -> `tokens`.
        detail: `image`, of a tile, -> `DETAIL_MAPS`.
        quarter: `tokens` and the maps of the whole frame -> `quarter_logits`.
        maps: name -> shape of the maps of the detail branch over the whole frame.
        dtype: of all tensors between them.

    Raises:
        EngineError: one cannot be built or does not fit to the others.
        EngineError: an output has another size than is expected, or number of classes.

    """

    def __init__(
        self,
        bundle: Bundle,
        backend: TensorRTBackend,
        size: tuple[int, int],
        rows: Sequence[Span],
        columns: Sequence[Span],
    ) -> None:
        graphs, check, (height, width) = bundle.graphs, OutputCheck(bundle), size
        factor = bundle.low_res_factor
        low_res = (1, 3, height // factor, width // factor)
        self.semantic = backend.execution(graphs['semantic'], {'low_res': low_res})
        (top, bottom), (left, right) = rows[0], columns[0]
        image = (1, 3, bottom - top, right - left)
        # Blending tiles takes maps that lie row by row.
        map_formats = {} if len(rows) * len(columns) > 1 else MAP_FORMATS
        formats = {**IMAGE_FORMAT, **map_formats}
        self.detail = backend.execution(graphs['detail'], {'image': image}, formats)
        check.declared(
            'semantic', _shapes(self.semantic), {'tokens': map_sizes('tokens', height, width)}
        )
        check.declared(
            'detail',
            _shapes(self.detail),
            {name: map_sizes(name, *image[2:]) for name in DETAIL_MAPS},
        )
        tile = _shapes(self.detail)
        self.maps = {name: map_shape(name, tile[name], height, width) for name in DETAIL_MAPS}
        meeting = {'tokens': _shapes(self.semantic)['tokens'], **self.maps}
        self.quarter = backend.execution(graphs['quarter'], meeting, map_formats)
        check.declared(
            'quarter',
            _shapes(self.quarter),
            {'quarter_logits': map_sizes('local', height, width)},
        )
        self.dtype = self._common_type()

    def sizes(self) -> dict[str, int]:
        """Return the bytes of all tensors; those of `quarter` are its output only."""
        return {
            name: tensor.size
            for engine in (self.semantic, self.detail, self.quarter)
            for name, tensor in (*engine.inputs.items(), *engine.outputs.items())
            if engine is not self.quarter or name == 'quarter_logits'
        }

    def _common_type(self) -> np.dtype:
        """Return the type of the tensors between the engines, which bind the same memory."""
        engines = (self.semantic, self.detail, self.quarter)
        tensors = [each for engine in engines for each in (engine.inputs, engine.outputs)]
        types = {tensor.dtype for each in tensors for tensor in each.values()}
        if len(types) != 1:
            msg = f'the engines have tensors of several types ({types}): export the model again'
            raise EngineError(msg)
        return types.pop()


def _shapes(execution: Execution) -> dict[str, tuple[int, ...]]:
    return {name: tensor.shape for name, tensor in execution.outputs.items()}
