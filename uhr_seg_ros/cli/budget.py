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

"""``uhr_seg budget``: train the guess of what detail is worth, and measure what budgets cost."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.cli import budget_measures as measures
from uhr_seg_ros.cli import budget_time
from uhr_seg_ros.cli.arguments import add_bundle, add_frames, add_precision, parse_count
from uhr_seg_ros.core.bundle import Bundle, load_bundle
from uhr_seg_ros.core.command_line import CommandParser
from uhr_seg_ros.core.interruption import note_progress, signals_held
from uhr_seg_ros.core.progress import named_bar
from uhr_seg_ros.core.text import listed
from uhr_seg_ros.core.work_folders import lock_folder
from uhr_seg_ros.evaluation.both_branches import BothBranches
from uhr_seg_ros.evaluation.budget_curve import changed
from uhr_seg_ros.export.bundle_writing import add_graph
from uhr_seg_ros.pipelines.frame_budget_frames import GAIN
from uhr_seg_ros.replay.image_source import read_frames


class Part(NamedTuple):
    """A subcommand: its line of help, its arguments and its work."""

    summary: str
    add_arguments: Callable[[CommandParser], None]
    run: Callable[[argparse.Namespace], int]


def add_arguments(parser: CommandParser) -> None:
    """Declare the subcommands."""
    parts = parser.add_subparsers(dest='part', metavar='PART', required=True)
    for name, part in PARTS.items():
        described = f'{part.summary[0].upper()}{part.summary[1:]}.'
        command = parts.add_parser(name, help=part.summary, description=described)
        part.add_arguments(command)


def run(args: argparse.Namespace) -> int:
    """Do the work of the subcommand."""
    return PARTS[args.part].run(args)


def _add_fit(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser)
    add_frames(parser, required=True, note=', like what the model was trained on; no labels')
    add_precision(parser)
    parser.add_argument('--seed', type=int, default=0, metavar='N', help='of what is random')
    parser.add_argument(
        '--steps', type=parse_count, metavar='N', help='of the training (default: enough)'
    )


def _fit(args: argparse.Namespace) -> int:
    """Run the bundle on every tile of the frames, train and write; minutes on one core."""
    # PyTorch takes seconds to import, and the other subcommands do without.
    from uhr_seg_ros.training.gain_head import Example, fit_gain, STEPS, write_gain

    bundle = load_bundle(args.bundle)
    steps = args.steps or STEPS
    with (
        lock_folder(bundle.path),
        note_progress(lambda: f'nothing was changed in {bundle.path}'),
        TemporaryDirectory(prefix='uhr_seg_gain_') as folder,
    ):
        examples = [Example(*each) for each in _looked_at(bundle, args)]
        with named_bar('training', steps, unit='step') as bar:

            def note(loss: float) -> None:
                bar.set_postfix(loss=f'{loss:.4f}', refresh=False)
                bar.update()

            head = fit_gain(examples, args.seed, steps, note)
        path = Path(folder) / f'{GAIN}.onnx'
        write_gain(head, bundle.kind.dynamic_axes, path)
        facts = {
            'frames': listed(path.name for path in args.frames),
            'images': len(examples),
            'changed_share': round(float(np.mean([each.gain.mean() for each in examples])), 6),
            'steps': steps,
            'seed': args.seed,
        }
        with signals_held():
            add_graph(bundle.path, GAIN, path, facts)
    print(f'written: {GAIN} of {bundle.path}')
    return 0


def _looked_at(
    bundle: Bundle, args: argparse.Namespace
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return tokens, logits and what detail changes, image by image."""
    branches = BothBranches(bundle, EngineOptions(precision=args.precision))
    frames = read_frames(args.frames, args.topic, args.every)
    found = []
    with named_bar('looking', unit='tile') as bar:
        for number, image in enumerate(frames, start=1):
            bar.set_description_str(f'looking, image {number} of {frames.count or "many"}')
            looks = branches.look(image, bar.update)
            found.append((looks.tokens, looks.semantic_logits, changed(looks)))
    branches.close()
    return found


#: Every subcommand by its name.
PARTS: dict[str, Part] = {
    'fit': Part('train what guesses where detail pays, and put it into a bundle', _add_fit, _fit),
    'curve': Part(
        'measure accuracy over the share of a frame that is seen in detail',
        measures.add_curve,
        measures.curve,
    ),
    'flicker': Part(
        'measure what changes from frame to frame, with and without a budget',
        measures.add_flicker,
        measures.flicker,
    ),
    'time': Part(
        'measure the time of a frame over the share of it that is seen in detail',
        budget_time.add_time,
        budget_time.time,
    ),
}
