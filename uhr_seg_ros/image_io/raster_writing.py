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

"""Maps of any size, written block by block and closed as cloud-optimized GeoTIFF (COG)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter
from xml.etree import ElementTree

import numpy as np

from uhr_seg_ros.core.atomic_io import atomic_write, write_bytes
from uhr_seg_ros.core.errors import WriteError
from uhr_seg_ros.image_io.raster_files import CACHE_MB, rasterio_or_error
from uhr_seg_ros.image_io.raster_overviews import write_overviews

#: Of GDAL while a map is written.
_GDAL = {'GDAL_CACHEMAX': CACHE_MB, 'GDAL_NUM_THREADS': 'ALL_CPUS'}

#: Side of a block of the files, px.
BLOCK = 512
_WORK = {
    'driver': 'GTiff',
    'count': 1,
    'tiled': True,
    'blockxsize': BLOCK,
    'blockysize': BLOCK,
    'BIGTIFF': 'IF_SAFER',
}
_FINAL = {
    'driver': 'COG',
    'COMPRESS': 'DEFLATE',
    # Half the time of level 6, which makes masks a tenth smaller.
    'LEVEL': 5,
    'BLOCKSIZE': BLOCK,
    'BIGTIFF': 'IF_SAFER',
    'NUM_THREADS': 'ALL_CPUS',
}

Span = tuple[int, int]

#: How overviews of classes are made.
MODE = 'MODE'


@dataclass(frozen=True)
class MapForm:
    """
    What a map is beside its values.

    Attributes:
        size: height and width, px.
        dtype: of the values, `uint8` or `uint16`.
        nodata: value of pixels without one; None: all have one.
        crs: as of rasterio, or None.
        transform: as of affine, or None.
        colors: (N, 3) RGB of the values from 0; empty: no color table.
        tags: metadata.
        names: of the values from 0, GDAL's category names; empty: none.
        resampling: how overviews are made.

    """

    size: tuple[int, int]
    dtype: str
    nodata: int | None = None
    crs: Any = None
    transform: Any = None
    colors: Sequence[Sequence[int]] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    names: Sequence[str] = ()
    resampling: str = MODE


class WorkMap:
    """
    A map in the making: a plain GeoTIFF in which every block has its place from the beginning.

    So a block that was written stays readable whatever ends the process, and any order of blocks
    gives the same file.

    Args:
        path: of the file.
        form: of the map.
        resume: go on with the file if it is there.

    Raises:
        WriteError: it cannot be written.

    """

    def __init__(self, path: Path, form: MapForm, resume: bool) -> None:
        self.path, self._form = path, form
        self._rasterio = rasterio_or_error(f'{path}: writing it')
        if not (resume and path.exists()):
            with self._opened('w'):
                pass
            self._check_room()

    def _check_room(self) -> None:
        """Refuse a file that is shorter than its blocks: GDAL does not tell of a full disk."""
        height, width = self._form.size
        needed = height * width * np.dtype(self._form.dtype).itemsize
        if self.path.stat().st_size < needed:
            self.path.unlink()
            msg = (
                f'{self.path} cannot be written: the disk has no room for the '
                f'{-(-needed >> 20)} MiB that it takes until the end'
            )
            raise WriteError(msg)

    def write(self, values: np.ndarray, rows: Span, columns: Span) -> None:
        """Write a block, (h, w); it is in the file when this returns."""
        with self._opened('r+') as file:
            file.write(values, 1, window=(rows, columns))

    def thumbnail(self, size: tuple[int, int]) -> np.ndarray:
        """Read the map in small, (h, w), by the nearest pixels."""
        with self._opened('r') as file:
            return file.read(1, out_shape=size)

    def finish(self, path: Path) -> None:
        """
        Write the map as COG, with overviews, under its final name.

        A TIFF has no place for names of values: GDAL keeps them in a file beside it, `.aux.xml`.

        Raises:
            WriteError: it cannot be written.

        """
        from rasterio import shutil

        beside = _beside(path)
        with atomic_write(path) as unfinished, self._opened('r'):
            options = {**_FINAL, 'OVERVIEW_RESAMPLING': self._form.resampling}
            try:
                with self._told(path):
                    shutil.copy(str(self._described()), str(unfinished), **options)
                beside.unlink(missing_ok=True)  # of an earlier map
                if self._form.names:
                    write_bytes(beside, _beside(unfinished).read_bytes())
            finally:
                _beside(unfinished).unlink(missing_ok=True)

    def _described(self) -> Path:
        """Return a VRT of the map with the names of its values, and with overviews of classes."""
        from rasterio import shutil

        path = self.path.with_suffix('.vrt')
        shutil.copy(str(self.path), str(path), driver='VRT')
        tree = ElementTree.parse(path)
        for band in tree.iter('VRTRasterBand'):
            # Of rasterio, nothing writes names; a VRT may have them.
            names = ElementTree.SubElement(band, 'CategoryNames')
            for name in self._form.names:
                ElementTree.SubElement(names, 'Category').text = name
            if self._form.resampling == MODE:
                for small in write_overviews(self.path, BLOCK, _WORK):
                    overview = ElementTree.SubElement(band, 'Overview')
                    ElementTree.SubElement(overview, 'SourceFilename').text = str(small)
                    ElementTree.SubElement(overview, 'SourceBand').text = '1'
        tree.write(path, encoding='unicode')
        return path

    @contextmanager
    def _opened(self, mode: str) -> Iterator[Any]:
        with self._told(self.path), self._rasterio.Env(**_GDAL):
            if mode != 'w':
                with self._rasterio.open(self.path, mode) as file:
                    yield file
                return
            form = self._form
            placed = {'crs': form.crs, 'transform': form.transform, 'nodata': form.nodata}
            height, width = form.size
            with self._rasterio.open(
                self.path, 'w', height=height, width=width, dtype=form.dtype, **_WORK, **placed
            ) as file:
                if len(form.colors):
                    file.write_colormap(
                        1, {index: tuple(color) for index, color in enumerate(form.colors)}
                    )
                file.update_tags(**form.tags)
                yield file

    @contextmanager
    def _told(self, path: Path) -> Iterator[None]:
        from rasterio._err import CPLE_BaseError  # what `rasterio.shutil` raises of GDAL

        try:
            with catch_warnings():  # who has no coordinates was told
                simplefilter('ignore', self._rasterio.errors.NotGeoreferencedWarning)
                yield
        except (self._rasterio.errors.RasterioError, CPLE_BaseError) as err:
            msg = f'{path} cannot be written: {err}'
            raise WriteError(msg) from err


def _beside(path: Path) -> Path:
    """Return where GDAL keeps what a file of its format has no place for."""
    return path.with_name(f'{path.name}.aux.xml')
