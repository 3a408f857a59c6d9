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

"""`uhr_seg novelty`: calibrate which frames a bundle knows, and look how known others are."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.backends.registry import open_engine
from uhr_seg_ros.cli.arguments import add_bundle, add_frames, add_precision, parse_count
from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.core.errors import BundleError
from uhr_seg_ros.core.interruption import note_progress, signals_held
from uhr_seg_ros.core.progress import named_steps
from uhr_seg_ros.core.text import listed
from uhr_seg_ros.core.work_folders import lock_folder
from uhr_seg_ros.export.bundle_writing import add_graph
from uhr_seg_ros.export.novelty import fit_known, FrameFeatures, views, WITHIN, write_known
from uhr_seg_ros.pipelines.novelty import NOVELTY, novelty_of
from uhr_seg_ros.pipelines.outputs import CheckedGraphs
from uhr_seg_ros.replay.image_source import read_frames

#: Parts of a picture that are looked at, where nobody says it.
PARTS = 48


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    parts = parser.add_subparsers(dest='part', metavar='PART', required=True)
    fit = parts.add_parser(
        'fit',
        help='learn which frames a bundle knows, and put it into the bundle',
        description='Learn which frames a bundle knows, and put it into the bundle.',
    )
    add_bundle(fit)
    add_frames(fit, required=True, note=', of ground that the model is good at; no labels')
    fit.add_argument(
        '--held-out',
        type=Path,
        nargs='+',
        metavar='INPUT',
        help='likewise, of other ground that it is good at and was not trained on: sets the limit '
        '(default: parts of --frames in turn)',
    )
    add_precision(fit)
    _add_parts(fit, PARTS)
    check = parts.add_parser(
        'check',
        help='tell how known frames are to a bundle',
        description='Tell how known frames are to a bundle: above 1 a frame is outside.',
    )
    add_bundle(check)
    add_frames(check, required=True, note='')
    add_precision(check)
    _add_parts(check, 0)


def run(args: argparse.Namespace) -> int:
    """Do the work of the subcommand."""
    return {'fit': _fit, 'check': _check}[args.part](args)


def _add_parts(parser: argparse.ArgumentParser, default: int) -> None:
    parser.add_argument(
        '--parts',
        type=parse_count,
        default=default,
        metavar='N',
        help='parts of each picture that are looked at as frames, too',
    )
    parser.add_argument('--seed', type=int, default=0, metavar='N', help='of their places')


def _fit(args: argparse.Namespace) -> int:
    bundle = load_bundle(args.bundle)
    generator = np.random.default_rng(args.seed)
    features = FrameFeatures(bundle, EngineOptions(precision=args.precision))

    def look(paths: Sequence[Path], topic: str = '', every: int = 1) -> Iterator[np.ndarray]:
        frames = read_frames(paths, topic, every)
        for image in named_steps(frames, _names(paths), frames.count, unit='picture'):
            yield np.stack([features(view) for view in views(image, args.parts, generator)])

    with (
        lock_folder(bundle.path),
        note_progress(lambda: f'nothing was changed in {bundle.path}'),
        TemporaryDirectory(prefix='uhr_seg_novelty_') as folder,
    ):
        parts = list(look(args.frames, args.topic, args.every))
        held_out = np.concatenate(list(look(args.held_out))) if args.held_out else None
        features.close()
        known = fit_known(parts, held_out)
        path = Path(folder) / f'{NOVELTY}.onnx'
        write_known(known, path)
        facts = {
            'frames': _names(args.frames),
            'held_out': _names(args.held_out) if args.held_out else 'parts of the frames in turn',
            'pictures': len(parts),
            'kept': len(known.frames),
            'within_limit': WITHIN,
            'parts': args.parts,
            'seed': args.seed,
        }
        with signals_held():
            add_graph(bundle.path, NOVELTY, path, facts)
    print(
        f'written: {NOVELTY} of {bundle.path}, {len(known.frames)} frames of {len(parts)} pictures'
    )
    return 0


def _names(paths: Sequence[Path]) -> str:
    return listed(path.name for path in paths)


def _check(args: argparse.Namespace) -> int:
    bundle = load_bundle(args.bundle)
    if NOVELTY not in bundle.graphs:
        msg = f'bundle {bundle.path} does not know which frames it knows: uhr_seg novelty fit'
        raise BundleError(msg)
    features = FrameFeatures(bundle, EngineOptions(precision=args.precision))
    graphs = CheckedGraphs(bundle, {NOVELTY: open_engine(bundle.graphs[NOVELTY], 1)})
    generator = np.random.default_rng(args.seed)
    frames = read_frames(args.frames, args.topic, args.every)
    found = np.array(
        [
            novelty_of(graphs, features(view)[None, :, None, None]).item()
            for image in named_steps(frames, 'checking', frames.count, unit='picture')
            for view in views(image, args.parts, generator)
        ]
    )
    features.close()
    graphs.close()
    outside = float((found > 1).mean())
    print(bundle.domain_line)
    print(
        f'{len(found)} frames, novelty {np.median(found):.2f} (median), {found.min():.2f} to '
        f'{found.max():.2f}; {outside:.0%} are above 1, outside of what it knows'
    )
    return 0
