# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""``uhr_seg convert``: a published or trained checkpoint becomes a bundle."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from uhr_seg_ros.bundle import file_sha256
from uhr_seg_ros.classes import CLASS_SETS
from uhr_seg_ros.networks.checkpoints import (
    CheckpointError,
    is_own,
    load_checkpoint,
    read_checkpoint,
)
from uhr_seg_ros.networks.export import export_bundle
from uhr_seg_ros.networks.fctl import ReleasedFCtL
from uhr_seg_ros.networks.fctl_checkpoints import load_released
from uhr_seg_ros.networks.presets import build_network, Network, NETWORKS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument('checkpoint', type=Path, help='weights: a PyTorch .pth file')
    parser.add_argument('--network', required=True, choices=sorted(NETWORKS))
    parser.add_argument('--output', required=True, type=Path, help='folder of the bundle')
    parser.add_argument(
        '--context',
        action='append',
        default=[],
        metavar='NAME=FILE',
        help='released FCtL: weights of the extractor of a context, medium and large',
    )
    parser.add_argument('--name', help='name of the model; default: name of the output folder')


def run(args: argparse.Namespace) -> int:
    """Load the weights, export, and compare the export with torch."""
    network = build_network(args.network)
    _load(network, args.checkpoint, args.context)
    classes = CLASS_SETS[NETWORKS[args.network].classes]
    bundle = export_bundle(
        network,
        args.output,
        name=args.name or args.output.resolve().name,
        preset=args.network,
        classes=classes,
        provenance={
            'checkpoint': args.checkpoint.name,
            'checkpoint_sha256': file_sha256(args.checkpoint),
            **({'contexts': args.context} if args.context else {}),
        },
    )
    print(f'{bundle.path}: {bundle.network}, {len(classes)} classes, compared with torch')
    return 0


def _load(network: Network, checkpoint: Path, contexts: Sequence[str]) -> None:
    """Load one file, or for released FCtL one file per part."""
    tensors = read_checkpoint(checkpoint)
    if not isinstance(network, ReleasedFCtL) or is_own(network, tensors):
        if contexts:
            msg = f'--context {contexts[0]}: only released FCtL has files of its own for contexts'
            raise CheckpointError(msg)
        load_checkpoint(network, tensors)
        return
    parts = {'patch': tensors}
    for text in contexts:
        name, _, path = text.partition('=')
        if name not in network.contexts or not path:
            known = ', '.join(network.contexts)
            msg = f'--context {text}: expected NAME=FILE with NAME one of {known}'
            raise CheckpointError(msg)
        parts[name] = read_checkpoint(path)
    load_released(network, parts)
