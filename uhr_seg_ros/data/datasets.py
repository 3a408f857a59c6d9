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

"""The data sets by name: the known ones, and those of users as ``module:attribute``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from uhr_seg_ros.core.classes import ClassSet, MAX_UINT8_CLASSES
from uhr_seg_ros.core.entry_points import check_result, is_entry_point, load_entry_point
from uhr_seg_ros.core.errors import DataError
from uhr_seg_ros.core.text import shown
from uhr_seg_ros.data.aerial import Aerial
from uhr_seg_ros.data.dataset import Dataset, hold_out
from uhr_seg_ros.data.fields import FarmFields
from uhr_seg_ros.data.folder import Folder
from uhr_seg_ros.data.layouts import Cityscapes, DeepGlobe, Inria, Street

__all__ = [
    'Dataset',
    'DATASET_HELP',
    'DATASETS',
    'hold_out',
    'is_dataset_name',
    'open_dataset',
    'read_roots',
]

DATASETS: dict[str, type[Dataset]] = {
    family.name: family
    for family in (Cityscapes, Inria, DeepGlobe, Aerial, FarmFields, Street, Folder)
}

#: What the name of a data set may be, for people.
DATASET_HELP = f'one of {", ".join(DATASETS)}, or module:attribute of your own'


def is_dataset_name(name: object) -> bool:
    """Tell if a value names a known data set, or a function of a user."""
    return isinstance(name, str) and (name in DATASETS or is_entry_point(name))


def open_dataset(name: str, root: str | Path, classes: str | Path | None = None) -> Dataset:
    """
    Open a data set.

    Args:
        name: One of `DATASETS`, or ``module:attribute`` of a function or class of a user that
            takes the folder and returns a `Dataset`.
        root: Its folder; docs/data.md shows what has to be in it.
        classes: Of the set ``folder``: the file to take instead of ``classes.yaml`` in it.

    Raises:
        DataError: The name is unknown, the folder does not hold such a set, or a user's function
            cannot be imported or returns something else.
    """
    if name == Folder.name:
        return Folder(root, classes)
    if classes is not None:
        msg = (
            f'{shown(str(classes))} cannot name the classes of the data set {name}, which has its '
            f'own: only those of {Folder.name} are yours'
        )
        raise DataError(msg)
    if is_entry_point(name):
        found = load_entry_point(name, _FIELD, DataError)(Path(root))
        # Of an abstract class, which `isinstance` takes.
        dataset = check_result(found, Dataset, name, _FIELD, DataError)  # type: ignore[type-abstract]
        _check_users(dataset, name)
        return dataset
    if name not in DATASETS:
        msg = f'data set {name!r} is unknown, known: {", ".join(DATASETS)}'
        raise DataError(msg)
    return DATASETS[name](root)


def read_roots(texts: Sequence[str]) -> dict[str, Path]:
    """
    Read which folder which further data set is in.

    Args:
        texts: ``NAME=FOLDER`` each.

    Raises:
        DataError: A text is something else, or names no data set, or one twice.
    """
    roots: dict[str, Path] = {}
    for text in texts:
        name, _, folder = text.partition('=')
        if not is_dataset_name(name) or not folder or name in roots:
            msg = f'--also is {text!r}, expected NAME=FOLDER once for a data set ({DATASET_HELP})'
            raise DataError(msg)
        roots[name] = Path(folder)
    return roots


def _check_users(dataset: Dataset, name: str) -> None:
    """Refuse a data set of a user that lacks what training and evaluation rely on."""
    for field, kind, expected in _NEEDED:
        value = getattr(dataset, field, None)
        if not isinstance(value, kind) or not value:
            msg = f'dataset {name}: {field} is {shown(value)}, expected {expected}'
            raise DataError(msg)
    if len(dataset.classes) > MAX_UINT8_CLASSES:
        msg = (
            f'dataset {name}: {len(dataset.classes)} classes, at most {MAX_UINT8_CLASSES} fit '
            'into 8-bit labels'
        )
        raise DataError(msg)


#: How a data set is called where users name it.
_FIELD = 'dataset'

_NEEDED: tuple[tuple[str, type, str], ...] = (
    ('name', str, 'a text'),
    ('root', Path, 'the folder, as Dataset.__init__ sets it'),
    ('classes', ClassSet, 'a uhr_seg_ros.core.classes.ClassSet'),
    ('splits', tuple, 'a tuple of names'),
)
