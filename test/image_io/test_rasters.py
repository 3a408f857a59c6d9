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

"""Rasters by windows: bands and values by rules, areas, and nothing of the network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rasters import bands_of, colored, write_raster

from uhr_seg_ros.core.errors import ConfigError, ImageError
from uhr_seg_ros.image_io.georeference import ground_pixel, is_georeferenced
from uhr_seg_ros.image_io.raster_bands import BandRules
from uhr_seg_ros.image_io.raster_files import raster_driver
from uhr_seg_ros.image_io.rasters import Raster

rasterio = pytest.importorskip('rasterio', reason='rasters are read by rasterio')


def whole(path: Path, rules: BandRules = BandRules()) -> np.ndarray:  # noqa: B008
    with Raster(path, rules) as raster:
        return raster.read((0, raster.size[0]), (0, raster.size[1])).image


def test_windows_of_colors(tmp_path: Path) -> None:
    image = colored(70, 90)
    path = write_raster(tmp_path / 'a.tif', bands_of(image))
    with Raster(path) as raster:
        window = raster.read((11, 60), (5, 90))
    assert (window.image == image[11:60, 5:90]).all()
    assert window.valid.all()


@pytest.mark.parametrize('resolution', [None, 1.0])
@pytest.mark.parametrize(
    ('rows', 'columns'),
    [
        ((20, 50), (10, 60)),
        ((-5, 12), (-7, 9)),
        ((-10, 90), (-10, 90)),
        ((30, 40), (-20, 0)),
        ((70, 95), (3, 9)),
        ((80, 90), (90, 95)),
    ],
    ids=['below', 'corner', 'around', 'left', 'under', 'far'],
)
def test_windows_off_the_raster(
    tmp_path: Path, rows: tuple[int, int], columns: tuple[int, int], resolution: float | None
) -> None:
    """What there is lies in its place, as it is; the rest is not valid."""
    path = write_raster(tmp_path / 'a.tif', bands_of(colored(70, 90)))
    if resolution:
        columns = columns[0] // 2, columns[1] // 2
    with Raster(path, BandRules(resolution=resolution)) as raster:
        height, width = raster.size
        expected = np.zeros((200, 200, 3), np.uint8)
        inner = slice(50, 50 + height), slice(50, 50 + width)
        expected[inner] = raster.read((0, height), (0, width)).image
        window = raster.read(rows, columns)
    valid = np.zeros((200, 200), bool)
    valid[inner] = True
    place = tuple(slice(50 + start, 50 + stop) for start, stop in (rows, columns))
    assert (window.valid == valid[place]).all()
    assert np.abs(window.image.astype(int) - expected[place]).max() <= (1 if resolution else 0)


@pytest.mark.parametrize('offset', [(50, -20), (-60, 40), (30, 40), (500, 500)])
def test_a_vrt_whose_sources_lie_beyond_it(tmp_path: Path, offset: tuple[int, int]) -> None:
    """They are cut at its borders; what none covers is nodata, if the VRT says so, else black."""
    image = np.maximum(colored(60, 80), 1)
    write_raster(tmp_path / 'a.tif', bands_of(image))
    left, top = offset
    band = """<VRTRasterBand dataType="Byte" band="{0}">{1}<SimpleSource>
      <SourceFilename relativeToVRT="1">a.tif</SourceFilename><SourceBand>{0}</SourceBand>
      <SrcRect xOff="0" yOff="0" xSize="80" ySize="60"/>
      <DstRect xOff="{2}" yOff="{3}" xSize="80" ySize="60"/></SimpleSource></VRTRasterBand>"""
    expected = np.zeros((90, 100, 3), np.uint8)
    target = expected[max(top, 0) : max(top + 60, 0), max(left, 0) : max(left + 80, 0)]
    target[:] = image[max(-top, 0) :, max(-left, 0) :][: target.shape[0], : target.shape[1]]
    for nodata in ('', '<NoDataValue>0</NoDataValue>'):
        bands = ''.join(band.format(number, nodata, left, top) for number in (1, 2, 3))
        path = tmp_path / 'a.vrt'
        path.write_text(f'<VRTDataset rasterXSize="100" rasterYSize="90">{bands}</VRTDataset>')
        with Raster(path) as raster:
            window = raster.read((5, 90), (10, 100))
            assert (window.image == expected[5:, 10:]).all()
            assert (window.valid == (expected[5:, 10:].any(2) if nodata else True)).all()
            assert not raster.damaged


def test_gray_palettes_and_named_bands(tmp_path: Path) -> None:
    values = np.arange(64, dtype=np.uint8).reshape(1, 8, 8)
    gray = write_raster(tmp_path / 'gray.tif', values)
    assert (whole(gray) == values[0][..., None]).all()
    with rasterio.open(write_raster(tmp_path / 'palette.tif', values), 'r+') as file:
        file.write_colormap(1, {index: (index, 2 * index, 200, 255) for index in range(64)})
    assert whole(tmp_path / 'palette.tif')[0, 5].tolist() == [200, 10, 5]
    bands = np.arange(4, dtype=np.uint8)[:, None, None].repeat(8, 1).repeat(8, 2)
    named = write_raster(tmp_path / 'named.tif', bands)
    with rasterio.open(named, 'r+') as file:
        colors = rasterio.enums.ColorInterp
        file.colorinterp = colors.undefined, colors.red, colors.green, colors.blue
    assert whole(named)[0, 0].tolist() == [3, 2, 1]
    assert whole(named, BandRules((1, 1, 4)))[0, 0].tolist() == [3, 0, 0]


def test_values_between_two_become_bytes(tmp_path: Path) -> None:
    values = np.array([[[-50, 0, 500, 1000, 3000]]], np.float32)
    values[0, 0, 2:3] = np.nan
    path = write_raster(tmp_path / 'a.tif', values)
    with Raster(path, BandRules(stretch=(0.0, 1000.0))) as raster:
        window = raster.read((0, 1), (0, 5))
    assert window.image[0, :, 0].tolist() == [0, 0, 0, 255, 255]
    assert window.valid[0].tolist() == [True, True, False, True, True]
    with pytest.raises(ConfigError, match='its bands are float32, expected uint8: --stretch'):
        Raster(path)


def test_percentiles_leave_nodata_out(tmp_path: Path) -> None:
    values = np.full((1, 100, 100), 9999, np.uint16)
    values[0, :50] = np.arange(100)
    path = write_raster(tmp_path / 'a.tif', values, nodata=9999)
    found = whole(path, BandRules(stretch='percentile'))
    assert found[0, [0, 2, 97, 99], 0].tolist() == [0, 0, 255, 255]
    assert int(found[0, 50, 0]) == pytest.approx(128, abs=2)


@pytest.mark.parametrize(
    ('epsg', 'transform'),
    [
        (32632, (0.5, 0, 5e5, 0, -0.5, 5e6)),
        (2263, (0.3, -0.4, 1e6, -0.4, -0.3, 2e5)),
        (3857, (1.0, 0, 0, 0, -1.0, 8_399_738.0)),
        (4326, (1e-6, 0, 7, 0, -1e-6, 60)),
    ],
)
def test_areas_are_those_of_our_own_reader(tmp_path: Path, epsg: int, transform: tuple) -> None:
    values = np.zeros((1, 20, 40), np.uint8)
    placed = {'crs': f'EPSG:{epsg}', 'transform': rasterio.Affine(*transform)}
    path = write_raster(tmp_path / 'a.tif', values, **placed)
    assert is_georeferenced(path)
    with Raster(path) as raster:
        assert raster.ground_pixel().m2 == pytest.approx(ground_pixel(path).m2, rel=1e-9)
        assert raster.ground_pixel().m2 > 0


@pytest.mark.parametrize(
    'source', ['/vsicurl/https://tiles.invalid/a.tif', 'https://tiles.invalid/a.tif', 'inner.vrt']
)
def test_nothing_of_the_network(tmp_path: Path, source: str) -> None:
    text = '<VRTDataset rasterXSize="9" rasterYSize="9"><VRTRasterBand dataType="Byte" band="1">'
    text += '<SimpleSource><SourceFilename relativeToVRT="1">{}</SourceFilename></SimpleSource>'
    text += '</VRTRasterBand></VRTDataset>'
    (tmp_path / 'inner.vrt').write_text(text.format('/vsis3/bucket/a.tif'))
    (tmp_path / 'a.vrt').write_text(text.format(source))
    with pytest.raises(ImageError, match='nothing is fetched from the network here'):
        Raster(tmp_path / 'a.vrt')


def test_formats_by_their_content(tmp_path: Path) -> None:
    path = tmp_path / 'a.tif'
    for content, driver in (
        (b'II+\0', 'GTiff'),
        (b'\xef\xbb\xbf<VRTDataset>', 'VRT'),
        (b'\0\0\0\x0cjP  \r\n\x87\n', 'JP2OpenJPEG'),
        (b'GIF89a', ''),
        (b'', ''),
    ):
        path.write_bytes(content)
        assert raster_driver(path) == driver
    with pytest.raises(ImageError, match='is none of GeoTIFF, VRT'):
        Raster(path)


def test_windows_at_another_resolution_meet(tmp_path: Path) -> None:
    """What lies at the border of a window is what lies there in the whole."""
    path = write_raster(tmp_path / 'a.tif', bands_of(colored(160, 200, side=7)))
    for resolution in (1.0, 0.8, 0.3):
        with Raster(path, BandRules(resolution=resolution)) as raster:
            height, width = raster.size
            together = raster.read((0, height), (0, width)).image
            part = raster.read((21, 70), (13, 60)).image
            difference = np.abs(part.astype(int) - together[21:70, 13:60])
            assert difference.max() <= 1
            ids = np.arange(height * width).reshape(height, width)
            pieces = np.full(raster.file_size, -1)
            for rows in ((0, 33), (33, height)):
                for columns in ((0, 41), (41, width)):
                    values, *place = raster.enlarged(
                        ids[slice(*rows), slice(*columns)], rows, columns
                    )
                    pieces[tuple(slice(*each) for each in place)] = values
            assert (pieces == raster.enlarged(ids, (0, height), (0, width))[0]).all()
            assert (pieces >= 0).all()
