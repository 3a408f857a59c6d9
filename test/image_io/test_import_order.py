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

"""How large a file may be does not depend on OpenCV's own limit, nor on who imported it first."""

from __future__ import annotations

from pathlib import Path
import subprocess
import sys

import cv2
import numpy as np
import pytest

READ = """
import sys
import cv2
from uhr_seg_ros.image_io import files, png
from uhr_seg_ros.core.errors import ImageError
png.AT_ONCE = int(sys.argv[1]) if len(sys.argv) > 1 else png.AT_ONCE
png.STRIP = min(png.AT_ONCE, png.STRIP)
from pathlib import Path
try:
    print(files.read_image(Path('a.png')).sum())
except ImageError as err:
    print(err)
"""


IMAGE = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)


def run(folder: Path, first: str, *arguments: str, **environment: str) -> str:
    assert cv2.imwrite(str(folder / 'a.png'), IMAGE)
    paths = [str(Path(__file__).parents[2]), *filter(None, sys.path)]
    result = subprocess.run(
        [sys.executable, '-c', first + READ, *arguments],
        cwd=folder,
        text=True,
        capture_output=True,
        check=True,
        env={'PYTHONPATH': ':'.join(paths), **environment},
    )
    return result.stdout


@pytest.mark.parametrize('first', ['import cv2', 'import uhr_seg_ros'])
def test_a_size_above_the_limit_of_opencv(tmp_path: Path, first: str) -> None:
    said = run(tmp_path, first, '20000', OPENCV_IO_MAX_IMAGE_PIXELS='30000')
    assert said == f'{IMAGE.sum()}\n'


def test_a_limit_of_the_user_is_told(tmp_path: Path) -> None:
    said = run(tmp_path, '', OPENCV_IO_MAX_IMAGE_PIXELS='1000')
    assert 'PNG is larger than this process lets OpenCV read' in said
    assert 'OPENCV_IO_MAX_IMAGE_PIXELS' in said


def test_no_limit_is_set_for_others(tmp_path: Path) -> None:
    ask = 'import os, uhr_seg_ros; print(os.environ.get("OPENCV_IO_MAX_IMAGE_PIXELS"))'
    assert run(tmp_path, ask).startswith('None\n')
