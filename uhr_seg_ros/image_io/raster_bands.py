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

"""The bands of a raster: which become red, green and blue, and how their values become bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from uhr_seg_ros.core.errors import ConfigError, ImageError

#: Share of the values that lie below and above what `percentile` makes black and white, percent.
PERCENTILES = (2.0, 98.0)
PERCENTILE = 'percentile'
# Values per band that percentiles are taken of.
_SAMPLES = 1 << 20


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

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> BandRules:
        """
        Return the rules that the fields ``bands`` and ``stretch`` of a file say, if it has them.

        Raises:
            ConfigError: one of them is none.

        """
        bands, stretch = content.get('bands'), content.get('stretch')
        return cls(
            None if bands is None else read_bands(bands),
            None if stretch is None else read_stretch(stretch),
        )

    def fields(self) -> dict[str, Any]:
        """Return what `of` reads."""
        stretch = list(self.stretch) if isinstance(self.stretch, tuple) else self.stretch
        fields = {'bands': self.bands and list(self.bands), 'stretch': stretch}
        return {name: value for name, value in fields.items() if value is not None}

    @property
    def options(self) -> str:
        """Return the rules as options of commands."""
        words = []
        for name, value in self.fields().items():
            text = ','.join(f'{each:g}' for each in value) if isinstance(value, list) else value
            words.append(f'--{name} {text}')
        return ' '.join(words)


def read_bands(value: object) -> tuple[int, ...]:
    """
    Read which bands are red, green and blue, or the one that is gray.

    Args:
        value: a text such as ``4,3,2``, or a list of numbers from 1.

    Raises:
        ConfigError: it is something else.

    """
    numbers = _numbers(value)
    if len(numbers) in (1, 3) and all(each == int(each) and each >= 1 for each in numbers):
        return tuple(map(int, numbers))
    msg = f'{value!r} names no bands: expected three numbers from 1 such as 4,3,2, or one'
    raise ConfigError(msg)


def read_stretch(value: object) -> str | tuple[float, float]:
    """
    Read how values become bytes.

    Args:
        value: `PERCENTILE`; or what becomes black and white, a text such as ``0,4095`` or a list.

    Raises:
        ConfigError: it is something else.

    """
    if value == PERCENTILE:
        return PERCENTILE
    numbers = _numbers(value)
    if len(numbers) == 2 and numbers[0] < numbers[1]:
        return numbers[0], numbers[1]
    msg = f'{value!r} is no rule: expected {PERCENTILE}, or two numbers MIN,MAX such as 0,4095'
    raise ConfigError(msg)


def _numbers(value: object) -> list[float]:
    """Return finite numbers; none where something else is among them."""
    parts = value.split(',') if isinstance(value, str) else value
    if isinstance(parts, int | float):
        parts = [parts]
    if not isinstance(parts, list) or any(isinstance(each, bool) for each in parts):
        return []
    try:
        numbers = [float(each) for each in parts]
    except (TypeError, ValueError):
        return []
    return numbers if all(map(math.isfinite, numbers)) else []


class Bands:
    """
    What is read of an open raster.

    Args:
        path: of the file, for errors.
        file: opened by rasterio.
        rules: for its bands.
        limits: what `limits` was when the file was opened before; None: not known.

    Attributes:
        numbers: of the bands that are to be read, from 1.
        has_palette: whether their values are indices of colors.
        limits: what becomes black and white of every band, (bands, 2); None for bytes.

    Raises:
        ConfigError: the rules do not fit the bands.
        ImageError: percentiles of a damaged file.

    """

    def __init__(
        self, path: Path, file: Any, rules: BandRules, limits: np.ndarray | None = None
    ) -> None:
        self._path, self._file = path, file
        self.numbers = self._chosen(rules.bands)
        self._palette = self._palette_of(self.numbers)
        self.has_palette = self._palette is not None
        self.limits = self._limits_of(rules.stretch) if limits is None else limits

    def image_of(self, values: np.ndarray) -> np.ndarray:
        """Turn what was read, (bands, h, w), into (h, w, 3) uint8 BGR."""
        if self._palette is not None:
            return self._palette[values[0]]
        bands = (2, 1, 0) if len(values) > 1 else (0, 0, 0)
        return cv2.merge([self._in_bytes(values[band], band) for band in bands])

    def _chosen(self, wanted: tuple[int, ...] | None) -> tuple[int, ...]:
        count = self._file.count
        if wanted is not None:
            if max(wanted) > count:
                msg = (
                    f'{self._path} has {count} bands, --bands wants {max(wanted)}: name bands '
                    f'from 1 to {count}'
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
        from rasterio.errors import RasterioIOError

        if stretch is None:
            kinds = {self._file.dtypes[band - 1] for band in self.numbers}
            if kinds != {'uint8'}:
                msg = (
                    f'{self._path}: its bands are {", ".join(sorted(kinds))}, expected uint8: '
                    '--stretch percentile, or --stretch MIN,MAX with what becomes black and white'
                )
                raise ConfigError(msg)
            return None
        if isinstance(stretch, tuple):
            return np.tile(np.array(stretch), (len(self.numbers), 1))
        step = max(1.0, (self._file.height * self._file.width / _SAMPLES) ** 0.5)
        small = tuple(max(1, int(side / step)) for side in self._file.shape)
        try:
            sample = self._file.read(
                list(self.numbers), out_shape=(len(self.numbers), *small), masked=True
            )
        except RasterioIOError as err:
            msg = (
                f'{self._path}: --stretch percentile reads all of it, and it is damaged ({err}): '
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
        if self.limits is None:
            return values
        low, high = self.limits[band]
        scaled = (values.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
        return np.nan_to_num(np.clip(np.rint(scaled), 0, 255), nan=0).astype(np.uint8)
