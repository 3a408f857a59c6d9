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

"""What the publishers of data sets give out, and what `uhr_seg prepare` makes of each file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
import re

import numpy as np

from uhr_seg_ros.core.classes import CLASS_SETS, UNLABELED
from uhr_seg_ros.core.errors import DataError
from uhr_seg_ros.data.image_io import read_ids, read_image
from uhr_seg_ros.data.label_map import LabelMap
from uhr_seg_ros.data.layouts import Cityscapes, DeepGlobe, Inria, label_ids, Layout
from uhr_seg_ros.data.published_splits import deepglobe_splits, inria_splits


@dataclass(frozen=True)
class Place:
    """
    Where a published file belongs.

    Attributes:
        split: ``train``, ``val`` or ``test``.
        name: Of the image; in Cityscapes with its city, ``ulm/ulm_000000_000019``.
        is_label: Whether its values are to be turned into class ids; an image is copied.
        part: Which part of a mosaic the file is, row by row, from 1; 0: it is whole.
    """

    split: str
    name: str
    is_label: bool
    part: int = 0


@dataclass(frozen=True)
class PublishedSet:
    """
    A data set as it is published.

    Attributes:
        name: As in `datasets.DATASETS`.
        expected: What a source has to hold, for people.
        left_out: What is published and not used, for people; may be empty.
        size: Height and width of every image, px; or name of an image -> its own.
        counts: Split -> number of its images.
        layout: How the prepared files are called.
        place: Path inside of a source, with ``/`` -> where the file belongs; None: nowhere.
        read_labels: Reads a file of labels as class ids, (H, W) uint8.
        config: The training that it was published with, in ``config/train``.
        names: Name of an image -> its split, where the names are known.
        split_file: Lists the names of each split where the folders do not; empty: they do.
    """

    name: str
    expected: str
    left_out: str
    size: tuple[int, int] | Mapping[str, tuple[int, int]]
    counts: Mapping[str, int]
    layout: Layout
    place: Callable[[str], Place | None]
    read_labels: Callable[[Path], np.ndarray]
    config: str
    names: Mapping[str, str] = field(default_factory=dict)
    split_file: str = ''

    def size_of(self, name: str) -> tuple[int, int]:
        """Return height and width of an image as published, px."""
        return self.size[name] if isinstance(self.size, Mapping) else self.size

    def target(self, place: Place) -> str:
        """Return where a file goes, below the root of the prepared set."""
        layout, split = self.layout, place.split
        if place.is_label:
            return f'{layout.labels.format(split=split)}/{place.name}{layout.label_end}'
        return f'{layout.images.format(split=split)}/{place.name}{layout.image_end}'


_INRIA = inria_splits()
# As published, and as HLRC and FCtL name the files.
_INRIA_FILE = re.compile(r'(?:^|/)(images|gt)/([a-z-]+\d+)\.tif$')
_INRIA_RENAMED = re.compile(r'(?:^|/)([a-z-]+\d+)_(sat\.tif|mask\.png)$')


def _place_inria(path: str) -> Place | None:
    if found := _INRIA_FILE.search(path):
        name, is_label = found[2], found[1] == 'gt'
    elif found := _INRIA_RENAMED.search(path):
        name, is_label = found[1], found[2] == 'mask.png'
    else:
        return None
    if (split := _INRIA.get(name)) is None:
        return None
    return Place(split, name, is_label)


def _read_inria(path: Path) -> np.ndarray:
    """Read a mask of 0 and 255; one of 0 and 1 has been prepared by others."""
    return LabelMap({0: 0, 1: 1, 255: 1}).decode(read_ids(path), path)


_DEEPGLOBE = deepglobe_splits()
_DEEPGLOBE_FILE = re.compile(r'(?:^|/)(\d+)_(sat\.jpg|mask\.png)$')


def _place_deepglobe(path: str) -> Place | None:
    found = _DEEPGLOBE_FILE.search(path)
    if found is None or (split := _DEEPGLOBE.get(found[1])) is None:
        return None
    return Place(split, found[1], found[2] == 'mask.png')


def _read_deepglobe(path: Path) -> np.ndarray:
    """
    Read a mask of colors, whose channels are on or off from 128 on, as its publishers say.

    Unknown, which is black, stays class 0: HLRC trains it.
    """
    try:
        ids = read_ids(path)
    except DataError:  # of three channels; one that is damaged is told by the next line
        image = read_image(path)
    else:
        return LabelMap({value: value for value in range(7)}).decode(ids, path)
    bits = (image >> 7).astype(np.uint8)
    codes = bits[..., 0] | bits[..., 1] << 1 | bits[..., 2] << 2
    colors = CLASS_SETS['deepglobe'].palette_bgr()[:7] >> 7
    table = {int(blue | green << 1 | red << 2): i for i, (blue, green, red) in enumerate(colors)}
    _check_colors(path, image, np.isin(codes, list(table)))
    return LabelMap(table).decode(codes, path)


def _check_colors(path: Path, image: np.ndarray, is_known: np.ndarray) -> None:
    """Refuse a mask of colors, (H, W, 3) BGR, one of which is no class; names the first."""
    if not is_known.all():
        row, column = divmod(int(is_known.argmin()), is_known.shape[1])
        color = tuple(image[row, column, ::-1].tolist())
        msg = f'{path} has the color {color} at row {row}, column {column}, which is no class'
        raise DataError(msg)


_CITYSCAPES_FILE = re.compile(
    r'(?:^|/)(leftImg8bit|gtFine)/(train|val|test)/([^/]+/[^/]+)'
    r'_(leftImg8bit|gtFine_labelIds)\.png$'
)


def _place_cityscapes(path: str) -> Place | None:
    found = _CITYSCAPES_FILE.search(path)
    if found is None or not found[4].startswith(found[1]):
        return None
    return Place(found[2], found[3], found[1] == 'gtFine')


def _read_cityscapes(path: Path) -> np.ndarray:
    """Read label ids as the ids that are trained."""
    return label_ids().decode(read_ids(path), path)


#: Name of a mosaic -> its height and width, px; so large are its nine parts together.
_AERIAL_SIZES = {
    'tile4': (2538, 3297),
    'tile6': (2514, 2577),
    'tile7': (6184, 5450),
    'tile8': (4438, 6447),
    'tile2': (1632, 1528),
    'tile5': (3174, 3378),
}
_AERIAL = {name: 'test' if name in ('tile2', 'tile5') else 'train' for name in _AERIAL_SIZES}
_AERIAL_FILE = re.compile(
    r'(?:^|/)Tile ?(\d)/(?:(images)|masks)/image_part_00([1-9])\.(?(2)jpg|png)$'
)
#: Colors of the masks, RGB, in the order of the classes. Those in the ``classes.json`` that is
#: published with them are others.
_AERIAL_COLORS = (0x3C1098, 0x8429F6, 0x6EC1E4, 0xFEDD3A, 0xE2A929)
#: What nobody labeled is gray; along the edges of polygons, and in places of tile 8, black.
_AERIAL_IGNORED = (0x9B9B9B, 0x000000)


def _place_aerial(path: str) -> Place | None:
    found = _AERIAL_FILE.search(path)
    if found is None or (split := _AERIAL.get(name := f'tile{found[1]}')) is None:
        return None
    return Place(split, name, found[2] is None, int(found[3]))


def _read_aerial(path: Path) -> np.ndarray:
    """Read a mask of colors, exact ones."""
    image = read_image(path)
    codes = image.astype(np.uint32) @ np.array([1, 1 << 8, 1 << 16], np.uint32)
    ids = np.full(codes.shape, UNLABELED, np.uint8)
    for index, color in enumerate(_AERIAL_COLORS):
        ids[codes == color] = index
    _check_colors(path, image, (ids != UNLABELED) | np.isin(codes, _AERIAL_IGNORED))
    return ids


PUBLISHED: dict[str, PublishedSet] = {
    each.name: each
    for each in (
        PublishedSet(
            'inria',
            'NEW2-AerialImageDataset.zip (`7z x aerialimagelabeling.7z.001` unpacks it), or what '
            'is in it: AerialImageDataset/train/images/austin1.tif and train/gt/austin1.tif',
            'the images of its own test set, whose labels are not public',
            (5000, 5000),
            Counter(_INRIA.values()),
            Inria.layout,
            _place_inria,
            _read_inria,
            'hlrc_inria.yaml',
            _INRIA,
        ),
        PublishedSet(
            'deepglobe',
            'the archive of the land cover track, or what is in it: '
            'land-train/100694_sat.jpg and land-train/100694_mask.png',
            'the images of its own validation and test sets, whose masks are not public',
            (2448, 2448),
            Counter(_DEEPGLOBE.values()),
            DeepGlobe.layout,
            _place_deepglobe,
            _read_deepglobe,
            'hlrc_deepglobe.yaml',
            _DEEPGLOBE,
        ),
        PublishedSet(
            'cityscapes',
            'leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip, or what is in them: '
            'leftImg8bit/train/CITY/NAME_leftImg8bit.png and '
            'gtFine/train/CITY/NAME_gtFine_labelIds.png',
            '',
            (1024, 2048),
            {'train': 2975, 'val': 500, 'test': 1525},
            Cityscapes.layout,
            _place_cityscapes,
            _read_cityscapes,
            'hlrc_cityscapes.yaml',
        ),
        PublishedSet(
            'aerial',
            'the archive "Semantic segmentation dataset" of Humans in the Loop, or what is in it: '
            'Tile 4/images/image_part_001.jpg and Tile 4/masks/image_part_001.png, nine of each',
            'tiles 1 and 3, which are in no split',
            _AERIAL_SIZES,
            Counter(_AERIAL.values()),
            Layout('images', '.png', 'labels', '.png'),
            _place_aerial,
            _read_aerial,
            'hlrc_s_aerial.yaml',
            _AERIAL,
            'split.json',
        ),
    )
}
