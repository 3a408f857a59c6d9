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

"""Labelled points as a point cloud message."""

from __future__ import annotations

import array
import sys
from typing import TYPE_CHECKING

import numpy as np
from sensor_msgs.msg import PointCloud2, PointField

from uhr_seg_ros.geometry.labeling import LabeledPoints

try:
    from sensor_msgs_py.point_cloud2 import create_cloud
except ImportError:  # not among the PyPI wheels
    create_cloud = None

if TYPE_CHECKING:
    from std_msgs.msg import Header

# PCL and rviz read a color from a float32 field `rgb` whose bits are 0x00RRGGBB; PCL would not
# match a uint32 field of that name to its PointXYZRGB.
_COLUMNS = {'x': 'f4', 'y': 'f4', 'z': 'f4', 'rgb': 'f4', 'label': 'u1', 'confidence': 'u1'}
# With two bytes at the end the floats of every point are aligned, as iterators in C++ read them.
_PADDING = {'padding': 'u2'}
_LAYOUT = np.dtype([*_COLUMNS.items(), *_PADDING.items()])
_TYPES = {'f4': PointField.FLOAT32, 'u1': PointField.UINT8, 'u2': PointField.UINT16}


def _fields(columns: dict[str, str]) -> list[PointField]:
    fields, offset = [], 0
    for name, code in columns.items():
        fields.append(PointField(name=name, offset=offset, datatype=_TYPES[code], count=1))
        offset += np.dtype(code).itemsize
    return fields


FIELDS = _fields(_COLUMNS)
"""Fields of a labeled cloud; a point has 20 bytes, the last two of which are padding."""

# sensor_msgs_py takes an array only where fields name all of its bytes.
_ALL_FIELDS = _fields({**_COLUMNS, **_PADDING})


def encode_cloud(labeled: LabeledPoints, header: Header, height: int, width: int) -> PointCloud2:
    """
    Return a labeled cloud.

    Args:
        labeled: N points.
        header: stamp and frame of the cloud that the points came from; taken over untouched.
        height: of the cloud that the points came from.
        width: of that cloud. Where height * width is not N, as points were left out, the message
            is unorganized.

    """
    records = _records(labeled)
    # create_cloud of some distributions cannot cast an empty array.
    create = pack_records if create_cloud is None or not len(records) else create_cloud
    cloud = create(header, _ALL_FIELDS, records)
    cloud.fields = FIELDS
    if len(records) == height * width:
        cloud.height, cloud.width = height, width
        cloud.row_step = width * cloud.point_step
    cloud.is_dense = bool(np.isfinite(labeled.points).all())
    return cloud


def pack_records(header: Header, fields: list[PointField], records: np.ndarray) -> PointCloud2:
    """
    Do what `sensor_msgs_py.point_cloud2.create_cloud` does, where that is not installed.

    Args:
        header: of the cloud.
        fields: of the cloud.
        records: (N,) structured, laid out as the fields say.

    """
    cloud = PointCloud2(header=header, height=1, width=len(records), fields=fields)
    cloud.is_bigendian = sys.byteorder == 'big'
    cloud.point_step = records.dtype.itemsize
    cloud.row_step = cloud.point_step * len(records)
    # An array.array is the one type that every distribution takes over as it is.
    cloud.data = array.array('B')
    cloud.data.frombytes(records.view(np.uint8).data)
    return cloud


def _records(labeled: LabeledPoints) -> np.ndarray:
    """Return (N,) structured."""
    records = np.zeros(len(labeled.points), _LAYOUT)
    for axis, name in enumerate('xyz'):
        records[name] = labeled.points[:, axis]
    # As bits: a float32 conversion of the number would be another color.
    records['rgb'] = labeled.color.view(np.float32)
    records['label'] = labeled.label
    records['confidence'] = labeled.confidence
    return records
