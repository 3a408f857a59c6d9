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

"""
Masks of a teacher, whole or in tiles that overlap, as labels of one image.

Files are named by their image: ``NAME.png`` or ``NAME_mask.png``; a tile also by where its first
pixel is, ``NAME_y1024_x512.png``. ``NAME_confidence.png`` (of a tile, ``NAME_y1024_x512_confidence
.png``) says how sure the teacher was, 0 to 255.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
import re
from typing import NamedTuple

import numpy as np

from uhr_seg_ros.core.classes import UNLABELED
from uhr_seg_ros.core.errors import DataError
from uhr_seg_ros.image_io.files import read_ids

_NAME = re.compile(r'(?P<image>.+?)(?:_y(?P<top>\d+)_x(?P<left>\d+))?(?:_mask)?')
CONFIDENCE = '_confidence'


class Tile(NamedTuple):
    """One file of masks: where its first pixel is in the image, and its file of confidence."""

    mask: Path
    top: int
    left: int
    confidence: Path | None


class TeacherLabels(NamedTuple):
    """
    What a teacher says of one image.

    Attributes:
        labels: (H, W) uint8 class ids; 255 where it says nothing, was not sure, or contradicts
            itself.
        overlap: Pixels that more than one tile covers.
        contradicted: Of these, pixels of different classes.
        unsure: Pixels below the least confidence.
    """

    labels: np.ndarray
    overlap: int
    contradicted: int
    unsure: int


def tiles_of(folder: Path, images: Mapping[str, object]) -> dict[str, list[Tile]]:
    """
    Find the files of masks in a folder.

    Args:
        folder: Of the teacher's files.
        images: Names of the images, without ends.

    Raises:
        DataError: The folder is missing or holds no masks of any of the images.
    """
    if not folder.is_dir():
        msg = f'folder {folder} is missing'
        raise DataError(msg)
    found: dict[str, list[Tile]] = {}
    for path in sorted(folder.rglob('*.png')):
        stem = path.stem
        if stem.endswith(CONFIDENCE) or not (match := _NAME.fullmatch(stem)):
            continue
        # An image may itself be called as a tile is.
        whole = stem.removesuffix('_mask')
        name, top, left = (whole, 0, 0)
        if whole not in images:
            name, top, left = match['image'], int(match['top'] or 0), int(match['left'] or 0)
        if name not in images:
            continue
        beside = path.with_name(f'{whole}{CONFIDENCE}.png')
        found.setdefault(name, []).append(
            Tile(path, top, left, beside if beside.is_file() else None)
        )
    if not found:
        msg = f'{folder} holds no NAME.png or NAME_y0_x0.png of any of {len(images)} images'
        raise DataError(msg)
    return found


def join_tiles(
    tiles: Sequence[Tile], size: tuple[int, int], classes: int, least_confidence: int
) -> TeacherLabels:
    """
    Join the tiles of one image.

    Args:
        tiles: Its files.
        size: Height and width of the image, px.
        classes: Their number.
        least_confidence: 0 to 255; what is below is not a label.

    Raises:
        DataError: A file cannot be read, reaches beyond the image, has another size than its
            confidence, or holds what is no class; names it.
    """
    labels = np.full(size, UNLABELED, np.uint8)
    covered, disputed = np.zeros(size, bool), np.zeros(size, bool)
    overlap, unsure = np.zeros(size, bool), np.zeros(size, bool)
    for tile in tiles:
        mask = read_ids(tile.mask)
        rows, columns = (
            slice(first, first + side)
            for first, side in zip((tile.top, tile.left), mask.shape, strict=True)
        )
        if rows.stop > size[0] or columns.stop > size[1]:
            msg = f'{tile.mask} reaches beyond its image of {size[1]}x{size[0]} px'
            raise DataError(msg)
        if (wrong := mask[(mask >= classes) & (mask != UNLABELED)]).size:
            msg = f'{tile.mask} holds {wrong[0]}, expected 0 to {classes - 1}, or 255'
            raise DataError(msg)
        place = rows, columns
        doubted = _doubted(tile, mask, least_confidence)
        both = covered[place] & (mask != UNLABELED)
        overlap[place] |= both
        disputed[place] |= both & (labels[place] != mask) & (labels[place] != UNLABELED)
        unsure[place] |= doubted
        labels[place] = np.where(mask == UNLABELED, labels[place], mask)
        covered[place] |= mask != UNLABELED
    labels[disputed | unsure] = UNLABELED
    return TeacherLabels(labels, int(overlap.sum()), int(disputed.sum()), int(unsure.sum()))


def _doubted(tile: Tile, mask: np.ndarray, least: int) -> np.ndarray:
    if tile.confidence is None:
        return np.zeros(mask.shape, bool)
    confidence = read_ids(tile.confidence)
    if confidence.shape != mask.shape:
        found = f'{confidence.shape[1]}x{confidence.shape[0]}'
        msg = f'{tile.confidence} has {found} px, its mask {mask.shape[1]}x{mask.shape[0]}'
        raise DataError(msg)
    return (confidence < least) & (mask != UNLABELED)
