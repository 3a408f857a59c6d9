# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""``uhr_seg train``: from mosaics to a bundle."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from tqdm import tqdm

from uhr_seg_ros.data.aerial import AerialSet, hold_out, Mosaic
from uhr_seg_ros.data.crops import CropSampler
from uhr_seg_ros.data.scenes import generate_scene
from uhr_seg_ros.evaluation.metrics import ConfusionMatrix
from uhr_seg_ros.networks.export import export_bundle
from uhr_seg_ros.segmenter import Segmenter
from uhr_seg_ros.training.recipe import Config, read_config
from uhr_seg_ros.training.trainer import Batches, Trainer

SCENE_SIZE = (1536, 1536)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument('--config', required=True, type=Path, help='YAML file with the recipe')
    parser.add_argument('--root', required=True, type=Path, help='folder of the mosaics')
    parser.add_argument('--output', required=True, type=Path, help='folder of the run')
    parser.add_argument('--resume', action='store_true', help='go on from the last checkpoint')
    parser.add_argument('--bundle', type=Path, help='bundle to write; default: OUTPUT/bundle')


def run(args: argparse.Namespace) -> int:
    """Train, export, and score the bundle on the held-out part."""
    config = read_config(args.config)
    recipe, classes = config.recipe, config.classes
    mosaics = AerialSet(args.root, len(classes)).load('train')
    mosaics, held_out = hold_out(mosaics, config.validate)
    trainer = Trainer(recipe, args.output, resume=args.resume)
    trainer.run(Batches(CropSampler(mosaics, recipe.crop), _scenes(config), recipe))
    folder = args.bundle or args.output / 'bundle'
    bundle = export_bundle(
        trainer.average,
        folder,
        name=folder.resolve().name,
        preset=recipe.network,
        classes=classes,
        provenance={'config': args.config.name, 'steps': recipe.steps, 'scenes': config.scenes},
    )
    console = Console()
    with Segmenter(bundle, 'onnxruntime') as segmenter:
        for branch, mask in (
            ('fused', segmenter(held_out.image).mask),
            ('semantic branch alone', segmenter.semantic_only(held_out.image)),
        ):
            matrix = ConfusionMatrix(len(classes))
            matrix.add(held_out.labels, mask)
            console.print(f'held-out part, {branch}: mIoU {matrix.mean_iou():.3f}')
    console.print(f'bundle: {bundle.path}')
    return 0


def _scenes(config: Config) -> CropSampler | None:
    if not config.scenes:
        return None
    generated = [
        Mosaic(f'scene {seed}', *generate_scene(seed, *SCENE_SIZE))
        for seed in tqdm(range(config.scenes), desc='generating scenes', unit='scene')
    ]
    return CropSampler(generated, config.recipe.crop)
