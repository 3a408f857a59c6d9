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

"""PLY files of labelled points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from uhr_seg_ros.core.classes import CLASS_SETS
from uhr_seg_ros.core.errors import WriteError
from uhr_seg_ros.geometry.labeling import LabeledPoints
from uhr_seg_ros.replay.ply import read_ply, VERTEX, vertices_of, write_ply


def example() -> np.ndarray:
    rng = np.random.default_rng(4)
    vertices = np.empty(7, VERTEX)
    for name in VERTEX.names:
        vertices[name] = rng.integers(0, 256, 7)
    return vertices


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write_ply(tmp_path / 'cloud.ply', example())
    np.testing.assert_array_equal(read_ply(tmp_path / 'cloud.ply'), example())
    write_ply(tmp_path / 'none.ply', example()[:0])
    assert len(read_ply(tmp_path / 'none.ply')) == 0


def test_a_reader_that_knows_the_format_only(tmp_path: Path) -> None:
    write_ply(tmp_path / 'cloud.ply', example())
    header, _, body = (tmp_path / 'cloud.ply').read_bytes().partition(b'end_header\n')
    first, kind, element, *properties = header.decode().splitlines()
    assert (first, kind, element) == ('ply', 'format binary_little_endian 1.0', 'element vertex 7')
    types = {'float': '<f4', 'uchar': 'u1'}
    layout = [(name, types[kind]) for _, kind, name in map(str.split, properties)]
    found = np.frombuffer(body, layout)
    assert found.dtype.names == ('x', 'y', 'z', 'red', 'green', 'blue', 'label', 'confidence')
    np.testing.assert_array_equal(found['blue'], example()['blue'])
    np.testing.assert_array_equal(found['z'], example()['z'])


@pytest.mark.parametrize('damage', [lambda b: b[:-1], lambda b: b[:20], lambda b: b'ply' + b])
def test_other_files_are_refused(tmp_path: Path, damage: object) -> None:
    file = tmp_path / 'cloud.ply'
    write_ply(file, example())
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(WriteError, match=f'{file} is not a PLY file'):
        read_ply(file)


def test_points_of_the_node() -> None:
    pytest.importorskip('sensor_msgs', reason='sensor_msgs is not installed')
    from std_msgs.msg import Header

    from uhr_seg_ros.ros.messages.cloud import encode_cloud

    classes = CLASS_SETS['aerial']
    label = np.array([0, 2, 255], np.uint8)
    color = np.array([0xD63C36, 0x6E54A0, 0], np.uint32)
    points = np.arange(9, dtype=np.float32).reshape(3, 3)
    labeled = LabeledPoints(points, label, np.array([9, 255, 0], np.uint8), color)
    vertices = vertices_of(encode_cloud(labeled, Header(), 1, 3))
    for axis, name in enumerate('xyz'):
        np.testing.assert_array_equal(vertices[name], points[:, axis])
    np.testing.assert_array_equal(vertices['label'], label)
    np.testing.assert_array_equal(vertices['confidence'], [9, 255, 0])
    for index, row in ((0, vertices[0]), (2, vertices[1])):
        assert (row['red'], row['green'], row['blue']) == classes.colors[index]
