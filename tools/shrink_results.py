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
What shrinking frames loses and gains: accuracy, time, a picture, and the table of all.

    python -m tools.shrink_results accuracy --root MOSAICS
    python -m tools.shrink_results time [--seconds 30]
    python -m tools.shrink_results picture --root MOSAICS
    python -m tools.shrink_results table

The networks that see shrunk frames are parts of the shipped bundle (`tools.shrunk_network`), the
node that runs them is `tools.shrinking_node`, its measure `uhr_seg benchmark node --command`.
`time` takes about ten minutes on two idle cores, the others one or two. Every step is a command,
printed before it runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
import os
from pathlib import Path
import shlex
import subprocess
import sys
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np

from tools.refinement_study import THIN
from tools.speed_results import call, machines, update
from uhr_seg_ros.cli.arguments import DEFAULT_BUNDLE, parse_duration
from uhr_seg_ros.core.classes import ClassSet, UNLABELED
from uhr_seg_ros.core.config_reader import read_json
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.image_writing import write_image
from uhr_seg_ros.core.program import guarded
from uhr_seg_ros.core.subprocesses import python_child
from uhr_seg_ros.core.visualization import colorize
from uhr_seg_ros.data.datasets import open_dataset
from uhr_seg_ros.evaluation.boundary_metrics import disk
from uhr_seg_ros.pipelines.segmenter import Segmenter

MARK = 'tools.shrink_results'
ROOT = Path(__file__).resolve().parents[1]

#: Result -> what it is, part of the network, and side of the shrunk frame, px; ours sees all.
VARIANTS: dict[str, tuple[str, str, int]] = {
    'ours': ('`hlrc_s_aerial`, whole frames', '', 0),
    'semantic_512': ('its semantic branch, frames shrunk to 512x512', 'semantic', 512),
    'whole_512': ('all of it, frames shrunk to 512x512', 'whole', 512),
    'semantic_1024': ('its semantic branch, 1024x1024', 'semantic', 1024),
    'whole_1024': ('all of it, 1024x1024', 'whole', 1024),
}

#: Result that was there before -> its file and what it is; see docs/results/README.md.
WHOLE = {
    'ours': ('evaluation_fused', VARIANTS['ours'][0]),
    'semantic': ('evaluation_semantic', 'its semantic branch, whole frames reduced by four'),
}

#: What is timed: ours, and what stands for the nodes of others.
TIMED = ('ours', 'semantic_512', 'whole_512')

#: Rate -> part of the name of its file.
RATES = {'max': 'lockstep', '10': '10hz'}

#: What is played, again and again.
FLIGHT = '--size 3840x2160 --rate 10 --duration 3 --seed 0'

#: Of the bundle, as `uhr_seg wrap` wants it.
NORMALIZATION = '--mean 123.675 116.28 103.53 --std 58.395 57.12 57.375 --scale 1'

#: Side of the piece of the picture, px of the mosaic, and how large a pixel is drawn.
SIDE, ZOOM = 256, 2


@contextmanager
def bundle_of(variant: str) -> Iterator[str]:
    """Yield the bundle of a variant: the shipped one, or one that is made of it."""
    _, part, side = VARIANTS[variant]
    if not part:
        yield DEFAULT_BUNDLE
        return
    with TemporaryDirectory(prefix='uhr_seg_') as folder:
        file, bundle = f'{folder}/{variant}.onnx', f'{folder}/{variant}'
        words = ['--part', part, '--size', f'{side}x{side}', '--output', file]
        _python('tools.shrunk_network', *words)
        words = ['--classes', 'aerial', *NORMALIZATION.split(), '--output', bundle]
        call(['wrap', file, *words])
        yield bundle


def measure_accuracy(args: argparse.Namespace) -> None:
    """Evaluate every variant that sees shrunk frames on the test mosaics."""
    for name in VARIANTS:
        if name in WHOLE:
            continue
        with bundle_of(name) as bundle:
            words = ['--root', str(args.root), '--split', 'test', '--dataset', 'aerial']
            file = ['--json', str(args.output / f'shrinking_{name}.json')]
            call(['evaluate', '--bundle', bundle, *words, *file])


