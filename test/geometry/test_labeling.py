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

"""Points and the pixels that they fall on."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

pytest.importorskip('hypothesis', reason='hypothesis makes the input')
from hypothesis import given
from hypothesis import strategies as st

from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.core.errors import DataError
from uhr_seg_ros.geometry.camera import Camera
from uhr_seg_ros.geometry.labeling import PointLabeler
from uhr_seg_ros.geometry.transform import IDENTITY, Transform
from uhr_seg_ros.geometry.visibility import BLOCK, find_seen, Seen, ZBuffer

CLASSES = ClassSet(('road', 'car'), ((1, 2, 3), (250, 0, 16)))
CAMERA = Camera('plumb_bob', (10.0, 10.0), (4.0, 3.0), (), 6, 8)
BEHIND, OUTSIDE, BROKEN = (0, 0, -1), (9, 0, 1), (np.nan, 0, 1)
LEFT, RIGHT = (-0.2, 0, 1), (0.2, 0, 1)


def halves(left: int = 0, right: int = 1, dtype: type = np.uint8) -> np.ndarray:
    mask = np.full((6, 8), left, dtype)
    mask[:, 4:] = right
    return mask


def test_points_get_class_confidence_and_colour() -> None:
    points = np.float32([LEFT, BEHIND, RIGHT, OUTSIDE, BROKEN])
    confidence = np.arange(48, dtype=np.uint8).reshape(6, 8)
    labeler = PointLabeler(CLASSES, None)
    result = labeler.label(points, CAMERA, IDENTITY, halves(), confidence)
    assert result.points is points
    assert result.label.tolist() == [0, 255, 1, 255, 255]
    assert result.confidence.tolist() == [3 * 8 + 2, 0, 3 * 8 + 6, 0, 0]
    assert result.color.tolist() == [0x010203, 0, 0xFA0010, 0, 0]
    assert (result.label.dtype, result.color.dtype) == (np.uint8, np.uint32)


def test_unseen_points_can_be_left_out() -> None:
    points = np.float64([BEHIND, LEFT, BROKEN, RIGHT])
    labeler = PointLabeler(CLASSES, ZBuffer(), keep_unseen=False)
    result = labeler.label(points, CAMERA, IDENTITY, halves())
    np.testing.assert_array_equal(result.points, points[[1, 3]])
    assert result.label.tolist() == [0, 1]
    assert result.confidence.tolist() == [255, 255]
    assert result.color.tolist() == [0x010203, 0xFA0010]


@pytest.mark.parametrize('keep_unseen', [True, False])
def test_nothing_seen(keep_unseen: bool) -> None:
    labeler = PointLabeler(CLASSES, ZBuffer(), keep_unseen)
    result = labeler.label(np.float32([BEHIND]), CAMERA, IDENTITY, halves())
    assert result.label.tolist() == ([255] if keep_unseen else [])


def test_ids_beyond_a_byte_are_unlabelled_but_keep_their_colour() -> None:
    names = tuple(map(str, range(300)))
    classes = ClassSet(names, tuple((number % 256, 7, 0) for number in range(300)))
    mask = halves(left=254, right=299, dtype=np.uint16)
    result = PointLabeler(classes, None).label(np.float32([LEFT, RIGHT]), CAMERA, IDENTITY, mask)
    assert result.label.tolist() == [254, 255]
    assert result.color.tolist() == [254 << 16 | 7 << 8, 43 << 16 | 7 << 8]


def test_pose_takes_points_to_the_camera() -> None:
    pose = Transform.of_quaternion((0.4, 0, 0), (0, 0, 0, 1))
    labeler = PointLabeler(CLASSES, None)
    assert labeler.label(np.float32([LEFT]), CAMERA, pose, halves()).label.tolist() == [1]


def test_sizes_that_differ() -> None:
    labeler = PointLabeler(CLASSES, None)
    points = np.float32([LEFT])
    with pytest.raises(DataError, match=r'mask is \(6, 9\), .* for \(6, 8\)'):
        labeler.label(points, CAMERA, IDENTITY, np.zeros((6, 9), np.uint8))
    with pytest.raises(DataError, match=r'confidence is \(6, 9\)'):
        labeler.label(points, CAMERA, IDENTITY, halves(), np.zeros((6, 9), np.uint8))


@pytest.mark.parametrize('axis', [0, 1])
def test_a_pixel_reaches_half_a_pixel_around_its_centre(axis: int) -> None:
    """Along both axes, at both ends of the image."""
    size, center = (CAMERA.width, CAMERA.height)[axis], CAMERA.center[axis]
    edges = np.array([-0.51, -0.49, 0.49, 0.51, size - 0.51, size - 0.49])
    points = np.zeros((6, 3), np.float32)
    points[:, axis], points[:, 2] = (edges - center) / CAMERA.focal[axis], 1
    seen = find_seen(points, CAMERA, IDENTITY)
    assert seen.indices.tolist() == [1, 2, 3, 4]
    along, across = (seen.column, seen.row) if axis == 0 else (seen.row, seen.column)
    assert along.tolist() == [0, 0, 1, size - 1]
    assert across.tolist() == [CAMERA.center[1 - axis]] * 4


def test_blocks_are_put_together() -> None:
    count = 2 * BLOCK + 5
    points = np.tile(np.float32([LEFT, BEHIND, RIGHT]), (count // 3 + 1, 1))[:count]
    seen = find_seen(points, CAMERA, IDENTITY)
    np.testing.assert_array_equal(seen.indices, np.flatnonzero(points[:, 2] > 0))
    np.testing.assert_array_equal(seen.column, np.where(points[seen.indices, 0] < 0, 2, 6))


def seen_at(nearness: np.ndarray) -> Seen:
    """Return a point in the middle of each cell of 16 px, by its nearness (rows, columns)."""
    rows, columns = np.indices(nearness.shape, np.int32)
    return Seen(
        np.arange(nearness.size),
        columns.ravel() * 16 + 8,
        rows.ravel() * 16 + 8,
        nearness.ravel().astype(np.float32),
    )


def joined(*seen: Seen) -> Seen:
    return Seen(*map(np.concatenate, zip(*seen, strict=True)))


def test_points_behind_others_are_hidden() -> None:
    near, far = seen_at(np.full((4, 4), 1 / 5)), seen_at(np.full((4, 4), 1 / 6))
    visible = ZBuffer(4).find_visible(joined(far, near), 64, 64)
    assert visible.tolist() == [False] * 16 + [True] * 16


def test_points_within_the_tolerance_are_not() -> None:
    near, far = seen_at(np.full((4, 4), 1 / 5)), seen_at(np.full((4, 4), 1 / 5.2))
    assert ZBuffer(4, 0.05).find_visible(joined(far, near), 64, 64).all()
    assert not ZBuffer(4, 0.01).find_visible(joined(far, near), 64, 64).all()


def test_a_road_does_not_hide_itself() -> None:
    """Seen from 1.5 m above, a road is dense near the horizon and far from flat."""
    row = np.arange(40, 480, 2, dtype=np.int32)  # px below the horizon
    road = Seen(np.arange(220), np.zeros(220, np.int32) + 40, row, (row / 1500).astype(np.float32))
    across = [road._replace(column=road.column + 16 * step) for step in (-1, 0, 1)]
    visible = ZBuffer(6).find_visible(joined(*across), 480, 96)
    assert visible.mean() > 0.98


def test_a_pole_hides_what_is_behind() -> None:
    wall = seen_at(np.full((6, 9), 1 / 20))
    pole = np.flatnonzero(wall.column // 16 == 4)
    pole = wall.take(pole)._replace(nearness=np.full(6, 1 / 8, np.float32))
    visible = ZBuffer(9).find_visible(joined(wall, pole), 96, 144)
    hidden = np.append(wall.column // 16 == 4, [False] * 6)
    np.testing.assert_array_equal(visible, ~hidden)


def test_no_points() -> None:
    nothing = find_seen(np.zeros((0, 3), np.float32), CAMERA, IDENTITY)
    assert len(nothing.indices) == 0
    assert len(ZBuffer().find_visible(nothing, 6, 8)) == 0


@pytest.mark.parametrize('columns', [1, 3, 8, 1000])
def test_any_number_of_cells(columns: int) -> None:
    points = np.float32([LEFT, RIGHT, (-0.39, -0.29, 1), (0.34, 0.24, 1)])
    seen = find_seen(points, CAMERA, IDENTITY)
    assert ZBuffer(columns).find_visible(seen, 6, 8).tolist() == [True] * 4


def test_more_cells_than_16_bits_count() -> None:
    rows, columns = np.indices((300, 400), np.int32).reshape(2, -1)
    near = np.random.default_rng(0).uniform(0.5, 1, rows.size).astype(np.float32)
    front = Seen(np.arange(rows.size), columns, rows, near)
    behind = front._replace(nearness=near * np.float32(0.3))
    visible = ZBuffer(400).find_visible(joined(behind, front), 300, 400)
    np.testing.assert_array_equal(visible, np.arange(2 * rows.size) >= rows.size)


@given(
    points=st.lists(st.tuples(*[st.floats()] * 3), max_size=20),
    single=st.booleans(),
    near=st.booleans(),
)
def test_any_points_are_labelled_in_silence(
    points: list[tuple[float, ...]], single: bool, near: bool
) -> None:
    with np.errstate(all='ignore'):
        array = np.array(points).reshape(-1, 3).astype(np.float32 if single else np.float64)
        array = np.fmod(array, 2) if near else array
    labeler = PointLabeler(CLASSES, ZBuffer())
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        seen = find_seen(array, CAMERA, IDENTITY)
        result = labeler.label(array, CAMERA, IDENTITY, halves())
    assert ((seen.column >= 0) & (seen.column < 8) & (seen.row >= 0) & (seen.row < 6)).all()
    assert set(np.flatnonzero(result.label != 255)) <= set(seen.indices)
    assert np.isfinite(array[seen.indices]).all()
