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
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
import math
from pathlib import Path
import signal
from time import monotonic

from uhr_seg_ros.cli.arguments import add_root, parse_minutes
from uhr_seg_ros.cli.train_ending import Ending
from uhr_seg_ros.core.command_line import CommandParser, Mode, refuse_without_effect
from uhr_seg_ros.core.domain import Domain
from uhr_seg_ros.core.errors import TrainingError
from uhr_seg_ros.core.interruption import first_signal_asks, note_progress
from uhr_seg_ros.core.work_folders import lock_folder
from uhr_seg_ros.data.datasets import Dataset, open_dataset, read_roots
from uhr_seg_ros.export.pretrained import PARTS
from uhr_seg_ros.training.checks import field_error
from uhr_seg_ros.training.config import Config, read_config
from uhr_seg_ros.training.dataloaders import build_dataloaders
from uhr_seg_ros.training.distributed import DEVICES, process_group
from uhr_seg_ros.training.fitting import fitted
from uhr_seg_ros.training.trainer import Trainer

#: Exit codes: the recipe is finished; it was stopped before it was.
FINISHED, UNFINISHED = 0, 1

#: What who presses Ctrl-C reads.
ASKED = 'uhr_seg: ending after this step; once more to end at once'

#: Weights to start with are those of the checkpoint where a run goes on.
RESUMING = (
    Mode('--resume', '', lambda given: given.resume),
    Mode('', '--start'),
)


def add_arguments(parser: CommandParser) -> None:
    """Declare the options."""
    parser.add_argument(
        '--config', required=True, type=Path, metavar='FILE', help='YAML file with the recipe'
    )
    parser.add_argument(
        '--effort',
        default='',
        metavar='NAME',
        help='one of the efforts of the recipe, such as laptop, evening or gpu of folder.yaml '
        '(default: what the recipe says itself)',
    )
    add_root(parser)
    parser.add_argument(
        '--output', required=True, type=Path, metavar='DIR', help='folder of the run'
    )
    parser.add_argument('--resume', action='store_true', help='go on from the last checkpoint')
    parser.add_argument(
        '--minutes',
        type=parse_minutes,
        default=math.inf,
        metavar='MIN',
        help='stop after this time with a checkpoint and a bundle; the exit code is 1 until all '
        'steps are done (default: no limit)',
    )
    parser.add_argument(
        '--stop-after-checkpoint',
        action='store_true',
        help='stop after the next checkpoint, in the same way',
    )
    parser.add_argument(
        '--output-bundle',
        type=Path,
        metavar='DIR',
        help='folder of the bundle (default: bundle in that of the run)',
    )
    parser.keep_old_name('--bundle', '--output-bundle')
    parser.add_argument(
        '--name',
        metavar='NAME',
        help='of the model, in the bundle, logs and diagnostics (default: that of the folder of '
        'the run, or of --output-bundle)',
    )
    parser.add_argument('--device', choices=DEVICES, default='auto', help='what computes')
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
        f'{", ".join(PARTS)}; for network a checkpoint, or a bundle by its folder or name',
    )
    parser.add_argument(
        '--classes',
        type=Path,
        metavar='FILE',
        help='YAML file with the classes of a folder of your own (default: its classes.yaml)',
    )


def run(args: argparse.Namespace) -> int:
    """Train and export; several processes where torchrun started them."""
    refuse_without_effect(args, RESUMING)
    deadline = monotonic() + 60 * args.minutes
    config = _with_pretrained(read_config(args.config, args.effort), args.start)
    folder = args.output_bundle or args.output / 'bundle'
    name = _name(args)
    dataset = open_dataset(config.data.dataset, args.root, args.classes)
    dataset.rules = config.data.rules
    config = fitted(config, dataset)
    also = read_roots(args.also)
    with ExitStack() as locks:
        with process_group(args.device) as dist:
            if dist.writes:
                _keep_others_out(locks, args.output, args.output_bundle)
            trainer = Trainer(
                config,
                dataset.classes,
                args.output,
                dist,
                resume=args.resume,
                domain=_domain(config, dataset, also),
            )
            batches, validation = build_dataloaders(config, dataset, dist, also)
            ending = Ending(trainer, dataset, args.config.name, folder, name)
            until = trainer.next_checkpoint if args.stop_after_checkpoint else None
            locks.enter_context(note_progress(ending.so_far))
            # At its end the first signal raises, after the bundle is written.
            asked = locks.enter_context(first_signal_asks(ASKED))
            finished = trainer.run(
                batches, validation, until=until, deadline=deadline, stop=lambda: asked
            )
        if not dist.writes:
            return FINISHED  # torchrun ends all processes when one fails: the first speaks for all
        # Who sends SIGTERM does not wait; the note says how to get a bundle then.
        if asked.number in (0, signal.SIGINT):
            ending.write(finished=finished)
        return FINISHED if finished else UNFINISHED


def _name(args: argparse.Namespace) -> str:
    """Return the name of the model: as given, or that of the folder that is called so for it."""
    name = (args.output_bundle or args.output).resolve().name if args.name is None else args.name
    if not name:
        msg = '--name is empty: leave it out for the name of the folder of the run'
        raise TrainingError(msg)
    return name


def _keep_others_out(locks: ExitStack, *folders: Path | None) -> None:
    for folder in {each.resolve() for each in folders if each}:
        locks.enter_context(lock_folder(folder))


def _domain(config: Config, dataset: Dataset, also: Mapping[str, Path]) -> Domain:
    """Return the domain that the recipe names, or else that of the data sets."""
    if config.domain is not None:
        return config.domain
    domain = dataset.domain
    # What the recipe names and the command line lacks is refused where it is opened to train on.
    for name in [each for each in config.data.also if each in also]:
        domain = domain.with_images_of(open_dataset(name, also[name]).domain)
    return domain.with_scenes() if config.data.generated else domain


def _with_pretrained(config: Config, given: list[str]) -> Config:
    pretrained = dict(config.pretrained)
    for text in given:
        part, _, path = text.partition('=')
        if part not in PARTS or not path:
            raise field_error('--start', text, f'PART=FILE with PART one of {", ".join(PARTS)}')
        pretrained[part] = path
    return replace(config, pretrained=pretrained)
