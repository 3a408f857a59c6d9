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

"""The data set that a command measures on: named, or known by what lies in its folder."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from uhr_seg_ros.cli.arguments import SPLIT
from uhr_seg_ros.core.errors import DataError
from uhr_seg_ros.data.datasets import Dataset, DATASET_HELP, is_dataset_name, open_dataset
from uhr_seg_ros.data.folder import ALL, CLASSES_FILE

_LOG = logging.getLogger(__name__)

#: What is assumed about a folder that does not tell.
USUAL = 'aerial'
#: Tells an aerial set, whatever else there is.
_AERIAL_FILE = 'split.json'


def add_dataset(parser: argparse.ArgumentParser) -> None:
    """Declare `--dataset`; `open_given` opens it."""
    parser.add_argument(
        '--dataset',
        type=_known,
        metavar='NAME',
        help=f'{DATASET_HELP} (default: folder where --root has a {CLASSES_FILE}, else {USUAL})',
    )


def given_name(args: argparse.Namespace) -> str:
    """Return the name that `--dataset` says, or else what lies in `--root`."""
    if args.dataset:
        return args.dataset
    has_classes = (args.root / CLASSES_FILE).is_file()
    return 'folder' if has_classes and not (args.root / _AERIAL_FILE).is_file() else USUAL


def open_given(args: argparse.Namespace) -> Dataset:
    """
    Open the data set that `--dataset` and `--root` say.

    Raises:
        DataError: there is no such set; suggests `--dataset folder` where that may be meant.
    """
    name = given_name(args)
    try:
        return open_dataset(name, args.root)
    except DataError as err:
        raise DataError(f'{err}{_suggestion(name, args.root)}') from err


def given_split(args: argparse.Namespace, dataset: Dataset) -> str:
    """Return the split that `--split` says; a set that is not divided has one only."""
    if args.split == SPLIT and dataset.splits == (ALL,):
        _LOG.info('%s is not divided: all images are taken, those trained on too', args.root)
        return ALL
    return args.split


def _suggestion(name: str, root: Path) -> str:
    if name == 'folder':
        return ''
    if (root / CLASSES_FILE).is_file():
        return f'; {root} has a {CLASSES_FILE}: --dataset folder reads it'
    if (root / 'images').is_dir():
        return (
            f'; for images of your own write {root / CLASSES_FILE} (docs/data.md shows it) and '
            'give --dataset folder'
        )
    return ''


def _known(name: str) -> str:
    if not is_dataset_name(name):
        msg = f'{name!r} is not a data set: {DATASET_HELP}'
        raise argparse.ArgumentTypeError(msg)
    return name
