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

"""Labelled points as PLY files, which CloudCompare, MeshLab and PCL open."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from uhr_seg_ros.core.atomic_io import write_bytes
from uhr_seg_ros.core.errors import WriteError

if TYPE_CHECKING:
    from sensor_msgs.msg import PointCloud2

VERTEX = np.dtype(
    [
        ('x', '<f4'),
        ('y', '<f4'),
        ('z', '<f4'),
        ('red', 'u1'),
        ('green', 'u1'),
        ('blue', 'u1'),
        ('label', 'u1'),
        ('confidence', 'u1'),
    ]
)
"""A point of a file: m, and what the node publishes of it."""

_NAMES = {'<f4': 'float', '|u1': 'uchar'}

# Of sensor_msgs/PointField, as far as the node publishes them.
_TYPES = {2: 'u1', 7: 'f4'}


def vertices_of(cloud: PointCloud2) -> np.ndarray:
    """
    Return the points of a cloud that the node has labeled, (N,) `VERTEX`.

    Args:
        cloud: with the fields x, y, z, rgb, label and confidence.

    """
    order = '>' if cloud.is_bigendian else '<'
    layout = np.dtype(
        {
            'names': [field.name for field in cloud.fields],
            'formats': [order + _TYPES[field.datatype] for field in cloud.fields],
            'offsets': [field.offset for field in cloud.fields],
            'itemsize': cloud.point_step,
        }
    )
    points = np.frombuffer(cloud.data, layout)
    vertices = np.empty(len(points), VERTEX)
    for name in ('x', 'y', 'z', 'label', 'confidence'):
        vertices[name] = points[name]
    # The bits of this float are 0x00RRGGBB.
    color = points['rgb'].view(f'{order}u4')
    for name, shift in (('red', 16), ('green', 8), ('blue', 0)):
        vertices[name] = color >> shift & 255
    return vertices


def write_ply(path: Path, vertices: np.ndarray) -> None:
    """Write points (N,) `VERTEX` as a binary file, which appears complete or not at all."""
    write_bytes(path, _header(len(vertices)) + vertices.tobytes(), durable=False)


def read_ply(path: Path) -> np.ndarray:
    """
    Read what `write_ply` has written.

    Returns:
        (N,) `VERTEX`.

    Raises:
        WriteError: it is another file, or cut short.

    """
    content = path.read_bytes()
    start = content.find(b'end_header\n') + len(b'end_header\n')
    count, rest = divmod(len(content) - start, VERTEX.itemsize)
    if rest or content[:start] != _header(count):
        msg = f'{path} is not a PLY file of labeled points, or cut short: make it again'
        raise WriteError(msg)
    return np.frombuffer(content, VERTEX, offset=start)


def _header(count: int) -> bytes:
    lines = ['ply', 'format binary_little_endian 1.0', f'element vertex {count}']
    lines += [f'property {_NAMES[VERTEX[name].str]} {name}' for name in VERTEX.names or ()]
    return '\n'.join([*lines, 'end_header', '']).encode('ascii')
