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

"""Georeferenced rasters of any size, read by windows through GDAL (the package rasterio)."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from math import cosh, isfinite
import os
from pathlib import Path
import re
from types import ModuleType, TracebackType
from typing import Any

import numpy as np

from uhr_seg_ros.core.errors import ConfigError, ImageError
from uhr_seg_ros.image_io.georeference import (
    GroundPixel,
    m2_per_square_degree,
    RADIUS,
    WEB_MERCATOR,
)

#: What GDAL keeps of decoded blocks, MB; by default it would be 5 % of the machine's memory.
CACHE_MB = 96

#: Share of the values that lie below and above what `percentile` makes black and white, percent.
PERCENTILES = (2.0, 98.0)
PERCENTILE = 'percentile'
# Values per band that percentiles are taken of.
_SAMPLES = 1 << 20

#: How files begin -> format of GDAL. Others of its 150 may ask the network, or run programs.
_DRIVERS = {
    b'II*\0': 'GTiff',
    b'MM\0*': 'GTiff',
    b'II+\0': 'GTiff',
    b'MM\0+': 'GTiff',
    b'<VRTDataset': 'VRT',
    b'\0\0\0\x0cjP  \r\n': 'JP2OpenJPEG',
    b'\xff\x4f\xff\x51': 'JP2OpenJPEG',
    b'\x89PNG': 'PNG',
    b'\xff\xd8\xff': 'JPEG',
    b'BM': 'BMP',
}
#: Names that files have which GDAL alone reads.
GDAL_SUFFIXES = ('.vrt', '.jp2', '.j2k')

# What in a VRT leads to the network.
_NETWORK = re.compile(
    r'(/vsi(?:curl|s3|gs|az|adls|oss|swift|webhdfs|hdfs)\w*/|(?:https?|ftp|s3|gs)://|\bWM[ST]S?:)'
    r'[^<"]*'
)
_OPTIONS = {
    'GDAL_CACHEMAX': CACHE_MB,
    # A second net below `_check_local`: no file of the network ends like this.
    'CPL_VSIL_CURL_ALLOWED_EXTENSIONS': '.none',
    'GDAL_HTTP_MAX_RETRY': 0,
}


@dataclass(frozen=True)
class BandRules:
    """
    Which bands of a raster become red, green and blue, how their values bytes, and how large.

    Attributes:
        bands: numbers of three bands, or of one for gray, from 1; None: those that the file
            calls red, green and blue, else the first three, or the only one.
        stretch: `PERCENTILE`, or what becomes black and white; None: values are bytes already.
        resolution: side of the pixels that are seen, m of the ground; None: those of the file.

    """

    bands: tuple[int, ...] | None = None
    stretch: str | tuple[float, float] | None = None
    resolution: float | None = None

    def __bool__(self) -> bool:
        return self != BandRules()


@dataclass(frozen=True)
class RasterWindow:
    """
    A part of a raster.

    Attributes:
        image: (h, w, 3) uint8 BGR; black where nothing could be read.
        valid: (h, w) bool, False for nodata, transparent pixels and what could not be read.

    """

    image: np.ndarray
    valid: np.ndarray


def rasterio_or_error(what: str) -> ModuleType:
    """
    Import rasterio.

    Args:
        what: begins the text of the error.

    Raises:
        ConfigError: it is missing; says how to get it.

    """
    try:
        import rasterio
    except ImportError as err:
        msg = f"{what} needs rasterio ({err}): pip install 'uhr_seg_ros[rasters]'"
        raise ConfigError(msg) from err
    return rasterio


def raster_driver(path: Path) -> str:
    """Return which format of GDAL a file has by its content; empty: none that is read."""
    try:
        with path.open('rb') as file:
            head = file.read(64).lstrip(b'\xef\xbb\xbf \r\n\t')
    except OSError as err:
        msg = f'{path} cannot be read: {err.strerror}'
        raise ImageError(msg) from err
    return next((name for magic, name in _DRIVERS.items() if head.startswith(magic)), '')


class Raster:
    """
    An open raster; a context manager, for one thread.

    Args:
        path: a local file. Nothing of the network is read, not even by way of a VRT.
        rules: for its bands.

    Attributes:
        size: height and width as it is seen, px; see `BandRules.resolution`.
        file_size: height and width of the file, px.
        damaged: blocks of the file, by row and column, that could not be read so far.

    Raises:
        ConfigError: rasterio is missing, or the rules do not fit the bands.
        ImageError: it cannot be opened, or leads to the network.

    """

    def __init__(self, path: Path, rules: BandRules = BandRules()) -> None:  # noqa: B008
        self.path = path
        self._rasterio = rasterio_or_error(f'{path}: reading it by windows')
        self.damaged: set[tuple[int, int]] = set()
        self._stack = ExitStack()
        try:
            self._open(rules)
        except BaseException:
            self._stack.close()
            raise

    def _open(self, rules: BandRules) -> None:
        if not raster_driver(self.path):
            msg = f'{self.path} is none of GeoTIFF, VRT, JPEG 2000, PNG, JPEG and BMP'
            raise ImageError(msg)
        _check_local(self.path)
        self._stack.enter_context(self._rasterio.Env(**_OPTIONS))
        try:
            opened = self._rasterio.open(
                os.path.abspath(self.path), driver=raster_driver(self.path)
            )
        except (self._rasterio.errors.RasterioError, ValueError) as err:
            msg = f'{self.path} cannot be read as a raster: {err}'
            raise ImageError(msg) from err
        self._file = self._stack.enter_context(opened)
        self.file_size: tuple[int, int] = (self._file.height, self._file.width)
        self.size = self._seen_size(rules.resolution)
        self._bands = self._chosen(rules.bands)
        self._palette = self._palette_of(self._bands)
        self._is_masked = any(
            flag.name != 'all_valid' for flags in self._file.mask_flag_enums for flag in flags
        )
        self._limits = self._limits_of(rules.stretch)

    def enlarged(
        self, values: np.ndarray, rows: tuple[int, int], columns: tuple[int, int]
    ) -> tuple[np.ndarray, tuple[int, int], tuple[int, int]]:
        """
        Bring a window of results to the size of the file, by the nearest of its pixels.

        Args:
            values: (h, w).
            rows: of the window, px as of `size`.
            columns: of the window, px as of `size`.

        Returns:
            The values, and their rows and columns in the file.

        """
        if self.size == self.file_size:
            return values, rows, columns
        spans, places = [], []
        for (start, stop), seen, length in zip(
            (rows, columns), self.size, self.file_size, strict=True
        ):
            # A pixel of the file takes the one that its center lies in.
            edges = [-(-(2 * edge * length - seen) // (2 * seen)) for edge in (start, stop)]
            centers = 2 * np.arange(*edges) + 1
            spans.append((edges[0], edges[1]))
            places.append(centers * seen // (2 * length) - start)
        return values[np.ix_(*places)], spans[0], spans[1]

    @property
    def crs(self) -> Any:
        """The coordinate reference system as of rasterio; None without one."""
        return self._file.crs

    @property
    def transform(self) -> Any:
        """From columns and rows to the map, as of affine; None where the file has none."""
        transform = self._file.transform
        return None if transform.is_identity else transform

    def read(self, rows: tuple[int, int], columns: tuple[int, int]) -> RasterWindow:
        """
        Read a window; what is damaged in it is not valid, and noted in `damaged`.

        Args:
            rows: first row and end, px, inside of the raster.
            columns: first column and end, px.

        """
        try:
            return self._read(rows, columns)
        except self._rasterio.errors.RasterioIOError:
            return self._read_what_can_be(rows, columns)

    def ground_pixel(self) -> GroundPixel:
        """Return how much ground a pixel covers, as `georeference.ground_pixel`."""
        transform, crs = self.transform, self.crs
        if transform is None:
            return GroundPixel()
        if crs is None:
            return GroundPixel(reason='its georeference names no coordinate system')
        height, width = self.file_size
        area = abs(transform.determinant)
        northing = transform.d * width / 2 + transform.e * height / 2 + transform.f
        if crs.is_geographic:
            if abs(northing) > 90:
                return GroundPixel(reason='its georeference is geographic, but not in degrees')
            area *= m2_per_square_degree(northing)
        elif crs.is_projected:
            unit = crs.linear_units_factor[1]
            area *= unit**2
            if crs.to_epsg() in WEB_MERCATOR:
                area /= cosh(northing * unit / RADIUS) ** 2
        else:
            return GroundPixel(reason='its georeference names no unit of length that is known')
        if not isfinite(area) or area <= 0:
            return GroundPixel(reason=f'its georeference gives a pixel {area} m2')
        return GroundPixel(area)

    def __enter__(self) -> Raster:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _read(self, rows: tuple[int, int], columns: tuple[int, int]) -> RasterWindow:
        shape = rows[1] - rows[0], columns[1] - columns[0]
        window = self._window(rows, columns)
        seen: dict[str, Any] = {}
        if self.size != self.file_size:
            is_smaller = self.size[0] < self.file_size[0]
            resampling = self._rasterio.enums.Resampling
            kind = resampling.average if is_smaller and self._palette is None else None
            kind = resampling.nearest if self._palette is not None else kind
            seen = {'resampling': kind or resampling.bilinear}
        bands = list(self._bands)
        values = self._file.read(bands, window=window, out_shape=(len(bands), *shape), **seen)
        if self._is_masked:
            valid = self._file.dataset_mask(window=window, out_shape=shape) > 0
        else:
            valid = np.ones(shape, bool)
        if values.dtype.kind == 'f':
            valid &= np.isfinite(values).any(0)
        image = np.empty((*shape, 3), np.uint8)
        if self._palette is not None:
            image[:] = self._palette[values[0]]
            return RasterWindow(image, valid)
        for channel in range(3):
            band = 2 - channel if len(values) > 1 else 0
            image[..., channel] = self._in_bytes(values[band], band)
        return RasterWindow(image, valid)

    def _window(self, rows: tuple[int, int], columns: tuple[int, int]) -> Any:
        """Return a window of what is seen as one of the file."""
        (top, bottom), (left, right) = (
            (start * length / seen, stop * length / seen)
            for (start, stop), seen, length in zip(
                (rows, columns), self.size, self.file_size, strict=True
            )
        )
        return self._rasterio.windows.Window(left, top, right - left, bottom - top)

    def _seen_size(self, resolution: float | None) -> tuple[int, int]:
        height, width = self.file_size
        if resolution is None:
            return height, width
        ground = self.ground_pixel()
        if not ground.m2:
            msg = (
                f'{self.path}: --target-resolution needs the size of its pixels on the ground: '
                f'{ground.reason or "it has no coordinates"}'
            )
            raise ConfigError(msg)
        factor = ground.m2**0.5 / resolution
        return max(1, round(height * factor)), max(1, round(width * factor))

    def _read_what_can_be(self, rows: tuple[int, int], columns: tuple[int, int]) -> RasterWindow:
        """Read block by block of the file and leave out those that cannot be read."""
        shape = rows[1] - rows[0], columns[1] - columns[0]
        whole = RasterWindow(np.zeros((*shape, 3), np.uint8), np.zeros(shape, bool))
        high, wide = (
            max(1, side * seen // length)
            for side, seen, length in zip(
                self._file.block_shapes[self._bands[0] - 1],
                self.size,
                self.file_size,
                strict=True,
            )
        )
        for row in range(rows[0] // high, -(-rows[1] // high)):
            for column in range(columns[0] // wide, -(-columns[1] // wide)):
                part = (
                    (max(row * high, rows[0]), min((row + 1) * high, rows[1])),
                    (max(column * wide, columns[0]), min((column + 1) * wide, columns[1])),
                )
                try:
                    found = self._read(*part)
                except self._rasterio.errors.RasterioIOError:
                    self.damaged.add((row, column))
                    continue
                place = tuple(
                    slice(start - first, stop - first)
                    for (start, stop), (first, _) in zip(part, (rows, columns), strict=True)
                )
                whole.image[place], whole.valid[place] = found.image, found.valid
        return whole

    def _chosen(self, wanted: tuple[int, ...] | None) -> tuple[int, ...]:
        count = self._file.count
        if wanted is not None:
            if max(wanted) > count:
                msg = (
                    f'{self.path} has {count} bands, --bands wants {max(wanted)}: name bands from '
                    f'1 to {count}'
                )
                raise ConfigError(msg)
            return wanted
        colors = [each.name for each in self._file.colorinterp]
        if all(name in colors for name in ('red', 'green', 'blue')):
            return tuple(colors.index(name) + 1 for name in ('red', 'green', 'blue'))
        if count >= 3:
            return 1, 2, 3
        return (1,)

    def _palette_of(self, bands: tuple[int, ...]) -> np.ndarray | None:
        """Return the colors of a band of indices, (256 or 65536, 3) uint8 BGR."""
        kind = self._file.colorinterp[bands[0] - 1].name
        if len(bands) > 1 or kind != 'palette':
            return None
        palette = np.zeros((1 << 16, 3), np.uint8)
        for index, color in self._file.colormap(bands[0]).items():
            palette[index] = color[2::-1]
        return palette

    def _limits_of(self, stretch: str | tuple[float, float] | None) -> np.ndarray | None:
        """Return what becomes black and white of every band, (bands, 2); None for bytes."""
        if self._palette is not None:
            return None
        if stretch is None:
            kinds = {self._file.dtypes[band - 1] for band in self._bands}
            if kinds != {'uint8'}:
                msg = (
                    f'{self.path}: its bands are {", ".join(sorted(kinds))}, expected uint8: '
                    '--stretch percentile, or --stretch MIN,MAX with what becomes black and white'
                )
                raise ConfigError(msg)
            return None
        if isinstance(stretch, tuple):
            return np.tile(np.float64(stretch), (len(self._bands), 1))
        step = max(1.0, (self.size[0] * self.size[1] / _SAMPLES) ** 0.5)
        small = tuple(max(1, int(side / step)) for side in self.size)
        try:
            sample = self._file.read(
                list(self._bands), out_shape=(len(self._bands), *small), masked=True
            )
        except self._rasterio.errors.RasterioIOError as err:
            msg = (
                f'{self.path}: --stretch percentile reads all of it, and it is damaged ({err}): '
                'give --stretch MIN,MAX'
            )
            raise ImageError(msg) from err
        limits = []
        for band in np.ma.masked_invalid(sample):
            values = band.compressed()
            low, high = np.percentile(values, PERCENTILES) if values.size else (0.0, 1.0)
            limits.append((low, high if high > low else low + 1))
        return np.array(limits)

    def _in_bytes(self, values: np.ndarray, band: int) -> np.ndarray:
        if self._limits is None:
            return values
        low, high = self._limits[band]
        scaled = (values.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
        return np.nan_to_num(np.clip(np.rint(scaled), 0, 255), nan=0).astype(np.uint8)


def _check_local(path: Path, seen: frozenset[str] = frozenset()) -> None:
    """Refuse a VRT that leads to the network, by way of other ones too."""
    place = os.path.abspath(path)
    if place in seen or raster_driver(path) != 'VRT':
        return
    try:
        text = Path(place).read_text(encoding='utf-8', errors='replace')
    except OSError as err:
        msg = f'{path} cannot be read: {err.strerror}'
        raise ImageError(msg) from err
    if found := _NETWORK.search(text):
        msg = (
            f'{path} leads to {found[0]!r}, and nothing is fetched from the network here: '
            'download it, and let the VRT name the local file'
        )
        raise ImageError(msg)
    for source in re.findall(r'<SourceFilename[^>]*>([^<]+)<', text):
        inner = Path(os.path.join(os.path.dirname(place), source.strip()))
        if inner.is_file():
            _check_local(inner, seen | {place})
