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

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import cosh, isfinite
import os
from pathlib import Path
from types import TracebackType
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np

from uhr_seg_ros.core.errors import ConfigError, ImageError
from uhr_seg_ros.image_io.georeference import (
    GroundPixel,
    m2_per_square_degree,
    RADIUS,
    WEB_MERCATOR,
)
from uhr_seg_ros.image_io.raster_bands import BandRules, Bands
from uhr_seg_ros.image_io.raster_files import (
    check_local,
    raster_driver,
    rasterio_or_error,
    READ_OPTIONS,
)


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


class Raster:
    """
    An open raster; a context manager, for one thread.

    Args:
        path: a local file. Nothing of the network is read, not even by way of a VRT.
        rules: for its bands.
        limits: what `limits` was when the same file was opened before by these rules; None: it is
            not known, and percentiles are looked for.

    Attributes:
        size: height and width as it is seen, px; see `BandRules.resolution`.
        file_size: height and width of the file, px.
        damaged: blocks of the file, by row and column, that could not be read so far.

    Raises:
        ConfigError: rasterio is missing, or the rules do not fit the bands.
        ImageError: it cannot be opened, or leads to the network.

    """

    def __init__(
        self,
        path: Path,
        rules: BandRules = BandRules(),  # noqa: B008 - it cannot change
        limits: np.ndarray | None = None,
    ) -> None:
        self.path = path
        self._rasterio = rasterio_or_error(f'{path}: reading it by windows')
        self.damaged: set[tuple[int, int]] = set()
        self._stack = ExitStack()
        try:
            self._open(rules, limits)
        except BaseException:
            self._stack.close()
            raise

    def _open(self, rules: BandRules, limits: np.ndarray | None) -> None:
        if not raster_driver(self.path):
            msg = f'{self.path} is none of GeoTIFF, VRT, JPEG 2000, PNG, JPEG and BMP'
            raise ImageError(msg)
        check_local(self.path)
        self._stack.enter_context(self._rasterio.Env(**READ_OPTIONS))
        try:
            with catch_warnings():  # what lacks coordinates is told by who needs them
                simplefilter('ignore', self._rasterio.errors.NotGeoreferencedWarning)
                place = os.path.abspath(self.path)
                opened = self._rasterio.open(place, driver=raster_driver(self.path))
        except (self._rasterio.errors.RasterioError, ValueError) as err:
            msg = f'{self.path} cannot be read as a raster: {err}'
            raise ImageError(msg) from err
        self._file = self._stack.enter_context(opened)
        self.file_size: tuple[int, int] = (self._file.height, self._file.width)
        self.size = self._seen_size(rules.resolution)
        self._is_masked = any(
            flag.name != 'all_valid' for flags in self._file.mask_flag_enums for flag in flags
        )
        self._bands = Bands(self.path, self._file, rules, limits)

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
    def limits(self) -> np.ndarray | None:
        """What becomes black and white of every band, (bands, 2); None for bytes."""
        return self._bands.limits

    @property
    def files(self) -> list[Path]:
        """The files that it is made of: its own, those beside it, those that a VRT joins."""
        return [Path(each) for each in self._file.files]

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
        Read a window; what lies off the raster is not valid.

        What is damaged is not valid either, and noted in `damaged`.

        Args:
            rows: first row and end, px.
            columns: first column and end, px.

        """
        inside = [
            (min(max(start, 0), length), max(min(stop, length), 0))
            for (start, stop), length in zip((rows, columns), self.size, strict=True)
        ]
        if inside != [rows, columns]:  # GDAL would stretch what there is
            return self._read_beyond(rows, columns, inside)
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

    def _read_beyond(
        self, rows: tuple[int, int], columns: tuple[int, int], inside: list[tuple[int, int]]
    ) -> RasterWindow:
        """Read what lies inside of the raster, and leave the rest black."""
        whole = _nothing((rows[1] - rows[0], columns[1] - columns[0]))
        if all(start < stop for start, stop in inside):
            found = self.read(*inside)
            place = _place(inside, (rows, columns))
            whole.image[place], whole.valid[place] = found.image, found.valid
        return whole

    def _read(self, rows: tuple[int, int], columns: tuple[int, int]) -> RasterWindow:
        shape = rows[1] - rows[0], columns[1] - columns[0]
        window = self._window(rows, columns)
        seen: dict[str, Any] = {}
        if self.size != self.file_size:
            seen = {'resampling': self._rasterio.enums.Resampling[self._resampling]}
        bands = list(self._bands.numbers)
        values = self._file.read(bands, window=window, out_shape=(len(bands), *shape), **seen)
        if self._is_masked:
            valid = self._file.dataset_mask(window=window, out_shape=shape) > 0
        else:
            valid = np.ones(shape, bool)
        if values.dtype.kind == 'f':
            valid &= np.isfinite(values).any(0)
        return RasterWindow(self._bands.image_of(values), valid)

    @property
    def _resampling(self) -> str:
        if self._bands.has_palette:
            return 'nearest'
        return 'average' if self.size[0] < self.file_size[0] else 'bilinear'

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
        whole = _nothing((rows[1] - rows[0], columns[1] - columns[0]))
        high, wide = (
            max(1, side * seen // length)
            for side, seen, length in zip(
                self._file.block_shapes[self._bands.numbers[0] - 1],
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
                place = _place(part, (rows, columns))
                whole.image[place], whole.valid[place] = found.image, found.valid
        return whole


def _nothing(shape: tuple[int, int]) -> RasterWindow:
    return RasterWindow(np.zeros((*shape, 3), np.uint8), np.zeros(shape, bool))


def _place(
    part: Sequence[tuple[int, int]], whole: Sequence[tuple[int, int]]
) -> tuple[slice, slice]:
    """Return where a part of a window lies in it."""
    rows, columns = (
        slice(start - first, stop - first)
        for (start, stop), (first, _) in zip(part, whole, strict=True)
    )
    return rows, columns
