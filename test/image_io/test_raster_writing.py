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

"""Maps on a full disk: known before the work, and nothing half under the final name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_disk import SmallDisk

from uhr_seg_ros.core.errors import WriteError
from uhr_seg_ros.image_io.raster_overviews import reduced
from uhr_seg_ros.image_io.raster_writing import MapForm, WorkMap

pytest.importorskip('rasterio', reason='maps are written by rasterio')


def test_a_disk_without_room_is_told_before_the_work(small_disk: SmallDisk) -> None:
    path = small_disk.path / 'work.tif'
    with pytest.raises(WriteError, match='the disk has no room for the 2 MiB'):
        WorkMap(path, MapForm((1200, 1200), 'uint8', 255), resume=False)
    assert not path.exists()


def test_a_disk_that_is_full_at_the_end(small_disk: SmallDisk, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 250, (800, 800), np.uint8)
    work = WorkMap(tmp_path / 'work.tif', MapForm((800, 800), 'uint8', 255), resume=False)
    work.write(noise, (0, 800), (0, 800))
    with pytest.raises(WriteError, match='mask.tif cannot be written'):
        work.finish(small_disk.path / 'mask.tif')
    assert not list(small_disk.path.iterdir())
    work.finish(tmp_path / 'mask.tif')


def test_overviews_show_the_most_frequent_class(tmp_path: Path) -> None:
    rasterio = pytest.importorskip('rasterio', reason='maps are written by rasterio')
    ids = np.array([[1, 2, 9, 9, 5], [3, 3, 9, 4, 5], [7, 9, 9, 9, 9]], np.uint8)
    assert reduced(ids, 9).tolist() == [[3, 4, 5], [7, 9, 9]]
    assert reduced(ids, None).tolist() == [[3, 9, 5], [7, 9, 9]]
    noise = np.random.default_rng(0).integers(0, 4, (1100, 1301), np.uint8)
    noise[:600] = noise[:300].repeat(2, 0)
    noise[700:, 900:] = 255
    work = WorkMap(tmp_path / 'work.tif', MapForm(noise.shape, 'uint8', 255), resume=False)
    work.write(noise, (0, 1100), (0, 1301))
    work.finish(tmp_path / 'mask.tif')
    level = noise
    for index in range(2):
        level = reduced(level, 255)
        with rasterio.open(tmp_path / 'mask.tif', overview_level=index) as file:
            assert (file.read(1) == level).all()
    with rasterio.open(tmp_path / 'mask.tif') as file:
        assert (file.read(1) == noise).all()
        assert file.overviews(1) == [2, 4]
        assert file.tags(ns='IMAGE_STRUCTURE')['LAYOUT'] == 'COG'
