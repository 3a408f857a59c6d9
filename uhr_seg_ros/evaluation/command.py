# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""``uhr_seg evaluate``: a bundle against labelled images."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from uhr_seg_ros.bundle import load_bundle
from uhr_seg_ros.classes import ClassSet
from uhr_seg_ros.data.aerial import AerialSet
from uhr_seg_ros.evaluation.metrics import ConfusionMatrix
from uhr_seg_ros.segmenter import Segmenter
from uhr_seg_ros.strategies.strategy import Limits

DATASETS = {'aerial': AerialSet}
BRANCHES = ('fused', 'semantic')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument('--bundle', required=True, help='folder of the bundle, or its name')
    parser.add_argument('--dataset', choices=sorted(DATASETS), default='aerial')
    parser.add_argument('--root', required=True, type=Path, help='folder of the data set')
    parser.add_argument('--split', default='test')
    parser.add_argument(
        '--branch',
        choices=BRANCHES,
        default='fused',
        help='semantic: the low-resolution branch alone, to see what the detail branch adds',
    )
    parser.add_argument('--tile', type=int, help='run the detail branch in tiles of this size, px')
    parser.add_argument(
        '--backend',
        default='onnxruntime',
        help='back end (default: onnxruntime, the reference; TensorRT builds for every size)',
    )
    parser.add_argument('--json', type=Path, help='also write the figures to this file')


def run(args: argparse.Namespace) -> int:
    """Segment every image whole and print the figures."""
    bundle = load_bundle(args.bundle)
    data = DATASETS[args.dataset](args.root, len(bundle.classes))
    mosaics = data.load(args.split)
    matrix = ConfusionMatrix(len(bundle.classes))
    with Segmenter(bundle, args.backend, Limits(tile=args.tile)) as segmenter:
        for mosaic in tqdm(mosaics, desc='segmenting', unit='image'):
            if args.branch == 'semantic':
                mask = segmenter.semantic_only(mosaic.image)
            else:
                mask = segmenter(mosaic.image).mask
            matrix.add(mosaic.labels, mask)
    figures = summary(matrix, bundle.classes)
    title = f'{bundle.name} ({args.branch}) on {args.dataset} {args.split}'
    Console().print(_table(figures, title))
    if args.json:
        report = {
            'bundle': bundle.name,
            'sha256': segmenter.provenance['sha256'],
            'branch': args.branch,
            'tile': args.tile,
            'backend': segmenter.backend,
            'dataset': args.dataset,
            'split': args.split,
            'images': [mosaic.name for mosaic in mosaics],
            **figures,
        }
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(report, indent=2) + '\n', encoding='utf-8')
    return 0


def summary(matrix: ConfusionMatrix, classes: ClassSet) -> dict[str, object]:
    """Figures as plain numbers: ``mean_iou``, ``accuracy`` and ``iou`` by class name."""
    per_class = (None if value != value else float(value) for value in matrix.iou())
    return {
        'mean_iou': matrix.mean_iou(),
        'accuracy': matrix.accuracy(),
        'iou': dict(zip(classes.names, per_class, strict=True)),
    }


def _table(figures: dict[str, object], title: str) -> Table:
    table = Table('class', 'IoU', title=title)
    for name, value in figures['iou'].items():
        table.add_row(name, 'absent' if value is None else f'{value:.3f}')
    table.add_section()
    table.add_row('mean IoU', f'{figures["mean_iou"]:.3f}')
    table.add_row('accuracy', f'{figures["accuracy"]:.3f}')
    return table
