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

"""The maps that pass between the graphs of a two-branch bundle, on either back end."""

from __future__ import annotations

from collections.abc import Container, Sequence

import numpy as np

from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.errors import BundleError
from uhr_seg_ros.core.laplacian import luminance_residuals, RESIDUALS
from uhr_seg_ros.pipelines.outputs import lengths

#: px of the frame per row and column of every map between the graphs.
STRIDES = {'tokens': 16, 'affinity': 16, 'local': 4}
TOKEN_STRIDE = STRIDES['tokens']

#: Axis of the rows; the columns are the next one (`affinity` has its channels last).
ROW_AXES = {'tokens': 2, 'affinity': 1, 'local': 2}

#: What tiles of the detail branch give.
DETAIL_MAPS = ('affinity', 'local')

#: What frames may be padded to multiples of, px: whole cells, at most what tiles overlap by.
MULTIPLES = (16, 32, 64)


def detail_feeds(planes: np.ndarray, inputs: Container[str]) -> dict[str, np.ndarray]:
    """
    Return what a file of the graph `detail` takes.

    Args:
        planes: (1, 3, H, W) float32, normalized.
        inputs: their names; that for a CPU has the `residuals` beside the image.

    """
    feeds = {'image': planes}
    if RESIDUALS in inputs:
        feeds[RESIDUALS] = luminance_residuals(planes)
    return feeds


def map_shape(name: str, tile: Sequence[int], rows: int, columns: int) -> tuple[int, ...]:
    """
    Return the shape of a map over a whole frame.

    Args:
        name: name of the map.
        tile: its shape over a tile.
        rows: height of the padded frame, px.
        columns: width of the padded frame, px.

    """
    shape, axis = list(tile), ROW_AXES[name]
    shape[axis : axis + 2] = rows // STRIDES[name], columns // STRIDES[name]
    return tuple(shape)


def map_sizes(name: str, rows: int, columns: int) -> dict[str, int]:
    """
    Return the lengths of the axes of a map.

    Args:
        name: name of the map.
        rows: height of the padded frame or tile, px.
        columns: its width, px.

    """
    return lengths(rows // STRIDES[name], columns // STRIDES[name])


def check_sizes(bundle: Bundle) -> None:
    """
    Refuse a bundle whose frames are padded to sizes that its graphs cannot take.

    Raises:
        BundleError: names the fields of the bundle.

    """
    if bundle.multiple not in MULTIPLES or bundle.multiple % bundle.low_res_factor:
        msg = (
            f'bundle {bundle.path}: input.multiple {bundle.multiple} must be one of '
            f'{", ".join(map(str, MULTIPLES))} and a multiple of input.low_res_factor '
            f'{bundle.low_res_factor}: export it again'
        )
        raise BundleError(msg)
