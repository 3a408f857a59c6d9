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

"""Who does the units of a large job: processes of this machine, or actors of a Ray cluster."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from uhr_seg_ros.cli.arguments import parse_count
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.gpu import find_gpu, GpuUnavailableError
from uhr_seg_ros.core.resources import available_cores
from uhr_seg_ros.fleet.pools import OwnProcess, Pool
from uhr_seg_ros.fleet.processes import Processes

LOCAL, RAY = 'local', 'ray'
#: The options that `add_workers` declares.
WORKER_OPTIONS = '--on --address --workers --cpus-per-worker --gpus-per-worker --retries'


def add_workers(parser: argparse._ActionsContainer) -> None:
    """Declare `WORKER_OPTIONS`; `open_pool` reads them."""
    parser.add_argument(
        '--on',
        choices=(LOCAL, RAY),
        default=LOCAL,
        help='processes of this machine, or actors of a Ray cluster (default: local)',
    )
    parser.add_argument(
        '--address',
        default='',
        metavar='HOST:PORT',
        help='of a Ray cluster that runs; auto: the one of this machine (default: one of its own '
        'for this run)',
    )
    parser.add_argument(
        '--workers',
        type=parse_count,
        metavar='N',
        help='processes, or actors (default: as many as the cores allow)',
    )
    parser.add_argument(
        '--cpus-per-worker',
        type=parse_count,
        default=1,
        metavar='N',
        help='cores of a worker, which has as many threads (default: 1)',
    )
    parser.add_argument(
        '--gpus-per-worker',
        type=_parse_gpus,
        default=0.0,
        metavar='N',
        help='GPUs of an actor, also a part such as 0.5 (default: 0)',
    )
    parser.add_argument(
        '--retries',
        type=_parse_retries,
        default=2,
        metavar='N',
        help='so many times what failed is tried again (default: 2)',
    )


def check_workers(args: argparse.Namespace) -> None:
    """
    Refuse options of workers that contradict each other.

    Raises:
        ConfigError: one has no effect.

    """
    if args.on == RAY:
        return
    for name in ('address', 'gpus_per_worker'):
        if getattr(args, name):
            msg = f'--{name.replace("_", "-")} has no effect without --on {RAY}'
            raise ConfigError(msg)


def open_pool(args: argparse.Namespace, options: Mapping[str, Any]) -> Pool:
    """
    Start the workers.

    Args:
        args: with what `add_workers` has declared, and `backend`.
        options: of the job, see `Worker`.

    Raises:
        UhrSegError: none can be started.

    """
    if args.on == RAY:
        from uhr_seg_ros.fleet.ray_pool import RayActors

        return RayActors(
            options,
            args.workers,
            address=args.address,
            cpus=args.cpus_per_worker,
            gpus=args.gpus_per_worker,
        )
    workers = args.workers or _workers_here(args)
    if workers == 1:
        return OwnProcess(options)
    return Processes(options, workers)


def _workers_here(args: argparse.Namespace) -> int:
    """Return how many workers this machine has cores for; a GPU is for one."""
    if args.backend in ('auto', 'tensorrt'):
        try:
            find_gpu()
        except GpuUnavailableError:
            pass
        else:
            return 1
    return max(1, available_cores() // args.cpus_per_worker)


def _parse_gpus(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 16.0:
        msg = f'{text!r} is no number of GPUs: expected 0 to 16, such as 0.5'
        raise argparse.ArgumentTypeError(msg)
    return value


def _parse_retries(text: str) -> int:
    if not text.isdecimal() or int(text) > 100:
        msg = f'{text!r} is no number of retries: expected 0 to 100'
        raise argparse.ArgumentTypeError(msg)
    return int(text)
