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
From point cloud messages to plain arrays, as views where that is possible.

Data that does not have the length that the sizes say is treated as that of images is (see
`layout`): too short is refused; too long is read where that has one explanation only, a buffer
that is a little too long, and refused where the points may lie further apart than declared.

Nothing of ROS is imported: messages that a recording gave without it have the same fields.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TYPE_CHECKING

import numpy as np

from uhr_seg_ros.core.errors import MessageError
from uhr_seg_ros.core.text import listed, printable
from uhr_seg_ros.ros.messages.remarks import log_once, Remark

if TYPE_CHECKING:
    from sensor_msgs.msg import PointCloud2

MAX_POINTS = 1 << 24
"""Most points of a cloud: beyond it the size fields are taken for garbage."""

_FLOATS = {7: 'f4', 8: 'f8'}
"""Data types of sensor_msgs/PointField that coordinates may have."""


class _Coordinate(NamedTuple):
    """Where x, y or z lies in a point."""

    name: str
    offset: int
    dtype: np.dtype

    @property
    def end(self) -> int:
        return self.offset + self.dtype.itemsize


def read_points(cloud: PointCloud2, remark: Remark = log_once) -> np.ndarray:
    """
    Return the coordinates of a point cloud.

    Args:
        cloud: with fields x, y and z of float32 or float64 among any others; REP-103 asks for m.
        remark: told what is odd, yet can be read.

    Returns:
        (N, 3) float32, or float64 where a field is; row by row, NaN where the cloud has NaN. A
        view of the message's own data, unless rows are padded, x, y and z are not evenly spaced
        or of two types, or the bytes are in the other order.

    Raises:
        MessageError: sizes, steps, fields and the amount of data do not fit together.

    """
    _check_size(cloud)
    order = '>' if cloud.is_bigendian else '<'
    coordinates = [_find(cloud, name, order) for name in ('x', 'y', 'z')]
    _check_overlap(coordinates)
    _check_data(cloud, remark)
    x, y, z = coordinates
    spacing = y.offset - x.offset
    if z.offset - y.offset == spacing and x.dtype == y.dtype == z.dtype:
        points = _view(cloud, x, (3,), (spacing,))
    else:
        points = np.stack([_view(cloud, each) for each in coordinates], axis=-1)
    native = points.dtype.newbyteorder('=')
    return points.astype(native, copy=False).reshape(-1, 3)


def _view(
    cloud: PointCloud2,
    first: _Coordinate,
    shape: tuple[int, ...] = (),
    strides: tuple[int, ...] = (),
) -> np.ndarray:
    """Return (H, W, *shape), without a copy."""
    return np.ndarray(
        (cloud.height, cloud.width, *shape),
        first.dtype,
        cloud.data,
        first.offset,
        (cloud.row_step, cloud.point_step, *strides),
    )


def _check_size(cloud: PointCloud2) -> None:
    size = f'{cloud.width} x {cloud.height}'
    if cloud.width == 0 or cloud.height == 0:
        msg = f'point cloud is {size}: width and height must be at least 1'
        raise MessageError(msg)
    if cloud.width * cloud.height > MAX_POINTS:
        msg = f'point cloud is {size}: more than {MAX_POINTS} points are not accepted'
        raise MessageError(msg)


def _find(cloud: PointCloud2, name: str, order: str) -> _Coordinate:
    found = [field for field in cloud.fields if field.name == name]
    if len(found) != 1:
        names = printable(listed(field.name[:100] for field in cloud.fields[:100])) or 'none'
        msg = f'point cloud has {len(found)} fields {name}: expected 1, its fields are {names}'
        raise MessageError(msg)
    return _coordinate(found[0], order, cloud.point_step)


def _coordinate(field: Any, order: str, point_step: int) -> _Coordinate:
    """Return a coordinate of a sensor_msgs/PointField."""
    if field.datatype not in _FLOATS:
        msg = (
            f'point cloud field {field.name} has data type {field.datatype}: expected '
            '7 (float32) or 8 (float64)'
        )
        raise MessageError(msg)
    if field.count != 1:
        msg = f'point cloud field {field.name} has count {field.count}: expected 1'
        raise MessageError(msg)
    coordinate = _Coordinate(field.name, field.offset, np.dtype(order + _FLOATS[field.datatype]))
    if coordinate.end > point_step:
        msg = (
            f'point cloud field {field.name} ends at byte {coordinate.end}, beyond '
            f'point_step {point_step}: check the offsets'
        )
        raise MessageError(msg)
    return coordinate


def _check_overlap(coordinates: list[_Coordinate]) -> None:
    ordered = sorted(coordinates, key=lambda each: each.offset)
    for before, after in zip(ordered, ordered[1:], strict=False):
        if before.end > after.offset:
            msg = (
                f'point cloud field {after.name} at byte {after.offset} overlaps '
                f'{before.name}, which ends at {before.end}: check the offsets'
            )
            raise MessageError(msg)


def _check_data(cloud: PointCloud2, remark: Remark) -> None:
    """Refuse a `row_step` shorter than a row, and data that does not fit the sizes."""
    row_bytes = cloud.width * cloud.point_step
    if cloud.row_step < row_bytes:
        msg = (
            f'point cloud row_step {cloud.row_step} is smaller than width {cloud.width} x '
            f'point_step {cloud.point_step} = {row_bytes} bytes'
        )
        raise MessageError(msg)
    # The padding after the last row may be absent.
    needed = cloud.row_step * (cloud.height - 1) + row_bytes
    if len(cloud.data) < needed:
        msg = (
            f'point cloud data is truncated: {len(cloud.data)} bytes, but {cloud.width} x '
            f'{cloud.height} points with row_step {cloud.row_step} need {needed}'
        )
        raise MessageError(msg)
    declared = cloud.row_step * cloud.height
    surplus = len(cloud.data) - declared
    if surplus <= 0:
        return
    longer = (
        f'point cloud data is {surplus} bytes longer than {cloud.width} x {cloud.height} '
        f'points with row_step {cloud.row_step} = {declared}'
    )
    if step := _other_step(cloud):
        msg = f'{longer}: set {step} if that is all that is wrong, else width and height'
        raise MessageError(msg)
    if surplus >= cloud.row_step:
        msg = f'{longer}: set the width and height that the data has'
        raise MessageError(msg)
    remark(f'{longer}: the rest is left out')


def _other_step(cloud: PointCloud2) -> str:
    """Return the step that would explain the length of the data as well, or an empty string."""
    size, rows = len(cloud.data), cloud.height
    if rows == 1:
        is_other = cloud.width > 1 and size % cloud.width == 0
        return f'point_step {size // cloud.width}' if is_other else ''
    if size % rows == 0:
        return f'row_step {size // rows}'
    # The padding after the last row may be absent.
    step, rest = divmod(size - cloud.width * cloud.point_step, rows - 1)
    return '' if rest else f'row_step {step}'