def measure_time(args: argparse.Namespace) -> None:
    """Play a 4K flight to our node and to the one that shrinks, at every rate."""
    with TemporaryDirectory(prefix='uhr_seg_') as folder:
        flight = f'{folder}/flight_4k'
        call(['benchmark', 'make-bag', '--output', flight, *FLIGHT.split()])
        for name in TIMED:
            with bundle_of(name) as bundle:
                for rate, text in RATES.items():
                    file = str(args.output / f'shrinking_{name}_{text}.json')
                    words = ['--rate', rate, '--duration', f'{args.seconds:g}', '--json', file]
                    kind = ['bag', flight] if name == 'ours' else ['node', flight, *peer(bundle)]
                    call(['benchmark', *kind, *words])


def peer(bundle: str) -> list[str]:
    """Return the options of `benchmark node` that start the node that shrinks."""
    node = [
        *(sys.executable, '-m', 'tools.shrinking_node', '--ros-args', '-p', f'bundle:={bundle}'),
        *('-r', 'image:={image_topic}', '-r', 'mask:={mask_topic}'),
    ]
    return ['--command', shlex.join(node), '--mask-topic', '/peer/mask', '--classes', 'aerial']


def make_picture(args: argparse.Namespace) -> None:
    """Draw the piece of the test mosaics where the labels have most thin pixels."""
    dataset = open_dataset('aerial', args.root)
    image = next(each for each in dataset.images('test') if each.name == args.image)
    frame, labels = image.read_image(), image.read_labels((0, 0, *image.size))
    masks = []
    for name in ('ours', 'semantic_512'):
        with bundle_of(name) as bundle, Segmenter(bundle, 'onnxruntime') as segmenter:
            masks.append(segmenter(frame).mask)
            classes = segmenter.bundle.classes
    write_image(
        args.picture, panels(frame, labels, masks, classes), [cv2.IMWRITE_JPEG_QUALITY, 85]
    )


def thin_pixels(labels: np.ndarray) -> np.ndarray:
    """Return what an opening by a disk of `THIN` px removes of the labels, (H, W) bool."""
    thin = np.zeros(labels.shape, bool)
    for each in np.unique(labels[labels != UNLABELED]):
        region = (labels == each).astype(np.uint8)
        thin |= region > cv2.morphologyEx(region, cv2.MORPH_OPEN, disk(THIN))
    return thin


def panels(
    frame: np.ndarray, labels: np.ndarray, masks: list[np.ndarray], classes: ClassSet
) -> np.ndarray:
    """
    Draw frame, labels and masks side by side, where the labels have most thin pixels.

    Args:
        frame: (H, W, 3) uint8 BGR.
        labels: (H, W) uint8.
        masks: (H, W) uint8 each.
        classes: of both.

    Returns:
        (ZOOM SIDE, (2 + masks) ZOOM SIDE, 3) uint8 BGR, with white lines between.

    """
    share = cv2.boxFilter(thin_pixels(labels).astype(np.float32), -1, (SIDE, SIDE))
    half = SIDE // 2
    inner = share[half:-half, half:-half]
    top, left = np.unravel_index(inner.argmax(), inner.shape)
    area = slice(top, top + SIDE), slice(left, left + SIDE)
    parts = [frame[area]]
    for mask in (labels, *masks):
        parts.append(cv2.addWeighted(frame[area], 0.4, colorize(mask[area], classes), 0.6, 0))
    large = [
        cv2.resize(part, None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_NEAREST) for part in parts
    ]
    line = np.full((ZOOM * SIDE, 6, 3), 255, np.uint8)
    return np.hstack([each for part in large for each in (line, part)][1:])


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """
    Return both tables in Markdown.

    Args:
        found: name of a file of results without `shrinking_`, or of `WHOLE`, -> its content.

    """
    titles = {name: each[1] for name, each in WHOLE.items()}
    titles |= {name: each[0] for name, each in VARIANTS.items()}
    rows = [_accuracy(title, found[name]) for name, title in titles.items() if name in found]
    lines = [*_rows(ACCURACY_HEAD, rows)]
    files = [f'{name}_{text}' for name in TIMED for text in RATES.values()]
    timed = [_time(name, found) for name in TIMED] if found.keys() >= set(files) else []
    if not timed:
        lines += ['', 'Time of a 4K frame over DDS: not measured yet.']
    else:
        made = machines(found[file] for file in files)
        lines += ['', *_rows(TIME_HEAD, timed), '', *made]
    return '\n'.join((*lines, ''))


