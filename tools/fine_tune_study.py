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
What a start from the shipped model is worth: mIoU for 5, 20 and 50 labeled images.

    python -m tools.fine_tune_study --root AERIAL --output DIR [--minutes 60] [--figures FILE.json]

Images of 420x420 px are cut from test mosaic 5, which the shipped model was not trained on, with
classes of other names in another order; mosaic 2 is the held-out ground, seen once, after the last
step. Every recipe runs as it is, from the shipped model and from random weights (at twice the
rate, as recipes that start so have). A run that was stopped goes on when called again.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import product
import json
from pathlib import Path
from time import monotonic
from typing import Any

import cv2
import numpy as np
import yaml

from uhr_seg_ros.benchmark.host import write_results
from uhr_seg_ros.cli.main import main as uhr_seg
from uhr_seg_ros.core.atomic_io import write_text
from uhr_seg_ros.core.image_writing import write_image
from uhr_seg_ros.image_io.files import read_ids, read_image

RECIPE = Path(__file__).resolve().parents[1] / 'config/train/fine_tune.yaml'
COUNTS = (20, 5, 50)
SIDE = 420
#: Ours -> theirs: building, land, road, vegetation, water.
IDS = (2, 0, 1, 3, 4)
CLASSES = ('ground', 'road', 'roof', 'plants', 'water')
#: Of the rate of ``RECIPE``; and what is given beside it.
STARTS: dict[str, tuple[float, list[str]]] = {
    'shipped': (1.0, ['--start', 'network=hlrc_s_aerial']),
    'random': (2.0, []),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Cut the images, train, and write the figures that are there."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n', maxsplit=1)[0])
    parser.add_argument('--root', type=Path, required=True)
    parser.add_argument('--output', type=Path, required=True)
    parser.add_argument('--minutes', type=float, default=60.0)
    parser.add_argument('--steps', type=int, default=600)
    parser.add_argument('--figures', type=Path)
    args = parser.parse_args(argv)
    names = _cut(args.root, args.output / 'flights')
    end, figures = monotonic() + 60 * args.minutes, []
    for count, start in product(COUNTS, STARTS):
        if monotonic() < end:
            left = (end - monotonic()) / 60
            figures += _train(args.output, names[:count], start, args.steps, left)
    if args.figures is not None:
        write_results(args.figures, {'steps': args.steps, 'runs': figures})


def _cut(root: Path, folder: Path) -> list[str]:
    """Write images and labels, in an order drawn once; 5 are among 20 and 20 among 50."""
    image, labels = (_mosaic(root, 5)), _ids(root, 5)
    places = list(product(*(range(0, side - SIDE + 1, SIDE) for side in labels.shape)))
    names: list[str] = []
    for index in np.random.default_rng(0).permutation(len(places))[: max(COUNTS)]:
        top, left = places[index]
        part = slice(top, top + SIDE), slice(left, left + SIDE)
        names.append(f'a{len(names):02d}')
        _write(folder, names[-1], image[part], labels[part])
    _write(folder, 'held_out', _mosaic(root, 2), _ids(root, 2))
    return names


def _mosaic(root: Path, number: int) -> np.ndarray:
    return read_image(root / f'images/tile{number}.jpg')


def _ids(root: Path, number: int) -> np.ndarray:
    table = np.full(256, 255, np.uint8)
    table[: len(IDS)] = IDS
    return table[read_ids(root / f'labels/tile{number}.png')]


def _write(folder: Path, name: str, image: np.ndarray, labels: np.ndarray) -> None:
    write_image(
        folder / f'images/{name}.png',
        np.ascontiguousarray(image),
        [cv2.IMWRITE_PNG_COMPRESSION, 1],
    )
    write_image(folder / f'labels/{name}.png', np.ascontiguousarray(labels))


def _train(
    output: Path, names: Sequence[str], start: str, steps: int, minutes: float
) -> list[dict[str, Any]]:
    """Run or continue one training; its figures, none before the last step."""
    run = output / f'{start}_{len(names)}'
    factor, given = STARTS[start]
    recipe = yaml.safe_load(RECIPE.read_text(encoding='utf-8'))
    recipe |= {
        'learning_rate': recipe['learning_rate'] * factor,
        'steps': steps,
        'validate_every': steps,
        'export': 'last',
    }
    classes = {
        'classes': [{'name': name, 'color': [0, 0, 0]} for name in CLASSES],
        'splits': {'train': list(names), 'validation': ['held_out']},
    }
    for name, content in (('recipe', recipe), ('classes', classes)):
        write_text(output / f'{run.name}_{name}.yaml', yaml.safe_dump(content))
    words = ['train', '--config', f'{run}_recipe.yaml', '--classes', f'{run}_classes.yaml']
    words += ['--root', str(output / 'flights'), '--output', str(run), '--minutes', str(minutes)]
    started = monotonic()
    if not (run / 'validation.jsonl').is_file() or not (run / 'bundle').is_dir():
        uhr_seg([*words, *(['--resume'] if (run / 'last.pth').is_file() else given)])
    lines = run / 'validation.jsonl'
    text = lines.read_text(encoding='utf-8') if lines.is_file() else ''
    seconds = round(monotonic() - started)
    return [
        {'images': len(names), 'start': start, 'seconds_of_this_call': seconds, **json.loads(line)}
        for line in text.splitlines()[-1:]
    ]


if __name__ == '__main__':
    main()
