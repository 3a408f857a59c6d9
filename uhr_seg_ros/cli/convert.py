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

"""``uhr_seg convert``: a published or trained checkpoint becomes a bundle."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from uhr_seg_ros.core.bundle import Bundle, file_sha256, load_bundle
from uhr_seg_ros.core.errors import CheckpointError
from uhr_seg_ros.core.text import listed
from uhr_seg_ros.core.work_folders import lock_folder
from uhr_seg_ros.export.averaging import averaged, check_alike, parse_average
from uhr_seg_ros.export.bundle_weights import WEIGHTS_FILE
from uhr_seg_ros.export.checkpoints import Checkpoint, load_state, open_checkpoint
from uhr_seg_ros.export.convert import resolve_description
from uhr_seg_ros.export.description import (
    ConversionRequest,
    Description,
)
from uhr_seg_ros.export.export import export_bundle
from uhr_seg_ros.export.option_values import parse_classes, parse_domain, parse_options
from uhr_seg_ros.export.pretrained import complete_bundle_weights, open_start
from uhr_seg_ros.export.released import (
    build_checked,
    own_state_dict,
    part_names,
    Weights,
)
from uhr_seg_ros.image_io.raster_bands import BandRules
from uhr_seg_ros.networks.presets import is_network_name, NETWORKS, SegmentationNetwork

#: What a bundle gets after its export -> the command that adds it.
MAKERS = {'int8': 'quantize', 'detail_gain': 'budget fit', 'novelty': 'novelty fit'}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        'checkpoint',
        nargs='?',
        type=Path,
        metavar='CHECKPOINT',
        help='weights in one file: a PyTorch .pth file; or a bundle that carries its weights',
    )
    parser.add_argument(
        '--network',
        type=_network,
        metavar='NETWORK',
        help='what the checkpoint was trained as; those of `uhr_seg train` say it themselves: '
        f'{", ".join(sorted(NETWORKS))}, or module:attribute of your own',
    )
    parser.add_argument(
        '--output', required=True, type=Path, metavar='DIR', help='folder of the bundle'
    )
    parser.add_argument(
        '--classes',
        metavar='FILE|NAME',
        help='classes of a checkpoint that does not name them: a YAML file with the list classes, '
        'as the classes.yaml of a data set, or a known set such as aerial',
    )
    parser.add_argument(
        '--options',
        action='append',
        default=[],
        metavar='KEY=VALUE|FILE',
        help='options of the network for a checkpoint that does not tell them, such as '
        'warped_size=[64,64], or a YAML file of them',
    )
    parser.add_argument(
        '--domain',
        action='append',
        default=[],
        metavar='KEY=VALUE|FILE|NAME',
        help='what the model is for, where the checkpoint does not tell it: view=forward, '
        'ground_resolution=[0.3,1.0] (m per px), trained_on=WORDS, or that of a known set such as '
        'cityscapes',
    )
    parser.add_argument(
        '--part',
        action='append',
        default=[],
        metavar='NAME=FILE',
        help='in place of the one file: every part of released FCtL (patch, medium, large) or '
        'released learned downsampling (saliency, compress, encoder, decoder)',
    )
    parser.add_argument(
        '--average',
        metavar='PATH=SHARE',
        help='mean of the weights and those of another checkpoint or bundle of the same network, '
        'such as the one that fine-tuning started from: of 0.5 each, with PATH=0.5',
    )
    parser.add_argument(
        '--name',
        metavar='NAME',
        help='of the model, in the bundle, logs and diagnostics (default: that of the folder)',
    )


def _network(text: str) -> str:
    if not is_network_name(text):
        known = ', '.join(map(repr, sorted(NETWORKS)))
        msg = f'invalid choice: {text!r} (choose from {known}, or module:attribute)'
        raise argparse.ArgumentTypeError(msg)
    return text


def run(args: argparse.Namespace) -> int:
    """Load the weights, export, and compare the export with torch."""
    name = args.output.resolve().name if args.name is None else args.name
    if not name:
        msg = '--name is empty: leave it out for the name of the output folder'
        raise CheckpointError(msg)
    domain = parse_domain(args.domain)
    request = ConversionRequest(args.network, parse_options(args.options), domain=domain)
    if args.classes is not None:
        where = f'--classes {Path(args.classes).name}'
        request = replace(request, classes=parse_classes(args.classes), classes_from=where)
    weights = read_weights(args.network, args.checkpoint, args.part)
    source = _bundle_of(weights)
    average = None if args.average is None else parse_average(args.average)
    resolved = resolve_description(weights, request)
    said = resolved.description
    network = build_checked(said.network, said.options, len(said.classes))
    state = state_of(network, said, weights, network.state_dict())
    if average is not None:
        check_alike(said, average.checkpoint.description, average.checkpoint.path)
        theirs = state_of(network, said, average.checkpoint, state)
        state = averaged(state, theirs, average.share)
    load_state(network, state)
    provenance = {
        **files_of(weights),
        'options': said.options,
        'classes_from': resolved.classes_from,
        **_trained_bands(weights),
        **(average.provenance() if average else {}),
    }
    with lock_folder(args.output):
        bundle = _exported(network, args.output, name, said, provenance)
    print(
        f'{bundle.path}: {bundle.network}, {len(said.classes)} classes '
        f'(from {resolved.classes_from}), compared with torch'
    )
    print(f'{bundle.domain_line}{bundle.domain.advice}')
    if lost := _not_taken_over(source, bundle):
        print(f'not taken over, since its weights do not hold it: {listed(lost)}')
    return 0


def _bundle_of(weights: Weights) -> Bundle | None:
    """Return the bundle that weights were read from; None where it was another file."""
    if isinstance(weights, Checkpoint) and weights.path.name == WEIGHTS_FILE:
        return load_bundle(weights.path.parent)
    return None


def _not_taken_over(source: Bundle | None, bundle: Bundle) -> list[str]:
    """Name what a bundle had that was made after its export, and what makes it."""
    if source is None:
        return []
    had = {*source.precisions, *source.graphs} - {*bundle.precisions, *bundle.graphs}
    return [f'{name} (uhr_seg {MAKERS[name]})' for name in MAKERS if name in had]


def _trained_bands(weights: object) -> dict[str, Any]:
    """Return which bands of its images a training saw, and how; empty where none were chosen."""
    decisive = (weights.decisive or {}) if isinstance(weights, Checkpoint) else {}
    said = {name: decisive.get(f'data.{name}') for name in ('bands', 'stretch')}
    return BandRules.of(said).fields()


def _exported(
    network: SegmentationNetwork,
    output: Path,
    name: str,
    said: Description,
    provenance: dict[str, Any],
) -> Bundle:
    try:
        return export_bundle(
            network,
            output,
            name=name,
            preset=said.network,
            classes=said.classes,
            domain=said.domain,
            provenance=provenance,
        )
    # Options that can be built but make no network, such as a factor of zero.
    except (ArithmeticError, IndexError, RuntimeError, TypeError, ValueError) as err:
        msg = f'{said.network} with the options {said.options} cannot be exported: {err}'
        raise CheckpointError(msg) from err


def state_of(
    network: SegmentationNetwork,
    said: Description,
    weights: Weights,
    lacking: Mapping[str, torch.Tensor],
) -> dict[str, torch.Tensor]:
    """
    Return weights under our names; those that only training has, and a bundle lacks, are given.

    Raises:
        CheckpointError: They do not fit; lists the names.
    """
    if isinstance(weights, Checkpoint):
        tensors = dict(weights.tensors)
        complete_bundle_weights(weights, tensors, lacking)
        weights = replace(weights, tensors=tensors)
    return own_state_dict(network, said.network, weights)


def read_weights(network: str | None, checkpoint: Path | None, parts: Sequence[str]) -> Weights:
    """
    Read one file, or one file per part.

    Args:
        network: Key of ``NETWORKS``; None: the checkpoint says it.
        checkpoint: The one file; None: there are parts.
        parts: ``NAME=FILE`` for every part; empty: there is one file.

    Raises:
        CheckpointError: There is neither or both, or a part is unknown or there twice; or a file
            cannot be read.
    """
    names = part_names(network)
    if not parts:
        if checkpoint is None:
            released = f', or the released ones by {_part_options(names)}' if names else ''
            msg = f'no weights for {network or "the bundle"}: give the file of a checkpoint'
            raise CheckpointError(msg + released)
        return open_start(checkpoint)
    files = _files(parts, network, names)
    if checkpoint:
        msg = f'{checkpoint} beside --part {parts[0]}: give one file, or {_part_options(names)}'
        raise CheckpointError(msg)
    return {name: open_checkpoint(path) for name, path in files.items()}


def files_of(weights: Weights) -> dict[str, Any]:
    """
    Describe where weights come from.

    Returns:
        ``checkpoint`` and ``checkpoint_sha256``: name and hash of the file, or those of every
        part by its name.
    """
    if isinstance(weights, Checkpoint):
        path = weights.path
        return {'checkpoint': path.name, 'checkpoint_sha256': file_sha256(path)}
    return {
        'checkpoint': {name: part.path.name for name, part in weights.items()},
        'checkpoint_sha256': {name: file_sha256(part.path) for name, part in weights.items()},
    }


def _files(parts: Sequence[str], network: str | None, names: Sequence[str]) -> dict[str, Path]:
    """Turn every ``NAME=FILE`` into the file of a part that the network has."""
    if not names:
        whose = f'{network} has no parts, give its checkpoint as one file'
        msg = f'--part {parts[0]}: {whose if network else "say --network, too"}'
        raise CheckpointError(msg)
    files: dict[str, Path] = {}
    for text in parts:
        name, _, path = text.partition('=')
        if name not in names or not path:
            msg = f'--part {text}: expected NAME=FILE with NAME one of {", ".join(names)}'
            raise CheckpointError(msg)
        if name in files:
            msg = f'--part {text}: {name} is {files[name]} already, give every part once'
            raise CheckpointError(msg)
        files[name] = Path(path)
    return files


def _part_options(names: Sequence[str]) -> str:
    return ' '.join(f'--part {name}=FILE' for name in names)
