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

"""`uhr_seg quantize`: int8 graphs of a bundle for ONNX Runtime on a CPU."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
import shutil
from typing import Any

import numpy as np
from tqdm import tqdm

from uhr_seg_ros.backends.memory_profile import detail_bytes_per_pixel
from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.cli.arguments import add_bundle, add_frames
from uhr_seg_ros.core.atomic_io import atomic_write
from uhr_seg_ros.core.bundle import Bundle, GraphSet, load_bundle, MODEL_FILE
from uhr_seg_ros.core.command_line import CommandParser
from uhr_seg_ros.core.errors import BundleError, EngineError
from uhr_seg_ros.core.interruption import note_progress, signals_held
from uhr_seg_ros.core.progress import named_steps
from uhr_seg_ros.core.resources import has_exact_int8
from uhr_seg_ros.core.text import listed
from uhr_seg_ros.core.work_folders import draft_folder, lock_folder
from uhr_seg_ros.export.bundle_writing import add_precision, raise_memory
from uhr_seg_ros.export.cpu_graphs import rewrite_in_place
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.pipelines.verification import AGREEMENT
from uhr_seg_ros.quantization.int8_choice import Choice, Int8Choice, matching
from uhr_seg_ros.quantization.int8_trial import Loss, LossCounter, sample_tiles, Trial
from uhr_seg_ros.replay.image_source import read_frames

#: Side of the tiles, px, and how many there are at most.
TILE, TILES = 512, 48
#: A half of the tiles is calibrated with, a quarter chosen by and a quarter checked with.
MIN_TILES = 4
SEED = 5

#: Share of the pixels that keep their class, on the tiles that layers are chosen by.
MIN_AGREEMENT = 0.995

#: Layers of the ranking that are shown and stored.
SHOWN = 10


def add_arguments(parser: CommandParser) -> None:
    """Declare the arguments of the command."""
    add_bundle(parser)
    add_frames(parser, required=True, note=', like what the model will see')
    parser.add_argument(
        '--output', type=Path, metavar='DIR', help='folder of the new bundle (default: in place)'
    )
    parser.add_argument(
        '--keep-fp32',
        nargs='+',
        default=[],
        metavar='LAYER',
        help='layers that stay in fp32: a graph, or the beginning of a name, such as '
        'detail/region',
    )
    parser.add_argument(
        '--agreement',
        type=float,
        default=MIN_AGREEMENT,
        metavar='SHARE',
        help='share of the pixels that have to keep their class; layers stay in fp32 until they '
        'do',
    )
    parser.add_argument(
        '--crop',
        type=int,
        default=TILE,
        metavar='PX',
        help='side of the pieces of frames that are looked at',
    )
    parser.keep_old_name('--tile', '--crop')
    parser.add_argument(
        '--default', action='store_true', help='let the CPU take int8 when nobody chooses'
    )


def run(args: argparse.Namespace) -> int:
    """Calibrate, choose the layers, check on other tiles and write; says what int8 costs."""
    bundle = load_bundle(args.bundle)
    _check(args, bundle)
    output = args.output or bundle.path
    with lock_folder(output), note_progress(lambda: f'nothing was changed in {output}'):
        return _quantize(args, bundle, output)


def _quantize(args: argparse.Namespace, bundle: Bundle, output: Path) -> int:
    frames = read_frames(args.frames, args.topic, args.every)
    shown = named_steps(frames, 'reading', frames.count, unit='frame')
    tiles = sample_tiles(shown, args.crop, TILES, SEED)
    if len(tiles) < MIN_TILES:
        msg = (
            f'{listed(args.frames)} gives {len(tiles)} tiles of {args.crop} px, at least '
            f'{MIN_TILES} are needed: give more or larger frames, or a smaller --crop'
        )
        raise BundleError(msg)
    calibrating, choosing, checking = tiles[::2], tiles[1::4], tiles[3::4]
    layers = Int8Choice(bundle, _show)
    kept = {layer for name in args.keep_fp32 for layer in matching(layers.candidates, name)}
    layers.calibrate(calibrating)
    trial = Trial(bundle, choosing)
    choice = layers.choose(trial, args.agreement, kept)
    if has_exact_int8():
        choice = layers.weigh(choice, trial, args.agreement, kept)
    else:
        print('this CPU has no VNNI: which layers pay is estimated; quantize on one that has it')
    _print(choice)
    with draft_folder(output, '.int8_') as draft:
        paths = layers.write(choice.int8, draft)
        rewrite_in_place(paths)
        speed = {name: round(trial.speed(name, path), 2) for name, path in paths.items()}
        loss = _checked(bundle, paths, checking)
        facts = {
            'frames': listed(path.name for path in args.frames),
            'tiles': [len(calibrating), len(choosing), len(checking)],
            'tile': args.crop,
            'least_agreement': args.agreement,
            **loss.facts(),
            'times_faster': speed,
            **_layers(choice, kept),
        }
        _copy_bundle(bundle, output)
        # In between, an earlier model.yaml does not fit to the graphs.
        with signals_held(), _replaced(paths.values(), output):
            files = {name: path.name for name, path in paths.items()}
            added = add_precision(output, 'int8', files, facts, default=args.default)
    raise_memory(output, detail_bytes_per_pixel(added, 'int8'))
    times = ', '.join(f'{name} {value:.2f}' for name, value in speed.items())
    print(f'{loss} of tiles that nothing was chosen by; times faster here: {times}')
    print(f'written: {output}')
    return 0


def _check(args: argparse.Namespace, bundle: Bundle) -> None:
    if not bundle.kind.is_quantizable:
        msg = f'bundle {bundle.path} is of kind {bundle.kind}: int8 is made of two_branch only'
        raise BundleError(msg)
    if not 0.0 <= args.agreement <= 1.0:
        msg = f'--agreement is {args.agreement:g}, expected a share of 0 to 1'
        raise BundleError(msg)
    if args.crop < bundle.multiple:
        msg = f'--crop is {args.crop} px, expected at least {bundle.multiple}'
        raise BundleError(msg)


def _show(items: Sequence, text: str) -> Iterable:
    return tqdm(items, desc=text)


def _print(choice: Choice) -> None:
    print(f'the most sensitive of {len(choice.ranking)} layers, each one alone in int8:')
    for layer, loss in list(choice.ranking.items())[:SHOWN]:
        note = '  (stays in fp32)' if layer in choice.kept else ''
        print(f'  {1 - loss.agreement:.4%} of the pixels change  {layer}{note}')
    print(f'{len(choice.int8)} layers in int8, {len(choice.kept)} kept in fp32: {choice.loss}')


def _checked(bundle: Bundle, paths: dict[str, Path], tiles: Sequence[np.ndarray]) -> Loss:
    """Compare the whole model in int8 and in float32, as it will run."""
    graphs = {name: bundle.graphs[name].with_file(path) for name, path in paths.items()}
    draft = replace(bundle, precisions={**bundle.precisions, 'int8': GraphSet(graphs)})
    counter = LossCounter()
    with (
        Segmenter(draft, 'onnxruntime', options=EngineOptions(precision='fp32')) as reference,
        Segmenter(draft, 'onnxruntime', options=EngineOptions(precision='int8')) as quantized,
    ):
        for tile in named_steps(tiles, 'comparing', unit='tile'):
            expected, found = (_logits(each, tile) for each in (reference, quantized))
            counter.add(expected, found)
    least = bundle.agreement.get('int8', AGREEMENT['int8'])
    if counter.loss.agreement < least:
        msg = (
            f'the int8 graphs of {bundle.name} are refused: {counter.loss}, at least {least:.3%} '
            'is needed: give more frames, or a larger --agreement'
        )
        raise EngineError(msg)
    return counter.loss


def _logits(segmenter: Segmenter, tile: np.ndarray) -> np.ndarray:
    logits = segmenter(tile, logits=True).logits
    assert logits is not None  # they are requested
    return logits


@contextmanager
def _replaced(paths: Iterable[Path], output: Path) -> Iterator[None]:
    """Put new graphs into the output; earlier ones come back if the block fails."""
    pairs = [(path, output / path.name) for path in paths]
    earlier = [(path.with_suffix('.earlier'), target) for path, target in pairs if target.exists()]
    try:
        for kept, target in earlier:
            target.replace(kept)
        for path, target in pairs:
            path.replace(target)
        yield
    except BaseException:
        for _, target in pairs:
            target.unlink(missing_ok=True)
        for kept, target in earlier:
            kept.replace(target)
        raise


def _copy_bundle(bundle: Bundle, output: Path) -> None:
    """Copy a bundle to the output, if that is another folder; model.yaml, its mark, last."""
    if output.samefile(bundle.path):
        return
    ignored = shutil.ignore_patterns('.*', MODEL_FILE)
    shutil.copytree(
        bundle.path, output, dirs_exist_ok=True, ignore=ignored, copy_function=_copy_whole
    )
    _copy_whole(bundle.path / MODEL_FILE, output / MODEL_FILE)


def _copy_whole(source: str | Path, target: str | Path) -> None:
    with atomic_write(Path(target)) as unfinished:
        shutil.copyfile(source, unfinished)


def _layers(choice: Choice, kept: Iterable[object]) -> dict[str, Any]:
    return {
        'int8': [str(layer) for layer in choice.int8],
        'kept_fp32': sorted(str(layer) for layer in (*choice.kept, *kept)),
        'changed_by_one_layer': {
            str(layer): round(1 - loss.agreement, 6)
            for layer, loss in list(choice.ranking.items())[:SHOWN]
        },
    }
