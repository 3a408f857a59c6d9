# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""``uhr_seg convert``: a published or trained checkpoint becomes a bundle."""

from __future__ import annotations

import argparse
from pathlib import Path

from uhr_seg_ros.bundle import file_sha256
from uhr_seg_ros.classes import CLASS_SETS
from uhr_seg_ros.networks.checkpoints import load_checkpoint, read_checkpoint
from uhr_seg_ros.networks.export import export_bundle
from uhr_seg_ros.networks.presets import build_network, NETWORKS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument('checkpoint', type=Path, help='weights: a PyTorch .pth file')
    parser.add_argument('--network', required=True, choices=sorted(NETWORKS))
    parser.add_argument('--output', required=True, type=Path, help='folder of the bundle')
    parser.add_argument('--name', help='name of the model; default: name of the output folder')


def run(args: argparse.Namespace) -> int:
    """Load the weights, export, and compare the export with torch."""
    network = build_network(args.network)
    load_checkpoint(network, read_checkpoint(args.checkpoint))
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
        },
    )
    print(f'{bundle.path}: {bundle.network}, {len(classes)} classes, compared with torch')
    return 0
