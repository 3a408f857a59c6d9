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

"""Real aerial mosaics: ``images/NAME.png`` or ``.jpg``, ``labels/NAME.png``, ``split.json``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from uhr_seg_ros.core.classes import CLASS_SETS
from uhr_seg_ros.core.config_reader import read_json
from uhr_seg_ros.core.domain import DOMAINS
from uhr_seg_ros.core.errors import DataError
from uhr_seg_ros.data.dataset import Dataset
from uhr_seg_ros.data.label_map import LabelMap
from uhr_seg_ros.data.label_noise import NoisyRegion
from uhr_seg_ros.data.pairing import Files
from uhr_seg_ros.data.sample import FileSample

#: Tiles that show partly the same ground: neither splits nor a hold-out may separate them.
GROUND = dict.fromkeys(('tile4', 'tile7', 'tile8'), 'tile7')

_BUILDING, _LAND, _ROAD, _VEGETATION, _WATER = range(5)
#: Found by looking at the training mosaics beside their labels. The set was labelled in parts, a
#: ninth of a mosaic each, and the parts do not follow one rule.
DOUBTS = {
    'tile6': (
        # Green shallow water is vegetation here, but water in all other parts; a creek is a road.
        NoisyRegion((838, 0, 838, 1718), (_VEGETATION,)),
        NoisyRegion((838, 859, 838, 1718), (_ROAD,)),
        NoisyRegion((1170, 2350, 135, 227), (_WATER,)),  # a strip of white sand
    ),
    'tile7': (
        NoisyRegion((2061, 1500, 230, 280), (_VEGETATION,)),  # the rest of a lake
        NoisyRegion((2061, 1817, 1200, 1817), (_WATER,)),  # groups of trees
        # A corridor without a road, tracks that cannot be seen, sheds drawn as large buildings.
        NoisyRegion((2061, 3634, 2061, 1816), (_BUILDING, _ROAD, _WATER)),
        NoisyRegion((4122, 0, 2062, 1817), (_WATER,)),  # scrub
        # A motorway is land; roads are drawn where there is sand.
        NoisyRegion((4122, 1817, 2062, 1817), (_LAND, _ROAD, _VEGETATION)),
        NoisyRegion((4122, 3634, 2062, 1816), (_LAND, _ROAD)),
    ),
}


class Aerial(Dataset):
    """
    Mosaics of Dubai (MBRSC and Humans in the Loop), 5 classes.

    Raises:
        DataError: `split.json` is missing or wrong, or its splits show the same ground.
    """

    name = 'aerial'
    classes = CLASS_SETS['aerial']
    domain = DOMAINS['aerial']
    doubts = DOUBTS

    def __init__(self, root: str | Path) -> None:
        super().__init__(root)
        self._path = self.root / 'split.json'
        self._names = self._read_names()
        self.splits = tuple(self._names)
        self._check_grounds()

    def files(self, split: str) -> Sequence[Files]:
        if not self._names[split]:
            msg = f'{self._path}: split {split!r} is empty'
            raise DataError(msg)
        labels = self.root / 'labels'
        return [
            Files(name, self._image(name), labels / f'{name}.png') for name in self._names[split]
        ]

    def _image(self, name: str) -> Path:
        """Return the file of an image: a PNG as `uhr_seg prepare` writes it, or a JPEG."""
        png, jpg = (self.root / 'images' / f'{name}.{suffix}' for suffix in ('png', 'jpg'))
        if png.exists() and jpg.exists():
            msg = f'{png} and {jpg} have the same name: keep one'
            raise DataError(msg)
        return png if png.exists() else jpg

    def open_sample(self, files: Files, encoding: LabelMap) -> FileSample:
        return FileSample(*files, encoding, GROUND.get(files.name))

    def _read_names(self) -> dict[str, list[str]]:
        names = read_json(self._path, DataError, 'give the folder of the mosaics')
        if not all(map(_are_names, names.values())):
            msg = f'{self._path} is no mapping of splits to lists of names'
            raise DataError(msg)
        return names

    def _check_grounds(self) -> None:
        seen: dict[str, tuple[str, str]] = {}
        for split, names in self._names.items():
            for name in names:
                other_split, other = seen.setdefault(GROUND.get(name, name), (split, name))
                if other_split != split:
                    msg = (
                        f'{self._path}: {other} is in {other_split}, and {name}, the same '
                        f'ground, in {split}: keep them in one split'
                    )
                    raise DataError(msg)


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)
