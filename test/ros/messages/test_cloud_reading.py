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

"""Every layout of a point cloud, and clouds that are broken."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sensor_msgs.msg import PointCloud2, PointField

pytest.importorskip('hypothesis', reason='hypothesis makes the input')
from hypothesis import given
from hypothesis import strategies as st

from uhr_seg_ros.core.errors import MessageError
from uhr_seg_ros.ros.messages.cloud_reading import MAX_POINTS, read_points

HEIGHT, WIDTH = 3, 5
FLOATS = {PointField.FLOAT32: 'f4', PointField.FLOAT64: 'f8'}


def field(
    name: str, offset: int, datatype: int = PointField.FLOAT32, count: int = 1
) -> PointField:
    return PointField(name=name, offset=offset, datatype=datatype, count=count)


XYZ = [field('x', 0), field('y', 4), field('z', 8)]
LAYOUTS = {
    'xyz': (XYZ, 12),
    'intensity and ring': ([*XYZ, field('i', 12), field('ring', 16, PointField.UINT16)], 18),
    'odd offsets': ([field('x', 1), field('y', 5), field('z', 9)], 13),
    'apart': ([field('x', 0), field('y', 8), field('z', 20)], 28),
    'backwards': ([field('z', 0), field('y', 4), field('x', 8)], 16),
    'double': ([field(name, 8 * n, PointField.FLOAT64) for n, name in enumerate('xyz')], 32),
    'mixed': ([field('x', 0, PointField.FLOAT64), field('y', 8), field('z', 12)], 16),
    'with a count': (
        [field('normal', 0, count=3), *(field(n, 12 + 4 * k) for k, n in enumerate('xyz'))],
        24,
    ),
}


def make_cloud(
    points: np.ndarray,
    fields: list[PointField],
    point_step: int,
    padding: int = 0,
    big_endian: bool = False,
) -> PointCloud2:
    """Return an organised cloud of (H, W, 3) points, written number by number."""
    height, width = points.shape[:2]
    row_step = width * point_step + padding
    data = bytearray(b'\x7f' * (height * row_step))
    for row, column in np.ndindex(height, width):
        for each in fields:
            if each.name in 'xyz':
                dtype = np.dtype(('>' if big_endian else '<') + FLOATS[each.datatype])
                number = np.array(points[row, column]['xyz'.index(each.name)], dtype).tobytes()
                start = row * row_step + column * point_step + each.offset
                data[start : start + len(number)] = number
    cloud = PointCloud2(
        height=height,
        width=width,
        fields=fields,
        is_bigendian=big_endian,
        point_step=point_step,
        row_step=row_step,
    )
    cloud.data.frombytes(bytes(data))
    return cloud


def some_points(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    points = np.random.default_rng(0).normal(size=(height, width, 3)).astype(np.float32)
    points[0, 0] = np.nan
    return points


@pytest.mark.parametrize('big_endian', [False, True])
@pytest.mark.parametrize('padding', [0, 7])
@pytest.mark.parametrize('layout', LAYOUTS)
def test_layouts(layout: str, padding: int, big_endian: bool) -> None:
    fields, point_step = LAYOUTS[layout]
    points = some_points()
    cloud = make_cloud(points, fields, point_step, padding, big_endian)
    read = read_points(cloud)
    assert read.shape == (HEIGHT * WIDTH, 3)
    assert read.dtype == (np.float64 if layout in ('double', 'mixed') else np.float32)
    assert read.dtype.isnative
    np.testing.assert_array_equal(read, points.reshape(-1, 3))
    is_view = np.shares_memory(read, np.frombuffer(cloud.data, np.uint8))
    assert is_view == (not padding and not big_endian and layout not in ('apart', 'mixed'))


def test_one_row_is_a_view_whatever_its_padding() -> None:
    cloud = make_cloud(some_points(1, 9), *LAYOUTS['intensity and ring'], padding=5)
    assert np.shares_memory(read_points(cloud), np.frombuffer(cloud.data, np.uint8))


def test_padding_after_the_last_row_may_be_absent() -> None:
    cloud = make_cloud(some_points(), XYZ, 12, padding=8)
    cloud.data = cloud.data[:-8]
    np.testing.assert_array_equal(read_points(cloud), some_points().reshape(-1, 3))
    cloud.data = cloud.data[:-1]
    with pytest.raises(MessageError, match='truncated: 195 bytes, .* row_step 68 need 196'):
        read_points(cloud)


def test_data_may_be_what_a_recording_gives() -> None:
    cloud = make_cloud(some_points(), XYZ, 12)
    cloud._data = np.frombuffer(cloud.data.tobytes(), np.uint8)
    np.testing.assert_array_equal(read_points(cloud), some_points().reshape(-1, 3))


def set_fields(*fields: PointField) -> Callable[[PointCloud2], None]:
    return lambda cloud: setattr(cloud, 'fields', list(fields))


def set_value(name: str, value: int) -> Callable[[PointCloud2], None]:
    return lambda cloud: setattr(cloud, name, value)


BROKEN = {
    'no width': (set_value('width', 0), '0 x 3: width and height must be at least 1'),
    'no height': (set_value('height', 0), '5 x 0: width and height must be at least 1'),
    'huge': (set_value('width', 4_000_000_000), f'4000000000 x 3: more than {MAX_POINTS} points'),
    'wide': (set_value('width', 6), 'row_step 60 is smaller than width 6 x point_step 12 = 72'),
    'high': (set_value('height', 4), 'truncated: 180 bytes, but 5 x 4 .* need 240'),
    'no point_step': (set_value('point_step', 0), 'x ends at byte 4, beyond point_step 0'),
    'short point_step': (set_value('point_step', 11), 'z ends at byte 12, beyond point_step 11'),
    'long point_step': (set_value('point_step', 13), 'row_step 60 is smaller than .* = 65'),
    'no row_step': (set_value('row_step', 0), 'row_step 0 is smaller than'),
    'long row_step': (set_value('row_step', 4_000_000_000), 'truncated: 180 bytes'),
    'no fields': (set_fields(), '0 fields x: expected 1, its fields are none'),
    'no x': (set_fields(field('X', 0), *XYZ[1:]), '0 fields x: .* its fields are X, y, z'),
    'two x': (set_fields(*XYZ, field('x', 0)), '2 fields x: expected 1'),
    'integers': (set_fields(field('x', 0, PointField.INT32), *XYZ[1:]), 'x has data type 5: exp'),
    'no type': (set_fields(field('x', 0, 0), *XYZ[1:]), 'x has data type 0: expected 7'),
    'count 0': (set_fields(field('x', 0, count=0), *XYZ[1:]), 'x has count 0: expected 1'),
    'count 3': (set_fields(field('x', 0, count=3), *XYZ[1:]), 'x has count 3: expected 1'),
    'overlap': (set_fields(field('x', 2), *XYZ[1:]), 'y at byte 4 overlaps x, which ends at 6'),
    'same place': (set_fields(XYZ[0], field('y', 0), XYZ[2]), 'y at byte 0 overlaps x'),
    'too far': (set_fields(*XYZ[:2], field('z', 4_000_000_000)), 'z ends at byte 4000000004'),
}


@pytest.mark.parametrize('name', BROKEN)
def test_broken_clouds(name: str) -> None:
    damage, message = BROKEN[name]
    cloud = make_cloud(some_points(), XYZ, 12)
    damage(cloud)
    with pytest.raises(MessageError, match=message):
        read_points(cloud)


SIZES = st.one_of(st.integers(0, 40), st.integers(0, 2**32 - 1))


@given(
    sizes=st.tuples(SIZES, SIZES, SIZES, SIZES),
    offsets=st.tuples(SIZES, SIZES, SIZES),
    types=st.tuples(*[st.integers(5, 8)] * 3),
    data=st.binary(max_size=300),
    big_endian=st.booleans(),
)
def test_any_numbers_are_read_or_refused(
    sizes: tuple, offsets: tuple, types: tuple, data: bytes, big_endian: bool
) -> None:
    height, width, point_step, row_step = sizes
    fields = [field(*given) for given in zip('xyz', offsets, types, strict=True)]
    cloud = PointCloud2(
        height=height,
        width=width,
        point_step=point_step,
        row_step=row_step,
        fields=fields,
        is_bigendian=big_endian,
    )
    cloud.data.frombytes(data)
    try:
        points = read_points(cloud)
    except MessageError:
        return
    assert points.shape == (height * width, 3)


@pytest.mark.parametrize(
    ('height', 'width', 'padding', 'surplus', 'refused'),
    [
        (3, 5, 0, 1, ''),
        (3, 5, 0, 59, ''),
        (3, 5, 7, 40, ''),
        (3, 5, 0, 60, 'set row_step 80'),  # a row more, or rows further apart
        (3, 5, 0, 3, 'set row_step 61'),
        (3, 5, 0, 2, 'set row_step 61'),  # the padding after the last row is absent
        (3, 5, 0, 61, 'set the width and height that the data has'),
        (3, 5, 0, 180, 'set row_step 120'),  # twice as much
        (1, 5, 0, 12, ''),
        (1, 5, 0, 20, 'set point_step 16'),
        (1, 5, 0, 59, ''),
        (1, 5, 0, 61, 'set the width and height that the data has'),
        (1, 1, 0, 11, ''),
        (1, 1, 0, 12, 'set the width and height that the data has'),
    ],
)
def test_data_that_is_longer_than_declared(
    height: int, width: int, padding: int, surplus: int, refused: str
) -> None:
    points = some_points(height, width)
    cloud = make_cloud(points, XYZ, 12, padding)
    cloud.data.frombytes(b'\x7f' * surplus)
    remarks: list[str] = []
    if refused:
        with pytest.raises(MessageError, match=f'{surplus} bytes longer than .*: {refused}'):
            read_points(cloud, remarks.append)
        assert not remarks
        return
    np.testing.assert_array_equal(read_points(cloud, remarks.append), points.reshape(-1, 3))
    assert len(remarks) == 1
    assert f'{surplus} bytes longer than {width} x {height} points' in remarks[0]