ACCURACY_HEAD = (
    'what segments | mIoU | boundary F, 2 px | recall below 16² px | to 32² px | to 96² px | '
    'road IoU | building IoU | mIoU, mosaic 2 | mosaic 5'
)
TIME_HEAD = (
    '4K over DDS | frame to mask p50, ms | p95, ms | masks per s, one at a time | at 10 Hz: '
    'masks per s | frames with a mask | processor, % of a core | peak memory, MB | mIoU, flight'
)


def _rows(head: str, rows: list[list[str]]) -> list[str]:
    marks = '|---' * len(head.split(' | ')) + '|'
    return [f'| {head} |', marks, *(f'| {" | ".join(row)} |' for row in rows)]


def _accuracy(title: str, report: Mapping[str, Any]) -> list[str]:
    recall = report['object_recall']
    images = {each['name']: each['mean_iou'] for each in report['per_image']}
    values = [
        report['mean_iou'],
        report['boundary_f']['2 px']['mean'],
        *(recall[size]['recall'] for size in ('below 16^2', '16^2 to 32^2', '32^2 to 96^2')),
        report['iou']['road'],
        report['iou']['building'],
        images['tile2'],
        images['tile5'],
    ]
    return [title, *(f'{100 * value:.1f}' for value in values)]


def _time(name: str, found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    alone, fast = (found[f'{name}_{text}'] for text in RATES.values())
    latency, figures = alone['figures']['latency_ms'], fast['figures']
    load, accuracy = figures['load'], alone['accuracy']
    return [
        VARIANTS[name][0],
        *(f'{latency[key]:.0f}' for key in ('p50', 'p95')),
        f'{alone["figures"]["throughput_hz"] or 0:.2f}',  # of a single mask there is no rate
        f'{figures["throughput_hz"] or 0:.2f}',
        f'{figures["answered"]:.0%}',
        f'{load["cpu_percent"]["node"]:.0f}',
        f'{load["peak_mb"]:.0f}',
        f'{100 * accuracy["mean_iou"]:.1f}' if accuracy else '–',
    ]


def make_table(args: argparse.Namespace) -> None:
    """Write the tables into the page."""
    names = [*VARIANTS, *(f'{name}_{text}' for name in TIMED for text in RATES.values())]
    paths = {name: args.output / f'shrinking_{name}.json' for name in names}
    paths |= {name: args.output / f'{file}.json' for name, (file, _) in WHOLE.items()}
    found = {
        name: read_json(path, ConfigError, 'make it anew')
        for name, path in paths.items()
        if path.is_file()
    }
    update(args.output / 'shrinking.md', table(found), MARK)


STEPS = {
    'accuracy': measure_accuracy,
    'time': measure_time,
    'picture': make_picture,
    'table': make_table,
}


def main() -> int:
    """Do one of the steps, and the table after what is measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('step', choices=STEPS)
    parser.add_argument('--root', type=Path, metavar='DIR', help='of the mosaics')
    parser.add_argument('--output', type=Path, default=Path('docs/results'), metavar='DIR')
    parser.add_argument('--seconds', type=parse_duration, default=30.0, help='of each rate')
    parser.add_argument('--image', default='tile5', help='mosaic of the picture')
    parser.add_argument('--picture', type=Path, default=Path('docs/images/shrinking.jpg'))
    args = parser.parse_args()
    return guarded(lambda: _run(args), 'shrink_results')


def _run(args: argparse.Namespace) -> int:
    if args.step in ('accuracy', 'picture') and args.root is None:
        msg = f'{args.step} needs --root, the folder of the mosaics'
        raise ConfigError(msg)
    os.environ['PYTHONPATH'] = os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])
    STEPS[args.step](args)
    if args.step in ('accuracy', 'time'):
        make_table(args)
    return 0


def _python(module: str, *words: str) -> None:
    print(f'python -m {module} {shlex.join(words)}', flush=True)
    if subprocess.run(**python_child(module, *words), check=False).returncode:
        msg = f'{module} failed'
        raise ConfigError(msg)


if __name__ == '__main__':
    sys.exit(main())
