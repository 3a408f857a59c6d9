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

"""``uhr_seg train``: from labeled images to a bundle."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from dataclasses import replace
import math
from pathlib import Path
from time import monotonic

from rich.console import Console
from torch import nn

from uhr_seg_ros.core.command_line import Mode, refuse_without_effect
from uhr_seg_ros.core.domain import Domain
from uhr_seg_ros.core.errors import TrainingError
from uhr_seg_ros.core.interruption import note_progress
from uhr_seg_ros.core.work_folders import lock_folder
from uhr_seg_ros.data.datasets import Dataset, open_dataset, read_roots
from uhr_seg_ros.export.checkpoints import open_checkpoint
from uhr_seg_ros.export.description import Description
from uhr_seg_ros.export.export import export_bundle
from uhr_seg_ros.export.pretrained import PARTS
from uhr_seg_ros.export.released import load_checkpoint
from uhr_seg_ros.reports.training_curves import draw_curves
from uhr_seg_ros.training.checks import field_error
from uhr_seg_ros.training.config import Config, read_config
from uhr_seg_ros.training.dataloaders import build_dataloaders
from uhr_seg_ros.training.distributed import DEVICES, process_group
from uhr_seg_ros.training.run_folder import BEST, LAST, LOG, read_log, VALIDATION
from uhr_seg_ros.training.trainer import Trainer
from uhr_seg_ros.training.validation import format_figures

#: Exit codes: the recipe is finished; --minutes ran out before it was.
FINISHED, UNFINISHED = 0, 1


#: Weights to start with are those of the checkpoint where a run goes on.
RESUMING = (
    Mode('--resume', '', lambda given: given.resume),
    Mode('', '--start'),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument('--config', required=True, type=Path, help='YAML file with the recipe')
    parser.add_argument('--root', required=True, type=Path, help='folder of the data set')
    parser.add_argument('--output', required=True, type=Path, help='folder of the run')
    parser.add_argument('--resume', action='store_true', help='go on from the last checkpoint')
    parser.add_argument(
        '--minutes',
        type=float,
        default=math.inf,
        help='stop with a checkpoint after this time; the exit code is 1 until all steps are done',
    )
    parser.add_argument('--bundle', type=Path, help='bundle to write; default: OUTPUT/bundle')
    parser.add_argument('--device', choices=DEVICES, default='auto')
    parser.add_argument(
        '--also',
        action='append',
        default=[],
        metavar='NAME=FOLDER',
        help='folder of a further data set that the recipe names',
    )
    parser.add_argument(
        '--start',
        action='append',
        default=[],
        metavar='PART=FILE',
        help='pre-trained weights of a part of the network, where a run begins: '
        f'{", ".join(PARTS)}',
    )


def run(args: argparse.Namespace) -> int:
    """Train and export; several processes where torchrun started them."""
    refuse_without_effect(args, RESUMING)
    deadline = monotonic() + 60 * args.minutes
    config = _with_pretrained(read_config(args.config), args.start)
    dataset = open_dataset(config.data.dataset, args.root)
    also = read_roots(args.also)
    with ExitStack() as locks:
        with process_group(args.device) as dist:
            if dist.writes:
                _keep_others_out(locks, args.output, args.bundle)
            trainer = Trainer(
                config,
                dataset.classes,
                args.output,
                dist,
                resume=args.resume,
                domain=_domain(config, dataset),
            )
            batches, validation = build_dataloaders(config, dataset, dist, also)
            with note_progress(lambda: _so_far(trainer)):
                finished = trainer.run(batches, validation, deadline=deadline)
        if not dist.writes:
            return FINISHED  # torchrun ends all processes when one fails: the first speaks for all
        return _finish(trainer, finished, dataset, args)


def _keep_others_out(locks: ExitStack, *folders: Path | None) -> None:
    for folder in {each.resolve() for each in folders if each}:
        locks.enter_context(lock_folder(folder))


def _so_far(trainer: Trainer) -> str:
    text = f'{trainer.step} of {trainer.config.training.steps} steps trained'
    has_checkpoint = (trainer.output / LAST).is_file()
    return f'{text}, go on from the last checkpoint with --resume' if has_checkpoint else text


def _finish(trainer: Trainer, finished: bool, dataset: Dataset, args: argparse.Namespace) -> int:
    console = Console()
    if not finished:
        steps = trainer.config.training.steps
        console.print(f'stopped after {trainer.step} of {steps} steps: go on with --resume')
        return UNFINISHED
    curves = args.output / 'curves.png'
    if draw_curves(curves, read_log(args.output / LOG), read_log(args.output / VALIDATION)):
        console.print(f'curves: {curves}')
    _export(trainer, dataset, args, console)
    return FINISHED


def _domain(config: Config, dataset: Dataset) -> Domain:
    """Return the domain that the recipe names, or else that of the data set."""
    if config.domain is not None:
        return config.domain
    return dataset.domain.with_scenes() if config.data.generated else dataset.domain


def _with_pretrained(config: Config, given: list[str]) -> Config:
    pretrained = dict(config.pretrained)
    for text in given:
        part, _, path = text.partition('=')
        if part not in PARTS or not path:
            raise field_error('--start', text, f'PART=FILE with PART one of {", ".join(PARTS)}')
        pretrained[part] = path
    return replace(config, pretrained=pretrained)


def _export(
    trainer: Trainer, dataset: Dataset, args: argparse.Namespace, console: Console
) -> None:
    config, network = trainer.config, trainer.ema.cpu()
    if config.export == 'best':
        _load_best(network, args.output / BEST, trainer.description)
    folder = args.bundle or args.output / 'bundle'
    figures = read_log(args.output / VALIDATION)[-1]
    if config.export == 'best':
        figures['mean_iou'] = trainer.best
    figure = figures['mean_iou']
    bundle = export_bundle(
        network,
        folder,
        name=folder.resolve().name,
        preset=config.training.network,
        classes=dataset.classes,
        domain=trainer.description.domain,
        provenance={
            'config': args.config.name,
            'options': config.training.options,
            'dataset': dataset.name,
            'steps': config.training.steps,
            'seed': config.training.seed,
            'weights': config.export,
            'validation_mean_iou': None if figure is None else round(figure, 4),
        },
    )
    console.print(f'bundle: {bundle.path}, validation {format_figures(figures)}', markup=False)
    console.print(f'{bundle.domain_line}{bundle.domain.advice}', markup=False)


def _load_best(network: nn.Module, path: Path, ours: Description) -> None:
    best = open_checkpoint(path)
    # None: written before an update and a resume.
    if best.description is not None and not best.description.means(ours):
        msg = f'{path} was trained as something else than this run: move it away and train again'
        raise TrainingError(msg)
    load_checkpoint(network, best.tensors)
