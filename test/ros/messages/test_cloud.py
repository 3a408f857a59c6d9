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

"""Labelled clouds, as sensor_msgs_py would pack them."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.geometry.camera import Camera
from uhr_seg_ros.geometry.labeling import LabeledPoints, PointLabeler
from uhr_seg_ros.geometry.transform import OPTICAL_FROM_BODY
from uhr_seg_ros.ros.messages import cloud as cloud_module
from uhr_seg_ros.ros.messages.cloud import encode_cloud, pack_records
from uhr_seg_ros.ros.messages.cloud_reading import read_points


def labeled(count: int = 6, dtype: type = np.float32) -> LabeledPoints:
    generator = np.random.default_rng(0)
    return LabeledPoints(
        generator.normal(size=(count, 3)).astype(dtype),
        generator.integers(0, 256, count, np.uint8),
        generator.integers(0, 256, count, np.uint8),
        generator.integers(0, 1 << 24, count, np.uint32),
    )


@pytest.fixture(params=['sensor_msgs_py', 'own'])
def packer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Pack with what is installed, then without it."""
    if request.param == 'own':
        monkeypatch.setattr(cloud_module, 'create_cloud', None)
    elif cloud_module.create_cloud is None:
        pytest.skip('sensor_msgs_py is not installed')
    return request.param


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_every_value_is_where_its_field_says(packer: str, dtype: type) -> None:
    points = labeled(dtype=dtype)
    header = Header(frame_id='lidar')
    header.stamp.sec = 12
    cloud = encode_cloud(points, header, 1, 6)
    assert cloud.header == header
    assert (cloud.height, cloud.width, cloud.point_step, cloud.row_step) == (1, 6, 20, 120)
    assert not cloud.is_bigendian
    assert cloud.is_dense
    assert [(each.name, each.offset, each.datatype, each.count) for each in cloud.fields] == [
        ('x', 0, PointField.FLOAT32, 1),
        ('y', 4, PointField.FLOAT32, 1),
        ('z', 8, PointField.FLOAT32, 1),
        ('rgb', 12, PointField.FLOAT32, 1),
        ('label', 16, PointField.UINT8, 1),
        ('confidence', 17, PointField.UINT8, 1),
    ]
    for index, packed in enumerate(struct.iter_unpack('<fffIBBxx', cloud.data.tobytes())):
        assert packed[:3] == tuple(points.points[index].astype(np.float32).tolist())
        assert packed[3:] == (points.color[index], points.label[index], points.confidence[index])


def test_an_organised_cloud_stays_organised(packer: str) -> None:
    points = labeled()
    points.points[1] = np.nan
    cloud = encode_cloud(points, Header(), 2, 3)
    assert (cloud.height, cloud.width, cloud.row_step) == (2, 3, 60)
    assert not cloud.is_dense
    np.testing.assert_array_equal(read_points(cloud), points.points)


def test_a_cloud_with_points_left_out_is_not_organised(packer: str) -> None:
    cloud = encode_cloud(labeled(4), Header(), 2, 3)
    assert (cloud.height, cloud.width, cloud.row_step) == (1, 4, 80)


def test_no_points(packer: str) -> None:
    cloud = encode_cloud(labeled(0), Header(), 2, 3)
    assert (cloud.height, cloud.width, cloud.row_step, len(cloud.data)) == (1, 0, 0, 0)


def test_own_packing_is_that_of_sensor_msgs_py() -> None:
    theirs = pytest.importorskip('sensor_msgs_py.point_cloud2', reason='no sensor_msgs_py here')
    records = cloud_module._records(labeled())
    header = Header(frame_id='lidar')
    ours, expected = (
        make(header, cloud_module._ALL_FIELDS, records)
        for make in (pack_records, theirs.create_cloud)
    )
    for name in PointCloud2.get_fields_and_field_types():
        assert getattr(ours, name) == getattr(expected, name), name


def test_sensor_msgs_py_reads_the_cloud(packer: str) -> None:
    theirs = pytest.importorskip('sensor_msgs_py.point_cloud2', reason='no sensor_msgs_py here')
    points = labeled()
    read = theirs.read_points(encode_cloud(points, Header(), 1, 6))
    for axis, name in enumerate('xyz'):
        np.testing.assert_array_equal(read[name], points.points[:, axis])
    np.testing.assert_array_equal(read['label'], points.label)
    np.testing.assert_array_equal(read['confidence'], points.confidence)


def test_from_message_to_message(packer: str) -> None:
    """A LiDAR's points of 22 bytes, none of whose numbers are aligned."""
    layout = np.dtype(
        {
            'names': ['x', 'y', 'z'],
            'formats': ['<f4'] * 3,
            'offsets': [1, 5, 9],
            'itemsize': 22,
        }
    )
    records = np.zeros(4, layout)
    records['x'] = [2, 2, -2, np.nan]
    records['y'] = [1, -1, 1, 1]
    message = PointCloud2(height=2, width=2, point_step=22, row_step=44)
    message.fields = [
        PointField(name=name, offset=offset, datatype=PointField.FLOAT32, count=1)
        for name, offset in zip('xyz', (1, 5, 9), strict=True)
    ]
    message.data.frombytes(records.tobytes())
    mask = np.zeros((6, 8), np.uint8)
    mask[:, 4:] = 1
    classes = ClassSet(('left', 'right'), ((1, 2, 3), (4, 5, 6)))
    camera = Camera('plumb_bob', (4.0, 4.0), (4.0, 3.0), (), 6, 8)
    result = PointLabeler(classes, None).label(
        read_points(message), camera, OPTICAL_FROM_BODY, mask
    )
    cloud = encode_cloud(result, message.header, message.height, message.width)
    assert (cloud.height, cloud.width) == (2, 2)
    packed = list(struct.iter_unpack('<fffIBBxx', cloud.data.tobytes()))
    assert [each[3:] for each in packed] == [
        (0x010203, 0, 255),
        (0x040506, 1, 255),
        (0, 255, 0),
        (0, 255, 0),
    ]
    assert [each[:3] for each in packed[:3]] == [(2, 1, 0), (2, -1, 0), (-2, 1, 0)]
