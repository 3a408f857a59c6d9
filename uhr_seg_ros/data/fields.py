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

"""Farmland in several summers: ``images/fields_YEAR.png``, ``labels/fields_YEAR.png``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from uhr_seg_ros.core.classes import CLASS_SETS
from uhr_seg_ros.core.domain import DOMAINS
from uhr_seg_ros.core.errors import DataError
from uhr_seg_ros.data.dataset import Dataset
from uhr_seg_ros.data.label_map import LabelMap
from uhr_seg_ros.data.pairing import Files, pair
from uhr_seg_ros.data.sample import FileSample

_START = 'fields_'


class FarmFields(Dataset):
    """
    One place in North Dakota from the air, a year per image: NAIP of the USDA, 5 m per px.

    The classes are those of `Aerial`, of which land, vegetation and water are labelled where
    near infrared left no doubt. All years show the same ground, so the splits are years: what is
    chosen on even ones is trained on odd ones.

    Raises:
        DataError: The folder is missing, or an image is not named by its year.
    """

    name = 'fields'
    classes = CLASS_SETS['aerial']
    domain = DOMAINS['fields']
    splits = ('odd', 'even')

    def __init__(self, root: str | Path) -> None:
        super().__init__(root)
        self._files: dict[str, list[Files]] = {split: [] for split in self.splits}
        for files in pair(self.root / 'images', '.png', self.root / 'labels', '.png'):
            year = files.name.removeprefix(_START)
            if not year.isdecimal():
                msg = f'{files.image} is not named by its year, such as {_START}2009.png'
                raise DataError(msg)
            self._files['odd' if int(year) % 2 else 'even'].append(files)

    def files(self, split: str) -> Sequence[Files]:
        if not self._files[split]:
            msg = f'{self.root} has no image of {split} years'
            raise DataError(msg)
        return self._files[split]

    def open_sample(self, files: Files, encoding: LabelMap) -> FileSample:
        return FileSample(*files, encoding, self.name)
