# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""``uhr_seg convert``: a published or trained checkpoint becomes a bundle."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from uhr_seg_ros.bundle import file_sha256
from uhr_seg_ros.classes import CLASS_SETS
from uhr_seg_ros.folder_lock import locked
from uhr_seg_ros.networks import deformed_checkpoints, fctl_checkpoints
from uhr_seg_ros.networks.checkpoints import (
    CheckpointError,
    is_own,
    load_checkpoint,
    read_checkpoint,
)
from uhr_seg_ros.networks.export import export_bundle
from uhr_seg_ros.networks.presets import build_network, Network, NETWORKS

#: Network whose released weights are one file per part -> what knows the parts and their names.
RELEASED = {
    'fctl_inria': fctl_checkpoints,
    'fctl_deepglobe': fctl_checkpoints,
    'deform_cityscapes': deformed_checkpoints,
    'deform_deepglobe': deformed_checkpoints,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        'checkpoint', nargs='?', type=Path, help='weights in one file: a PyTorch .pth file'
    )
    parser.add_argument('--network', required=True, choices=sorted(NETWORKS))
    parser.add_argument('--output', required=True, type=Path, help='folder of the bundle')
    parser.add_argument(
        '--part',
        action='append',
        default=[],
        metavar='NAME=FILE',
        help='in place of the one file: every part of released FCtL (patch, medium, large) or '
        'released learned downsampling (saliency, compress, encoder, decoder)',
    )
    parser.add_argument('--name', help='name of the model; default: name of the output folder')


def run(args: argparse.Namespace) -> int:
    """Load the weights, export, and compare the export with torch."""
    network = build_network(args.network)
    provenance = load_weights(network, args.network, args.checkpoint, args.part)
    classes = CLASS_SETS[NETWORKS[args.network].classes]
    with locked(args.output):
        bundle = export_bundle(
            network,
            args.output,
            name=args.name or args.output.resolve().name,
            preset=args.network,
            classes=classes,
            provenance=provenance,
        )
    print(f'{bundle.path}: {bundle.network}, {len(classes)} classes, compared with torch')
    return 0


def load_weights(
    network: Network, preset: str, checkpoint: Path | None, parts: Sequence[str]
) -> dict[str, Any]:
    """
    Load one file, or one file per part.

    Args:
        network: Gets the weights.
        preset: Its key of ``NETWORKS``.
        checkpoint: The one file; None: there are parts.
        parts: ``NAME=FILE`` for every part; empty: there is one file.

    Returns:
        ``checkpoint`` and ``checkpoint_sha256``: name and hash of the file, or those of every
        part by its name.

    Raises:
        CheckpointError: There is neither or both, a part is unknown, missing or there twice, or
            a file does not fit.
    """
    if not parts:
        return _load_one(network, preset, checkpoint)
    names = _part_names(network, preset)
    files = _files(parts, preset, names)
    if checkpoint:
        msg = f'{checkpoint} beside --part {parts[0]}: give one file, or {_options(names)}'
        raise CheckpointError(msg)
    tensors = {name: read_checkpoint(path) for name, path in files.items()}
    RELEASED[preset].load_released(network, tensors)
    return {
        'checkpoint': {name: path.name for name, path in files.items()},
        'checkpoint_sha256': {name: file_sha256(path) for name, path in files.items()},
    }


def _load_one(network: Network, preset: str, checkpoint: Path | None) -> dict[str, str]:
    names = _part_names(network, preset)
    if checkpoint is None:
        released = f', or the released ones by {_options(names)}' if names else ''
        msg = f'no weights for {preset}: give the file of a checkpoint{released}'
        raise CheckpointError(msg)
    tensors = read_checkpoint(checkpoint)
    if names and not is_own(network, tensors):
        msg = (
            f'{checkpoint} holds no whole {preset} as `uhr_seg train` writes it: give released '
            f'weights by {_options(names)}'
        )
        raise CheckpointError(msg)
    load_checkpoint(network, tensors)
    return {'checkpoint': checkpoint.name, 'checkpoint_sha256': file_sha256(checkpoint)}


def _part_names(network: Network, preset: str) -> tuple[str, ...]:
    released = RELEASED.get(preset)
    return tuple(released.released_names(network)) if released else ()


def _files(parts: Sequence[str], preset: str, names: Sequence[str]) -> dict[str, Path]:
    """Turn every ``NAME=FILE`` into the file of a part that the network has."""
    if not names:
        msg = f'--part {parts[0]}: {preset} has no parts, give its checkpoint as one file'
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


def _options(names: Sequence[str]) -> str:
    return ' '.join(f'--part {name}=FILE' for name in names)
