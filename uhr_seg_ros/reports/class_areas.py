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

"""`summary.csv` of `uhr_seg segment`: pixels, shares and square meters of classes by image."""

from __future__ import annotations

from collections.abc import Sequence
import csv
from dataclasses import asdict, dataclass
import io
from pathlib import Path
from typing import Any

import numpy as np

from uhr_seg_ros.core.atomic_io import write_bytes
from uhr_seg_ros.core.errors import WriteError

SUMMARY = 'summary.csv'

# Pixels that are counted at once: counting turns them into 8 bytes each.
_AT_ONCE = 1 << 20
_FIRST_COLUMNS = ('image', 'source', 'width', 'height')


@dataclass(frozen=True)
class ImageAreas:
    """
    What a mask holds.

    Attributes:
        name: of its files, without what tells them apart.
        source: the image, or the recording and the place in it.
        width: px.
        height: px.
        pixels: of every class, in the order of their ids.
        m2_per_pixel: square meters of the ground; 0 where they are not known.
    """

    name: str
    source: str
    width: int
    height: int
    pixels: list[int]
    m2_per_pixel: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the attributes by their names, as `ImageAreas(**...)` takes them."""
        return asdict(self)


def count_pixels(mask: np.ndarray, classes: int) -> list[int]:
    """
    Count the pixels of every class.

    Args:
        mask: (H, W) uint8 or uint16 class ids; others are those without a class.
        classes: how many there are.
    """
    counts = np.zeros(classes, np.int64)
    rows = max(1, _AT_ONCE // max(1, mask.shape[1]))
    for top in range(0, mask.shape[0], rows):
        part = np.bincount(mask[top : top + rows].ravel(), minlength=classes)
        counts += part[:classes]
    return counts.tolist()


class AreaSummary:
    """
    Rows of images and their totals.

    Args:
        classes: names of the classes.

    Attributes:
        rows: of the images so far.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = classes
        self.rows: list[ImageAreas] = []

    @property
    def pixels(self) -> np.ndarray:
        """Pixels of every class in all images, (C,) int64."""
        return sum((np.array(row.pixels) for row in self.rows), np.zeros(len(self._classes), int))

    @property
    def m2(self) -> np.ndarray | None:
        """Square meters of every class in the images where they are known; None without any."""
        known = [np.array(row.pixels) * row.m2_per_pixel for row in self.rows if row.m2_per_pixel]
        return sum(known) if known else None  # type: ignore[return-value]  # not 0 of int

    def lines(self) -> list[str]:
        """Say in two lines at most which class takes how much of all images."""
        pixels, m2 = self.pixels, self.m2
        if not pixels.sum():
            return []
        shares = pixels / pixels.sum()
        texts = []
        for index in np.argsort(-shares, kind='stable'):
            area = f' ({m2[index]:,.0f} m2)' if m2 is not None else ''
            texts.append(f'{self._classes[index]} {100 * shares[index]:.1f} %{area}')
        lines = [f'of all pixels: {", ".join(texts)}']
        without = sum(not row.m2_per_pixel for row in self.rows)
        if m2 is not None and without:
            lines.append(
                f'{without} of {len(self.rows)} images have no ground resolution: they are not in '
                'the square meters'
            )
        return lines

    def write(self, folder: Path) -> None:
        """
        Write `summary.csv`: a line per image and one of totals; without any image, nothing.

        Columns are image, source, width, height, m2_per_pixel where one is known, and of every
        class `<class>_px`, `<class>_share` (0 to 1) and, likewise, `<class>_m2`.

        Raises:
            OSError: it cannot be written; names it.
        """
        if not self.rows:
            return
        total = self.m2
        columns = [*_FIRST_COLUMNS, *(['m2_per_pixel'] if total is not None else [])]
        kinds = ('px', 'share', *(['m2'] if total is not None else []))
        columns += [f'{name}_{kind}' for kind in kinds for name in self._classes]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator='\n')
        writer.writerow(columns)
        for row in self.rows:
            pixels = np.array(row.pixels)
            area = pixels * row.m2_per_pixel if row.m2_per_pixel else None
            cells = [row.name, row.source, row.width, row.height]
            if total is not None:
                cells.append(_number(row.m2_per_pixel) if row.m2_per_pixel else '')
            writer.writerow(cells + _cells(pixels, area, total is not None))
        cells = ['total', f'{len(self.rows)} images', '', '']
        cells += [''] if total is not None else []
        writer.writerow(cells + _cells(self.pixels, total, total is not None))
        # Names of files need not be UTF-8.
        write_bytes(folder / SUMMARY, text.getvalue().encode('utf-8', 'surrogateescape'))


def check_summary(folder: Path) -> None:
    """
    Refuse to replace a `summary.csv` that is not one of this package.

    Raises:
        WriteError: it is somebody's.
    """
    path = folder / SUMMARY
    try:
        head = path.read_bytes()[:80] if path.exists() else b''
    except OSError as err:
        msg = f'{path} cannot be replaced: {err.strerror}'
        raise WriteError(msg) from err
    if head and not head.startswith(','.join(_FIRST_COLUMNS).encode()):
        msg = f'{path} is there already, and not of this command: choose another --output'
        raise WriteError(msg)


def _cells(pixels: np.ndarray, m2: np.ndarray | None, has_m2: bool) -> list[Any]:
    shares = pixels / max(1, pixels.sum())
    cells = [*pixels.tolist(), *(f'{share:.6f}' for share in shares)]
    if has_m2:
        cells += [''] * len(pixels) if m2 is None else [_number(each) for each in m2]
    return cells


def _number(value: float) -> str:
    """Write a number to ten digits."""
    return f'{value:.10g}'
