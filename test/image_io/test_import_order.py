# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""How large a file may be does not depend on who imported OpenCV first."""

from __future__ import annotations

from pathlib import Path
import struct
import subprocess
import sys

from making import chunk
import pytest

READ = """
import cv2
from uhr_seg_ros.image_io import opencv
from uhr_seg_ros.core.errors import ImageError
try:
    opencv.decode(open('a.png', 'rb').read(), cv2.IMREAD_GRAYSCALE, 'PNG')
except ImageError as err:
    print(err)
"""
#: What is said of a size that OpenCV accepts: there are no pixels, so that no memory is taken.
ACCEPTED = 'PNG (45 bytes) cannot be decoded: damaged or incomplete'


def write_header(path: Path, side: int) -> None:
    header = chunk(b'IHDR', struct.pack('>IIBBBBB', side, side, 8, 0, 0, 0, 0))
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + header + chunk(b'IDAT', b''))


def run(folder: Path, first: str, **environment: str) -> str:
    paths = [str(Path(__file__).parents[2]), *filter(None, sys.path)]
    result = subprocess.run(
        [sys.executable, '-c', first + READ],
        cwd=folder,
        text=True,
        capture_output=True,
        check=True,
        env={'PYTHONPATH': ':'.join(paths), **environment},
    )
    return result.stdout


@pytest.mark.parametrize('first', ['import cv2', 'import uhr_seg_ros.ros'])
def test_a_size_above_the_limit_of_messages(tmp_path: Path, first: str) -> None:
    write_header(tmp_path / 'a.png', 16400)
    assert ACCEPTED in run(tmp_path, first)


def test_a_size_above_the_usual_limit_of_opencv(tmp_path: Path) -> None:
    write_header(tmp_path / 'a.png', 33000)
    assert ACCEPTED in run(tmp_path, 'import uhr_seg_ros')
    said = run(tmp_path, 'import cv2')
    assert 'PNG is larger than this process lets OpenCV read: import uhr_seg_ros before' in said


def test_a_limit_of_the_user_is_told(tmp_path: Path) -> None:
    write_header(tmp_path / 'a.png', 100)
    said = run(tmp_path, '', OPENCV_IO_MAX_IMAGE_PIXELS='1000')
    assert 'PNG is larger than this process lets OpenCV read' in said
    assert 'OPENCV_IO_MAX_IMAGE_PIXELS' in said
