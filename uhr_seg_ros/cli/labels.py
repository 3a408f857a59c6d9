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

"""``uhr_seg labels``: from regions drawn in another program to a folder that trains."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
import yaml

from uhr_seg_ros.core.atomic_io import write_text
from uhr_seg_ros.core.classes import ClassSet, UNLABELED
from uhr_seg_ros.core.errors import DataError
from uhr_seg_ros.core.image_writing import write_image
from uhr_seg_ros.core.text import listed
from uhr_seg_ros.data.annotations import draw_labels, EXPECTED, read_annotations
from uhr_seg_ros.data.folder import read_class_file
from uhr_seg_ros.data.pairing import find
from uhr_seg_ros.image_io.headers import image_size, SUFFIXES

#: Every so manieth image, by name, is kept for validation.
KEPT = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument('export', type=Path, metavar='EXPORT', help=EXPECTED)
    parser.add_argument(
        '--root',
        required=True,
        type=Path,
        metavar='DIR',
        help='folder whose images/ were labeled; labels/ and classes.yaml are written there',
    )
    parser.add_argument(
        '--classes',
        required=True,
        type=Path,
        metavar='FILE',
        help='YAML file with a list of classes',
    )
    parser.add_argument(
        '--background',
        metavar='CLASS',
        help='class of what nobody drew (default: it is ignored in training)',
    )


def run(args: argparse.Namespace) -> int:
    """Draw the labels of every image that the export has."""
    classes = read_class_file(args.classes)
    background = UNLABELED
    if args.background is not None:
        if args.background not in classes.names:
            msg = f'--background {args.background} is none of {listed(classes.names)}'
            raise DataError(msg)
        background = classes.names.index(args.background)
    shapes = read_annotations(args.export)
    images = {Path(key).name: path for key, path in find(args.root / 'images', SUFFIXES).items()}
    if missing := [name for name in images if name not in shapes]:
        msg = (
            f'{args.export} has no entry for {images[missing[0]]} ({len(missing)} of '
            f'{len(images)} images): label it, or take it out of the folder'
        )
        raise DataError(msg)
    counts = np.zeros(UNLABELED + 1, np.int64)
    for name, path in images.items():
        try:
            labels = draw_labels(shapes[name], classes, image_size(path), background)
        except DataError as err:
            msg = f'{args.export}, image {name}: {err}'
            raise DataError(msg) from err
        counts += np.bincount(labels.ravel(), minlength=len(counts))
        relative = path.relative_to(args.root / 'images').with_suffix('.png')
        write_image(args.root / 'labels' / relative, labels)
    splits = _split(sorted(images)) if not _has_folders(args.root / 'images') else {}
    write_text(args.root / 'classes.yaml', _described(classes, splits))
    _show(classes, counts, len(images), splits)
    return 0


def _has_folders(images: Path) -> bool:
    return any(path.is_dir() for path in images.iterdir())


def _split(names: Sequence[str]) -> dict[str, list[str]]:
    kept = list(names[KEPT - 1 :: KEPT]) or list(names[-1:])
    return {'train': [name for name in names if name not in kept] or kept, 'validation': kept}


def _described(classes: ClassSet, splits: Mapping[str, Sequence[str]]) -> str:
    entries = zip(classes.names, classes.colors, strict=True)
    content: dict[str, object] = {
        'classes': [{'name': name, 'color': list(color)} for name, color in entries]
    }
    if splits:
        content['splits'] = dict(splits)
    return yaml.safe_dump(content, sort_keys=False, default_flow_style=None)


def _show(
    classes: ClassSet, counts: np.ndarray, images: int, splits: Mapping[str, Sequence[str]]
) -> None:
    table = Table('class', 'share of pixels', title=f'labels of {images} images')
    total = max(int(counts.sum()), 1)
    names, shown = (*classes.names, 'ignored'), (*counts[: len(classes)], counts[-1])
    for name, count in zip(names, shown, strict=True):
        table.add_row(name, f'{count / total:.1%}')
    console = Console()
    console.print(table)
    if splits:
        console.print(f'kept for validation: {listed(splits["validation"])}', markup=False)
