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

"""Pictures for the report: every image made small, and the tiles with the most errors."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from uhr_seg_ros.core.classes import ClassSet, UNLABELED
from uhr_seg_ros.core.image_writing import encode_image
from uhr_seg_ros.core.visualization import colorize
from uhr_seg_ros.data.sample import Sample
from uhr_seg_ros.evaluation.block import Block, MemmapMask, Window

#: Side of a tile, px; it divides the side of a block.
TILE = 512

#: How many of the worst tiles are kept.
WORST = 12

#: Longest side of a picture of a whole image, px: of the first images, and of all others.
LARGE, SMALL = 560, 280
LARGE_IMAGES = 24

JPEG_QUALITY = 82

#: BGR of wrong pixels; grey levels and width in px of the stripes over ignored ones.
WRONG = (48, 32, 224)
STRIPES, STRIPE = (255, 200), 4


@dataclass(frozen=True)
class Snapshot:
    """
    One place in four pictures.

    Attributes:
        name: Name of the image.
        window: The place in it.
        wrong: Pixels with another class than the label.
        known: Pixels with a label.
        is_part: Whether the image goes on around it.
        files: `image`, `label`, `mask` and `error` -> JPEG or PNG.
    """

    name: str
    window: Window
    wrong: int
    known: int
    is_part: bool
    files: dict[str, bytes]


class Gallery:
    """
    Collect the pictures while an evaluation runs; what they take does not grow with the images.

    Args:
        classes: Names and colours.

    Attributes:
        images: One entry per image.
        worst: The tiles with the most wrong pixels, the worst first.
    """

    def __init__(self, classes: ClassSet) -> None:
        self.images: list[Snapshot] = []
        self.worst: list[Snapshot] = []
        self._classes = classes
        self._canvas: _Canvas | None = None
        self._tiles: list[tuple[int, int, Window]] = []

    def add(self, block: Block, image: Sample) -> None:
        """Take one block of an image."""
        if self._canvas is None:
            longest = LARGE if len(self.images) < LARGE_IMAGES else SMALL
            self._canvas = _Canvas(block.size, longest)
        labels, mask = block.part(block.labels), block.part(block.mask)
        self._canvas.add(block.place, image.read_image(block.place), labels, mask)
        self._count_tiles(block.place, labels, mask)

    def end_image(self, image: Sample, mask: MemmapMask) -> None:
        """Make the pictures of the image whose blocks have come."""
        if self._canvas is None:
            return  # no block has come
        files = self._canvas.files(self._classes)
        wrong = sum(wrong for wrong, _, _ in self._tiles)
        known = sum(known for _, known, _ in self._tiles)
        whole = Snapshot(image.name, (0, 0, *image.size), wrong, known, False, files)
        self.images.append(whole)
        least = self.worst[-1].wrong if len(self.worst) == WORST else 0
        candidates = sorted(self._tiles, key=lambda tile: -tile[0])[:WORST]
        for wrong, known, window in candidates:
            if wrong > least:
                files = self._tile_files(image, mask, window)
                self.worst.append(Snapshot(image.name, window, wrong, known, True, files))
        self.worst = sorted(self.worst, key=lambda tile: -tile.wrong)[:WORST]
        self._canvas, self._tiles = None, []

    def _count_tiles(self, place: Window, labels: np.ndarray, mask: np.ndarray) -> None:
        known = labels != UNLABELED
        wrong = known & (labels != mask)
        for top in range(0, place[2], TILE):
            for left in range(0, place[3], TILE):
                tile = np.s_[top : top + TILE, left : left + TILE]
                height, width = known[tile].shape
                window = (place[0] + top, place[1] + left, height, width)
                counts = int(wrong[tile].sum()), int(known[tile].sum())
                self._tiles.append((*counts, window))

    def _tile_files(self, image: Sample, mask: MemmapMask, window: Window) -> dict[str, bytes]:
        canvas = _Canvas(window[2:], TILE)
        canvas.add((0, 0, *window[2:]), *image.read(window), mask.read(window))
        return canvas.files(self._classes)


class _Canvas:
    """A small picture of an image that comes in blocks."""

    def __init__(self, size: tuple[int, int], longest: int) -> None:
        self._scale = min(1.0, longest / max(size))
        height, width = (self._at(side) for side in size)
        self._image = np.zeros((height, width, 3), np.uint8)
        self._ids = np.full((2, height, width), UNLABELED, np.uint8)
        self._wrong = np.zeros((height, width), np.float32)

    def add(self, place: Window, image: np.ndarray, labels: np.ndarray, mask: np.ndarray) -> None:
        top, left, height, width = place
        rows = slice(self._at(top), self._at(top + height))
        columns = slice(self._at(left), self._at(left + width))
        size = columns.stop - columns.start, rows.stop - rows.start
        if not min(size):
            return
        self._image[rows, columns] = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        for ids, values in zip(self._ids, (labels, mask), strict=True):
            ids[rows, columns] = cv2.resize(values, size, interpolation=cv2.INTER_NEAREST)
        wrong = ((labels != mask) & (labels != UNLABELED)).astype(np.float32)
        self._wrong[rows, columns] = cv2.resize(wrong, size, interpolation=cv2.INTER_AREA)

    def files(self, classes: ClassSet) -> dict[str, bytes]:
        return {
            'image': _jpeg(self._image),
            'label': _png(self._painted(self._ids[0], classes)),
            'mask': _png(self._painted(self._ids[1], classes)),
            'error': _jpeg(self._errors()),
        }

    def _painted(self, ids: np.ndarray, classes: ClassSet) -> np.ndarray:
        painted = colorize(ids, classes)
        return _striped(painted, ids)

    def _errors(self) -> np.ndarray:
        """Paint wrong pixels over a pale image."""
        gray = cv2.cvtColor(self._image, cv2.COLOR_BGR2GRAY)
        pale = np.repeat(150 + gray[..., None] * np.float32(0.35), 3, axis=2)
        share = self._wrong[..., None]
        painted = (pale * (1 - share) + np.array(WRONG, np.float32) * share).astype(np.uint8)
        return _striped(painted, self._ids[0])

    def _at(self, position: int) -> int:
        return max(round(position * self._scale), 1 if position else 0)


def _striped(painted: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Lay stripes over the pixels that are ignored."""
    rows, columns = np.nonzero(ids == UNLABELED)
    level = np.array(STRIPES, np.uint8)[(rows + columns) // STRIPE % 2]
    painted[rows, columns] = level[:, None]
    return painted


def _jpeg(picture: np.ndarray) -> bytes:
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    return encode_image('.jpg', picture, quality)


def _png(picture: np.ndarray) -> bytes:
    return encode_image('.png', picture, [cv2.IMWRITE_PNG_COMPRESSION, 6])
