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

"""Windows that are read ahead are those that are asked for, and each is read once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, get_ident

import numpy as np
import pytest
from rasters import bands_of, colored, write_raster

from uhr_seg_ros.image_io.rasters import Raster, RasterWindow
from uhr_seg_ros.image_io.read_ahead import ReadAhead

rasterio = pytest.importorskip('rasterio', reason='rasters are read by rasterio')

Place = tuple[tuple[int, int], tuple[int, int]]
FIRST, SECOND, THIRD = ((0, 40), (0, 90)), ((40, 70), (0, 90)), ((10, 20), (30, 50))


@pytest.fixture
def image() -> np.ndarray:
    return colored(70, 90)


@pytest.fixture
def raster(tmp_path: Path, image: np.ndarray) -> Iterator[Raster]:
    with Raster(write_raster(tmp_path / 'a.tif', bands_of(image))) as raster:
        yield raster


def part(image: np.ndarray, place: Place) -> np.ndarray:
    return image[slice(*place[0]), slice(*place[1])]


def test_a_window_is_read_before_it_is_asked_for(
    raster: Raster, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Place, int]] = []
    is_read, read = Event(), raster.read

    def noted(*place: tuple[int, int]) -> RasterWindow:
        found = read(*place)
        seen.append(((place[0], place[1]), get_ident()))
        is_read.set()
        return found

    monkeypatch.setattr(raster, 'read', noted)
    with ReadAhead(raster) as ahead:
        assert (ahead(*FIRST).image == part(image, FIRST)).all()
        is_read.clear()
        ahead.expect(*SECOND)
        assert is_read.wait(30)
        assert (ahead(*SECOND).image == part(image, SECOND)).all()
        assert (ahead(*SECOND).image == part(image, SECOND)).all()
        ahead.expect(*FIRST)
        assert (ahead(*THIRD).image == part(image, THIRD)).all()
    assert [place for place, _ in seen] == [FIRST, SECOND, SECOND, FIRST, THIRD]
    assert len({thread for _, thread in seen} - {get_ident()}) == 1


def test_many_threads_may_ask(raster: Raster, image: np.ndarray) -> None:
    places = [((row, row + 9), (column, column + 7)) for row in range(50) for column in range(40)]
    with ReadAhead(raster) as ahead, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda place: ahead(*place).image, places))
    assert all(
        (window == part(image, place)).all() for window, place in zip(found, places, strict=True)
    )


def test_the_raster_is_closed_after_the_last_window(tmp_path: Path, image: np.ndarray) -> None:
    path = write_raster(tmp_path / 'b.tif', bands_of(np.tile(image, (20, 20, 1))))
    for _ in range(10):
        with Raster(path) as raster, ReadAhead(raster) as ahead:
            ahead.expect((0, 1400), (0, 1800))


def test_the_thread_reads_by_the_rules_of_rasters(
    raster: Raster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sources of a VRT are opened when they are read: nothing of the network, no code."""
    found = {}

    def noted(*_: object) -> RasterWindow:
        found.update(rasterio.env.getenv())
        return RasterWindow(np.zeros((1, 1, 3), np.uint8), np.ones((1, 1), bool))

    monkeypatch.setattr(raster, 'read', noted)
    with ReadAhead(raster) as ahead:
        ahead(*FIRST)
    assert found['GDAL_VRT_ENABLE_PYTHON'] in ('NO', False)
    assert found['CPL_VSIL_CURL_ALLOWED_EXTENSIONS'] == '.none'


def test_what_cannot_be_read_is_told_when_it_is_asked_for(
    raster: Raster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> RasterWindow:
        raise OSError('the disk is gone')

    with ReadAhead(raster) as ahead:
        monkeypatch.setattr(raster, 'read', broken)
        ahead.expect(*FIRST)
        with pytest.raises(OSError, match='the disk is gone'):
            ahead(*FIRST)
        monkeypatch.undo()
        assert ahead(*FIRST).valid.all()
