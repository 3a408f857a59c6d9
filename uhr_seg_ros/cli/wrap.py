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

"""`uhr_seg wrap`: a segmentation network that others exported to ONNX becomes a bundle."""

from __future__ import annotations

import argparse
from pathlib import Path
import sys

from uhr_seg_ros.cli.wrap_pictures import TEST_FOLDER, try_pictures
from uhr_seg_ros.core.command_line import Mode, refuse_without_effect
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.work_folders import lock_folder
from uhr_seg_ros.export.network_input import Said
from uhr_seg_ros.export.network_inspection import inspect_network, Inspection
from uhr_seg_ros.export.option_values import parse_classes, parse_domain
from uhr_seg_ros.export.wrapping import normalization_of, notes_of, wrap_network
from uhr_seg_ros.image_io.files import read_image
from uhr_seg_ros.onnx_graphs.network_adaptation import (
    CHANNEL_ORDERS,
    LAYOUTS,
    LOGITS,
    MASK,
    PROBABILITIES,
)

#: Looking at a network writes nothing.
MODES = (
    Mode('--inspect', '', lambda args: args.inspect),
    Mode('', '--output --image --domain --name'),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument('onnx_file', type=Path, metavar='FILE', help='the network: an .onnx file')
    parser.add_argument(
        '--inspect',
        action='store_true',
        help='only show what the network takes and gives, what is guessed and what must be given',
    )
    parser.add_argument(
        '--output',
        type=Path,
        metavar='DIR',
        help='folder of the bundle (default: none, for --inspect)',
    )
    parser.add_argument(
        '--classes',
        metavar='FILE|NAME',
        help='a YAML file with the list classes, as the classes.yaml of a data set, or a known '
        'set such as cityscapes (default: none, for --inspect)',
    )
    _add_image_options(parser)
    _add_score_options(parser)
    parser.add_argument(
        '--image',
        nargs='+',
        type=Path,
        default=[],
        metavar='IMAGE',
        help=f'test images, whose masks and overlays go to DIR/{TEST_FOLDER}',
    )
    parser.add_argument(
        '--domain',
        action='append',
        default=[],
        metavar='KEY=VALUE|FILE|NAME',
        help='what the model is for: view=forward, ground_resolution=[0.3,1.0] (m per px), '
        'trained_on=WORDS, or that of a known set such as cityscapes',
    )
    parser.add_argument(
        '--name',
        metavar='NAME',
        help='of the model, in the bundle, logs and diagnostics (default: that of the folder)',
    )


def _add_image_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('what the network takes: (pixel * scale - mean) / std')
    for name, what, where in (
        ('mean', 'mean', '0'),
        ('std', 'standard deviation', '1'),
    ):
        group.add_argument(
            f'--{name}',
            nargs=3,
            type=float,
            metavar='VALUE',
            help=f'{what} of the three channels, in the order of the network (default: {where}, '
            'if one of the three options is given)',
        )
    group.add_argument(
        '--scale',
        type=float,
        metavar='FACTOR',
        help='what pixels of 0 to 255 are multiplied by first (default: 1/255, or 1 where mean '
        'or std are above 2)',
    )
    group.add_argument(
        '--layout', choices=LAYOUTS, help='order of the axes (default: by the graph)'
    )
    group.add_argument(
        '--channel-order', choices=CHANNEL_ORDERS, default='rgb', help='of the colors'
    )
    group.add_argument(
        '--stride',
        type=int,
        metavar='PX',
        help='height and width are padded to multiples of this (default: found by running it)',
    )


def _add_score_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('what the network gives')
    group.add_argument(
        '--output-name',
        metavar='NAME',
        help='of several outputs, the one with scores or classes (default: the only one)',
    )
    group.add_argument(
        '--output-kind',
        choices=(LOGITS, PROBABILITIES, MASK),
        help='scores of classes of any scale, of 0 to 1, or numbers of classes (default: found by '
        'running it)',
    )


def run(args: argparse.Namespace) -> int:
    """Inspect a network, and write the bundle unless only that is wanted."""
    _check(args)
    classes = None if args.classes is None else parse_classes(args.classes)
    domain = parse_domain(args.domain)
    pictures = {path: read_image(path) for path in args.image}
    said = Said(
        normalization_of(args.mean, args.std, args.scale, args.channel_order),
        args.layout,
        args.channel_order,
        args.stride,
        args.output_kind,
        args.output_name,
        None if classes is None else len(classes),
    )
    inspection = inspect_network(args.onnx_file, said)
    _show(inspection)
    if args.inspect or classes is None:
        return 0
    name = args.output.resolve().name if args.name is None else args.name
    with lock_folder(args.output):
        print('comparing with the network as it was, and measuring memory ...', flush=True)
        bundle = wrap_network(
            args.onnx_file, inspection, args.output, name=name, classes=classes, domain=domain
        )
        agreement = bundle.provenance['agreement_with_original']
        print(
            f'{bundle.path}: {len(classes)} classes, the same as by {args.onnx_file.name} on '
            f'{agreement:.2%} of the pixels of noise'
        )
        print(f'{bundle.domain_line}{bundle.domain.advice}')
        try_pictures(bundle, pictures)
    return 0


def _check(args: argparse.Namespace) -> None:
    """Refuse options that are missing or without effect, before any work."""
    refuse_without_effect(args, MODES)
    missing = [f'--{each}' for each in ('classes', 'output') if not getattr(args, each)]
    if missing and not args.inspect:
        msg = f'{" and ".join(missing)} missing: give both, or --inspect to look at the network'
        raise ConfigError(msg)
    if args.stride is not None and args.stride < 1:
        msg = f'--stride {args.stride}: expected a number of px above 0'
        raise ConfigError(msg)
    if args.name is not None and not args.name:
        msg = '--name is empty: leave it out for the name of the output folder'
        raise ConfigError(msg)


def _show(inspection: Inspection) -> None:
    """Print what a network takes and gives, and what that means for the node."""
    findings = inspection.findings
    wide, wider = (max(len(each[place]) for each in findings) for place in (0, 1))
    for name, value, source in findings:
        print(f'{name:{wide}}  {value:{wider}}  {source}'.rstrip())
    for note in notes_of(inspection):
        print(f'uhr_seg: {note}', file=sys.stderr)
