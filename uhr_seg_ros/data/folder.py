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

"""Any labelled images: ``images/``, ``labels/`` and ``classes.yaml``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from uhr_seg_ros.core.classes import ClassSet, MAX_UINT8_CLASSES, read_classes
from uhr_seg_ros.core.config_reader import Fields, quoting_hint, read_mapping
from uhr_seg_ros.core.domain import read_domain
from uhr_seg_ros.core.errors import DataError
from uhr_seg_ros.core.text import shown
from uhr_seg_ros.data.dataset import Dataset
from uhr_seg_ros.data.pairing import Files, find, match
from uhr_seg_ros.image_io.headers import SUFFIXES

#: Formats that keep class ids as they are.
LABEL_SUFFIXES = ('.png', '.tif', '.tiff')
#: Says what the labels mean, and makes a folder a set.
CLASSES_FILE = 'classes.yaml'
#: The one split of a set that is not divided.
ALL = 'all'

_FIELDS = ('classes', 'ignored', 'reported', 'splits', 'domain')


def read_class_file(path: Path) -> ClassSet:
    """
    Read names and colors of classes from a file as ``classes.yaml``.

    Raises:
        DataError: It cannot be read, or is wrong.
    """
    content = read_mapping(path, DataError, 'docs/data.md shows an example')
    return read_classes(Fields(path, content, DataError))


class Folder(Dataset):
    """
    A folder set: images and labels of the same names, and a file that says what the ids mean.

    Its splits are lists of names in ``classes.yaml``, or else sub-folders of ``images/`` and
    ``labels/``, or else one split named ``all``.

    Args:
        root: The folder.
        classes: The file that says what the ids mean; None: ``classes.yaml`` in the folder.

    Raises:
        DataError: As `Dataset`; or ``classes.yaml`` is wrong.
    """

    name = 'folder'

    def __init__(self, root: str | Path, classes: str | Path | None = None) -> None:
        super().__init__(root)
        path = self.root / CLASSES_FILE if classes is None else Path(classes)
        content = read_mapping(path, DataError, 'docs/data.md shows an example')
        self._fields = Fields(path, content, DataError)
        if unknown := [str(key) for key in content if key not in _FIELDS]:
            known = ', '.join(_FIELDS)
            raise self._fields.error(f'unknown field {unknown[0]!r}, known: {known}')
        self.classes = self._read_classes()
        self.domain = read_domain(self._fields)
        self.ignored = self._read_ignored()
        self.reported = self._read_reported()
        self._listed = self._read_splits(content.get('splits'))
        self._folders = () if self._listed else self._sub_folders()
        self.splits = tuple(self._listed) or self._folders or (ALL,)

    def files(self, split: str) -> Sequence[Files]:
        names = self._listed.get(split)
        sub = split if split in self._folders else ''
        image_folder, label_folder = self.root / 'images' / sub, self.root / 'labels' / sub
        images = find(image_folder, SUFFIXES)
        labels = find(label_folder, LABEL_SUFFIXES)
        if names:
            images = self._only(images, names, image_folder)
            labels = {name: labels[name] for name in names if name in labels}
        image_place = image_folder, ', '.join(SUFFIXES)
        return match(images, labels, image_place, (label_folder, LABEL_SUFFIXES[0]))

    def _only(self, images: dict[str, Path], names: list[str], folder: Path) -> dict[str, Path]:
        for name in names:
            if name not in images:
                raise self._fields.error(f'splits names {name!r}, and {folder} has no such image')
        return {name: images[name] for name in names}

    def _sub_folders(self) -> tuple[str, ...]:
        folder = self.root / 'images'
        if not folder.is_dir():
            msg = f'folder {folder} is missing'
            raise DataError(msg)
        visible = [path for path in sorted(folder.iterdir()) if not path.name.startswith('.')]
        found = tuple(path.name for path in visible if path.is_dir())
        loose = [path for path in visible if path.suffix.lower() in SUFFIXES]
        if found and loose:
            msg = f'{loose[0]} lies beside the folders of splits ({", ".join(found)}): move it'
            raise DataError(msg)
        return found

    def _read_classes(self) -> ClassSet:
        classes = read_classes(self._fields)
        if len(classes) > MAX_UINT8_CLASSES:
            text = f'{len(classes)} classes, at most {MAX_UINT8_CLASSES} fit into 8-bit labels'
            raise self._fields.error(text)
        return classes

    def _read_ignored(self) -> tuple[int, ...]:
        names = self._fields.strings('ignored') if self._fields.has('ignored') else ()
        return tuple(self._class_id('ignored', name) for name in names)

    def _read_reported(self) -> str | None:
        if not self._fields.has('reported'):
            return None
        name = self._fields.get('reported', str)
        self._class_id('reported', name)
        return name

    def _class_id(self, field: str, name: str) -> int:
        names = self.classes.names
        if name not in names:
            text = f'field {field} names the class {name!r}, known: {", ".join(names)}'
            raise self._fields.error(text)
        return names.index(name)

    def _read_splits(self, splits: Any) -> dict[str, list[str]]:
        if splits is None:
            return {}
        if not isinstance(splits, dict) or not splits:
            raise self._fields.error(f'field splits is {shown(splits)}, expected lists of names')
        for split, names in splits.items():
            if not isinstance(names, list) or not names:
                text = f'field splits.{split} is {shown(names)}'
                raise self._fields.error(f'{text}, expected a list of names of images')
            for name in names:
                if isinstance(name, bool) or not isinstance(name, (str, int)):
                    text = f'field splits.{split} has {shown(name)}, expected names of images'
                    raise self._fields.error(text + quoting_hint(name))
        listed = {str(split): [str(name) for name in names] for split, names in splits.items()}
        self._check_splits(listed)
        return listed

    def _check_splits(self, listed: dict[str, list[str]]) -> None:
        seen: dict[str, str] = {}
        for split, names in listed.items():
            for name in names:
                if name in seen:
                    text = f'field splits: {name!r} is in {seen[name]} and in {split}'
                    raise self._fields.error(text)
                seen[name] = split
