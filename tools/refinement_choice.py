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
Choose the defaults of refinement by leaving one ground out in turn.

    python -m tools.refinement_choice --root AERIAL [--bundle NAME] [--output FIGURES.json]
    python -m tools.refinement_choice --root AERIAL --runs RUNS --variant NAME

With a bundle, its own test mosaics are not looked at: the grounds are those of the training split.
With the runs of ``uhr_seg compare`` on a plan with grounds, every ground is segmented by the
network that was trained without it. The choice is the one with the best boundary F among those
that leave no more wrong pixels than no refining does, each ground counting the same; what it is
worth is measured on the ground that it was not chosen on.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
import re
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from uhr_seg_ros.benchmark.host import write_results
from uhr_seg_ros.core.atomic_io import check_writable
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.data.dataset import Dataset, ON_GROUND
from uhr_seg_ros.data.datasets import open_dataset
from uhr_seg_ros.data.sample import Sample
from uhr_seg_ros.evaluation.block import Block
from uhr_seg_ros.evaluation.boundary_metrics import BoundaryF
from uhr_seg_ros.evaluation.metrics import ConfusionMatrix
from uhr_seg_ros.pipelines.refinement.refine import refine, Refinement
from uhr_seg_ros.pipelines.segmenter import Segmenter

PASSES = (1, 2, 3, 5)
BETAS = (30.0, 130.0, 500.0, 2000.0)
NONE = 'none'
#: Side of the windows that are refined, px, and how many of a ground.
WINDOW, WINDOWS = 1024, 6

#: Name of a choice, such as `3, 500`; `none` is a mask as it was found.
Choices = dict[str, Refinement | None]


def main() -> None:
    """Measure, choose, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--root', type=Path, required=True, help='folder of the aerial set')
    parser.add_argument('--bundle', default='hlrc_s_aerial')
    parser.add_argument('--runs', type=Path, help='folder of the runs of a plan with grounds')
    parser.add_argument('--variant', help='of these runs; the first seed is taken')
    parser.add_argument('--output', type=Path, help='JSON file')
    arguments = parser.parse_args()
    check_writable(arguments.output)
    dataset = open_dataset('aerial', arguments.root)
    bundles = bundles_by_ground(arguments, dataset)
    figures = {
        ground: of_ground(bundle, dataset, ground) for ground, bundle in tqdm(bundles.items())
    }
    found = choose(figures)
    show(found)
    if arguments.output:
        source = arguments.variant if arguments.runs else arguments.bundle
        write_results(arguments.output, {'source': source, **found})


def bundles_by_ground(arguments: argparse.Namespace, dataset: Dataset) -> dict[str, str | Path]:
    """Return what segments each ground."""
    if arguments.runs is None:
        grounds = dict.fromkeys(image.ground for image in dataset.images('train'))
        return dict.fromkeys(grounds, arguments.bundle)
    if not arguments.variant:
        msg = '--runs is given without --variant: name a variant of the plan'
        raise ConfigError(msg)
    variant = re.sub(r'[^a-z0-9]+', '_', arguments.variant.lower()).strip('_')
    bundles: dict[str, str | Path] = {}
    for ground in dataset.grounds():
        found = sorted((arguments.runs / ground / variant).glob('*/bundle'))
        if not found:
            msg = f'{arguments.runs} has no run of {arguments.variant!r} without {ground}'
            raise ConfigError(msg)
        bundles[ground] = found[0]
    return bundles


def choices() -> Choices:
    """Return all choices."""
    pairs = product(PASSES, BETAS)
    return {NONE: None} | {f'{n}, {beta:g}': Refinement(n, beta) for n, beta in pairs}


def of_ground(bundle: str | Path, dataset: Dataset, ground: str) -> dict[str, dict[str, float]]:
    """Measure all choices on a ground: choice -> `wrong`, `mean_iou`, `boundary_f`, percent."""
    classes = len(dataset.classes)
    options = choices()
    matrices = {name: ConfusionMatrix(classes) for name in options}
    contours = {name: BoundaryF(classes, (2,)) for name in options}
    with Segmenter(bundle, 'onnxruntime') as segmenter:
        for image, labels in windows(dataset.images(f'{ON_GROUND}{ground}')):
            mask = segmenter(image).mask
            for name, how in options.items():
                refined = mask if how is None else refine(mask, image, how).mask
                block = Block.whole(labels, refined)
                matrices[name].add(labels, refined)
                contours[name].add(block)
                contours[name].end_image()
    return {
        name: {
            'wrong': 100 * (1 - matrix.accuracy()),
            'mean_iou': 100 * matrix.mean_iou(),
            'boundary_f': 100 * float(np.nanmean(contours[name].f()[0])),
        }
        for name, matrix in matrices.items()
    }


def windows(images: Sequence[Sample]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield windows spread evenly over the images of a ground."""
    places = [
        (image, (top, left, min(WINDOW, image.size[0]), min(WINDOW, image.size[1])))
        for image in images
        for top in range(0, max(image.size[0] - WINDOW, 0) + 1, WINDOW)
        for left in range(0, max(image.size[1] - WINDOW, 0) + 1, WINDOW)
    ]
    for index in np.unique(np.linspace(0, len(places) - 1, WINDOWS).astype(int)):
        image, window = places[index]
        yield image.read(window)


def choose(figures: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, Any]:
    """
    Choose on all grounds, and on all but each.

    Args:
        figures: Ground -> choice -> figures.

    Returns:
        ``grounds`` as given; ``mean`` over them per choice; ``chosen``; and ``left_out``:
        ground -> what the others choose, and its figures there and without refining.
    """
    names = list(next(iter(figures.values())))
    keys = list(next(iter(figures.values()))[names[0]])

    def mean(grounds: Sequence[str], name: str, key: str) -> float:
        return float(np.mean([figures[ground][name][key] for ground in grounds]))

    def best(grounds: Sequence[str]) -> str:
        limit = mean(grounds, NONE, 'wrong')
        harmless = [name for name in names if mean(grounds, name, 'wrong') <= limit]
        return max(harmless, key=lambda name: mean(grounds, name, 'boundary_f'))

    everywhere = list(figures)
    left_out = {}
    for ground in everywhere:
        chosen = best([other for other in everywhere if other != ground])
        left_out[ground] = {
            'chosen_elsewhere': chosen,
            'refined': dict(figures[ground][chosen]),
            'as_found': dict(figures[ground][NONE]),
        }
    return {
        'grounds': {ground: dict(each) for ground, each in figures.items()},
        'mean': {name: {key: mean(everywhere, name, key) for key in keys} for name in names},
        'chosen': best(everywhere),
        'left_out': left_out,
    }


def show(found: Mapping[str, Any]) -> None:
    """Print the means, and what each ground gets from a choice made elsewhere."""
    table = Table('passes, beta', 'wrong', 'mIoU', 'boundary F 2 px', title='mean over grounds')
    for name, row in found['mean'].items():
        mark = ' *' if name == found['chosen'] else ''
        table.add_row(f'{name}{mark}', *(f'{value:.2f}' for value in row.values()))
    console = Console()
    console.print(table)
    for ground, each in found['left_out'].items():
        before, after = each['as_found'], each['refined']
        change = ', '.join(f'{key} {before[key]:.2f} -> {after[key]:.2f}' for key in before)
        console.print(f'{ground}: chosen elsewhere {each["chosen_elsewhere"]}: {change}')


if __name__ == '__main__':
    main()
