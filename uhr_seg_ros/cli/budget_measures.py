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

"""What ``uhr_seg budget`` measures: accuracy over the share of tiles, and flicker."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from uhr_seg_ros import __version__
from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.benchmark.host import write_results
from uhr_seg_ros.cli.arguments import (
    add_bundle,
    add_json,
    add_precision,
    add_root,
    add_split,
    add_threads,
    parse_count,
    parse_size,
)
from uhr_seg_ros.cli.dataset_argument import add_dataset, given_name, given_split, open_given
from uhr_seg_ros.core.atomic_io import check_writable
from uhr_seg_ros.core.bundle import Bundle, load_bundle
from uhr_seg_ros.core.command_line import CommandParser
from uhr_seg_ros.core.progress import named_steps
from uhr_seg_ros.evaluation.both_branches import BothBranches
from uhr_seg_ros.evaluation.budget_curve import BudgetCurve, rankings
from uhr_seg_ros.evaluation.fixed_share import FixedShare
from uhr_seg_ros.evaluation.flicker import Flicker, recording
from uhr_seg_ros.evaluation.labels import evaluated_images, IgnoreClasses
from uhr_seg_ros.image_io.files import read_image
from uhr_seg_ros.image_io.raster_bands import BandRules
from uhr_seg_ros.pipelines.pipeline import TilingOptions
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.reports.budget_chart import check_chart, draw_chart

#: Shares of the tiles.
SHARES = (0.0, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
#: Frames of a recording for flicker, and their size.
FRAMES, FRAME_SIZE = 12, (1080, 1920)
SHARE = 0.2


def add_curve(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `curve`."""
    add_bundle(parser)
    add_dataset(parser)
    add_root(parser)
    add_split(parser)
    add_precision(parser)
    add_threads(parser)
    add_json(parser)
    parser.add_argument(
        '--chart', type=Path, metavar='FILE', help='draw what is lost into this .svg or .png file'
    )


def curve(args: argparse.Namespace) -> int:
    """Run both branches on every tile once, and mix the masks for every ranking and share."""
    check_writable(args.json, args.chart)
    if args.chart:
        check_chart(args.chart)
    bundle = load_bundle(args.bundle)
    name, dataset = given_name(args), open_given(args)
    dataset.rules = BandRules.of(bundle.provenance)
    split = given_split(args, dataset)
    images = evaluated_images(dataset, split)
    options = EngineOptions(threads=args.threads, precision=args.precision)
    whole = Segmenter(bundle, 'onnxruntime', TilingOptions(memory_limit_mb=0), options=options)
    branches = BothBranches(bundle, options)
    counted = BudgetCurve(len(bundle.classes), rankings(bundle), SHARES)
    for each in named_steps(images, 'measuring', unit='image'):
        image, labels = IgnoreClasses(each, dataset.ignored).read()
        counted.add(branches.look(image), labels, whole(image).mask)
    figures = {
        **_origin(bundle),
        'dataset': name,
        'split': split,
        'images': [image.name for image in images],
        **branches.provenance,
        **counted.figures(),
    }
    branches.close()
    whole.close()
    _print_curve(figures)
    if args.json:
        write_results(args.json, figures)
    if args.chart:
        draw_chart(figures, args.chart)
    return 0


def add_flicker(parser: CommandParser) -> None:
    """Declare the arguments of `flicker`."""
    add_bundle(parser)
    parser.add_argument(
        '--image',
        required=True,
        type=Path,
        metavar='IMAGE',
        help='picture of the ground, which is flown over',
    )
    parser.add_argument(
        '--size', type=parse_size, default=FRAME_SIZE, metavar='WxH', help='of the frames'
    )
    parser.add_argument(
        '--count', type=parse_count, default=FRAMES, metavar='N', help='frames of the flight'
    )
    parser.keep_old_name('--frames', '--count')
    parser.add_argument(
        '--detail-share',
        type=float,
        default=SHARE,
        metavar='SHARE',
        help='run the detail branch on this share of the tiles, 0 to 1',
    )
    parser.keep_old_name('--share', '--detail-share')
    add_precision(parser)
    add_threads(parser)
    add_json(parser)


def flicker(args: argparse.Namespace) -> int:
    """Segment a still and a moving recording, whole, by the semantic branch and by a budget."""
    check_writable(args.json)
    FixedShare(args.detail_share)  # or refuses
    bundle, mosaic = load_bundle(args.bundle), read_image(args.image)
    figures: dict[str, Any] = {
        **_origin(bundle),
        'image': args.image.name,
        'size': list(args.size),
        'frames': args.count,
        'share': args.detail_share,
    }
    options = EngineOptions(threads=args.threads, precision=args.precision)
    with Segmenter(bundle, 'onnxruntime', options=options) as segmenter:
        for name, moves in (('still', False), ('moving', True)):
            figures[name] = _flicker(segmenter, mosaic, args, moves)
    for name in ('still', 'moving'):
        for how, found in figures[name].items():
            print(
                f'{name:7} {how:9} {100 * found["changed"]:6.3f} % of the pixels change, '
                f'{100 * found["changed_inside"]:6.3f} % inside of areas'
            )
    if args.json:
        write_results(args.json, figures)
    return 0


def _flicker(
    segmenter: Segmenter, mosaic: Any, args: argparse.Namespace, moves: bool
) -> dict[str, Any]:
    counters = {name: Flicker() for name in ('whole', 'semantic', 'budget')}
    budget, shares = FixedShare(args.detail_share), []
    frames = recording(mosaic, args.count, args.size, moves=moves)
    text = 'moving' if moves else 'still'
    for frame, to_ground in named_steps(frames, text, args.count, unit='frame'):
        counters['whole'].add(segmenter(frame).mask, to_ground)
        counters['semantic'].add(segmenter.semantic_only(frame), to_ground)
        found = segmenter(frame, budget=budget)
        counters['budget'].add(found.mask, to_ground)
        shares.append(round(found.detail_share, 4))
    figures: dict[str, Any] = {name: each.figures() for name, each in counters.items()}
    figures['budget']['detail_shares'] = shares
    return figures


def _origin(bundle: Bundle) -> dict[str, Any]:
    return {
        'bundle': bundle.name,
        'sha256': {name: graph.sha256 for name, graph in bundle.graphs.items()},
        'version': __version__,
    }


def _print_curve(figures: dict[str, Any]) -> None:
    whole = figures['whole']
    print(
        f'whole: mIoU {100 * whole["mean_iou"]:.1f}, boundary F {100 * whole["boundary_f"]:.1f}; '
        'points lost of mIoU / boundary F:'
    )
    print(' ' * 8 + ''.join(f'{100 * share:>11.0f} %' for share in SHARES))
    for name, points in figures['rankings'].items():
        lost = (f'{p["mean_iou_lost"]:6.2f}/{p["boundary_f_lost"]:5.2f}' for p in points)
        print(f'{name:8}' + ' '.join(lost))
