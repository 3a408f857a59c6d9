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
``uhr_seg distill``: masks of a large model as labels to train a small one with.

What the teacher was sure of becomes a label, the rest 255, which training ignores. Nobody checked
these labels, so figures tell how far they can be trusted: their agreement with what people
labeled, on the images that have labels already, and how often the teacher contradicts itself where
its tiles overlap.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
import json
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from uhr_seg_ros.benchmark.host import write_results
from uhr_seg_ros.core.atomic_io import write_text
from uhr_seg_ros.core.classes import ClassSet, UNLABELED
from uhr_seg_ros.core.errors import DataError
from uhr_seg_ros.core.image_writing import write_image
from uhr_seg_ros.data.folder import read_class_file
from uhr_seg_ros.data.pairing import find
from uhr_seg_ros.data.teacher_masks import join_tiles, TeacherLabels, tiles_of
from uhr_seg_ros.evaluation.metrics import ConfusionMatrix, number
from uhr_seg_ros.image_io.files import read_ids
from uhr_seg_ros.image_io.headers import image_size, SUFFIXES

REPORT = 'distill.json'
#: Share of the overlaps in which a teacher that contradicts itself is warned of.
CONTRADICTED = 0.05


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        '--teacher-masks',
        required=True,
        type=Path,
        metavar='DIR',
        help='NAME.png, or tiles NAME_y0_x512.png, of class ids; NAME_confidence.png beside them',
    )
    parser.add_argument(
        '--root',
        required=True,
        type=Path,
        metavar='DIR',
        help='folder with images/; labels/ of people are kept and compared, others written',
    )
    parser.add_argument(
        '--classes',
        type=Path,
        metavar='FILE',
        help='YAML file of the classes (default: ROOT/classes.yaml)',
    )
    parser.add_argument(
        '--least-confidence',
        type=float,
        default=0.8,
        metavar='SHARE',
        help='what the teacher was less sure of is not a label, 0 to 1 (default: 0.8)',
    )


def run(args: argparse.Namespace) -> int:
    """Write labels and figures about them."""
    if not 0 <= args.least_confidence <= 1:
        msg = f'--least-confidence is {args.least_confidence}, expected 0 to 1'
        raise DataError(msg)
    root = args.root
    classes = read_class_file(args.classes or root / 'classes.yaml')
    images = {Path(key).name: path for key, path in find(root / 'images', SUFFIXES).items()}
    tiles = tiles_of(args.teacher_masks, images)
    earlier = _written_before(root / REPORT)
    matrix, written, compared = ConfusionMatrix(len(classes)), [], []
    totals = np.zeros(4, np.int64)
    least = round(255 * args.least_confidence)
    for name, parts in tiles.items():
        found = join_tiles(parts, image_size(images[name]), len(classes), least)
        label = root / 'labels' / images[name].relative_to(root / 'images').with_suffix('.png')
        if label.is_file() and name not in earlier:
            _compare(matrix, label, found)
            compared.append(name)
        else:
            write_image(label, found.labels)
            written.append(name)
        totals += (found.labels.size, found.overlap, found.contradicted, found.unsure)
    if not (root / 'classes.yaml').exists():
        write_text(root / 'classes.yaml', args.classes.read_text(encoding='utf-8'))
    figures = _figures(totals, matrix, classes) | {
        'least_confidence': args.least_confidence,
        'written': written,
        'compared': compared,
    }
    write_results(root / REPORT, figures)
    _tell(figures, root)
    return 0


def _written_before(report: Path) -> set[str]:
    """Name the images whose labels are an earlier teacher's, and may be replaced."""
    try:
        return set(json.loads(report.read_text(encoding='utf-8'))['written'])
    except FileNotFoundError:
        return set()
    except (OSError, ValueError, KeyError, TypeError) as err:
        msg = f'{report} does not tell labels of people from those of a teacher: move it away'
        raise DataError(msg) from err


def _compare(matrix: ConfusionMatrix, label: Path, found: TeacherLabels) -> None:
    people = read_ids(label)
    if people.shape != found.labels.shape:
        msg = f'{label} has another size than its image'
        raise DataError(msg)
    both = (people != UNLABELED) & (found.labels != UNLABELED)
    matrix.add(people[both], found.labels[both])


def _figures(totals: np.ndarray, matrix: ConfusionMatrix, classes: ClassSet) -> dict[str, Any]:
    pixels, overlap, contradicted, unsure = (int(each) for each in totals)
    return {
        'pixels': pixels,
        'unsure_share': unsure / pixels,
        'overlap_share': overlap / pixels,
        'contradicted_share_of_overlap': contradicted / overlap if overlap else None,
        'agreement': number(matrix.accuracy()),
        'mean_iou': number(matrix.mean_iou()),
        'iou': {
            name: number(value) for name, value in zip(classes.names, matrix.iou(), strict=True)
        },
    }


def _tell(figures: Mapping[str, Any], root: Path) -> None:
    console = Console(soft_wrap=True, markup=False, highlight=False)
    written, compared = len(figures['written']), len(figures['compared'])
    console.print(f'{written} files of labels written to {root / "labels"}')
    console.print(f'not labeled, for the teacher was not sure: {figures["unsure_share"]:.1%}')
    if figures['agreement'] is None:
        console.print('no image has labels of people: how good the teacher is, is not known')
    else:
        console.print(
            f'on {compared} images that people labeled it agrees on {figures["agreement"]:.1%} of '
            f'the pixels, mIoU {figures["mean_iou"] or 0:.3f}'
        )
    share = figures['contradicted_share_of_overlap']
    if share is None:
        console.print('no tiles overlap: whether the teacher contradicts itself is not known')
    elif share > CONTRADICTED:
        console.print(
            f'warning: the teacher contradicts itself on {share:.1%} of the pixels where tiles '
            'overlap; these are not labeled. Give it larger tiles, or look at its masks'
        )
    else:
        console.print(f'where tiles overlap it contradicts itself on {share:.1%} of the pixels')
