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

"""`uhr_seg batch`: many inputs in units, on processes of this machine or on a Ray cluster."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from uhr_seg_ros.cli.arguments import (
    add_backend,
    add_bundle,
    add_every,
    add_memory_limit,
    add_precision,
    add_refine,
    add_topic,
    DEFAULT_BUNDLE,
    parse_count,
    parse_ground_resolution,
)
from uhr_seg_ros.cli.band_arguments import add_band_arguments, chosen_bands
from uhr_seg_ros.cli.segment_frames import complain
from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.gpu import find_gpu, GpuUnavailableError
from uhr_seg_ros.core.resources import available_cores
from uhr_seg_ros.core.work_folders import lock_folder
from uhr_seg_ros.fleet.driver import Batch, run_batch
from uhr_seg_ros.fleet.inputs import find_inputs
from uhr_seg_ros.fleet.options import BatchOptions
from uhr_seg_ros.fleet.pools import OwnProcess, Pool
from uhr_seg_ros.fleet.processes import Processes
from uhr_seg_ros.pipelines.raster_blocks import DEFAULT_RASTER_MEMORY_MB
from uhr_seg_ros.reports.class_areas import check_summary
from uhr_seg_ros.reports.result_files import check_names, FORMATS, Results

LOCAL, RAY = 'local', 'ray'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        'inputs',
        nargs='+',
        metavar='INPUT',
        help='what `segment` takes; also a .txt file with an input in every line, and addresses: '
        's3://, gs://, file://',
    )
    parser.add_argument(
        '--output',
        required=True,
        type=Path,
        metavar='DIR',
        help='made if absent; with Ray a folder that all nodes see',
    )
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
    add_bundle(parser, default=DEFAULT_BUNDLE)
    add_topic(parser)
    add_every(parser)
    parser.add_argument(
        '--unit-frames',
        type=parse_count,
        default=32,
        metavar='N',
        help='frames of a unit, or so many times 8 megapixels of a raster: what a worker that is '
        'killed loses at most (default: 32)',
    )
    parser.add_argument(
        '--retries',
        type=_parse_retries,
        default=2,
        metavar='N',
        help='so many times what failed is tried again (default: 2)',
    )
    parser.add_argument(
        '--cache',
        type=Path,
        metavar='DIR',
        help='of every node, for copies of what has an address (default: temporary files)',
    )
    parser.add_argument(
        '--ground-resolution',
        type=parse_ground_resolution,
        default=0.0,
        metavar='M',
        help='meters of the ground under the side of a pixel (default: what a GeoTIFF says)',
    )
    parser.add_argument(
        '--format', choices=FORMATS, default=FORMATS[0], help='of masks of images and videos'
    )
    parser.add_argument('--no-overlay', action='store_true', help='do not write overlays')
    add_band_arguments(parser)
    parser.add_argument(
        '--target-resolution',
        type=parse_ground_resolution,
        metavar='M',
        help='of rasters, as of `segment`',
    )
    parser.add_argument(
        '--raster-memory-mb',
        type=int,
        default=DEFAULT_RASTER_MEMORY_MB,
        metavar='MB',
        help='of a worker while it segments a raster',
    )
    add_backend(parser)
    add_precision(parser)
    add_refine(parser)
    add_memory_limit(parser)


def run(args: argparse.Namespace) -> int:
    """Do what is not done yet; returns 1 when some of it could not be, else 0."""
    bundle = load_bundle(args.bundle)
    _check(args)
    rules = chosen_bands(args, bundle)
    options = BatchOptions(
        output=os.path.abspath(args.output),
        bundle=str(bundle.path.absolute()),
        bundle_sha256=bundle.sha256,
        backend=args.backend,
        precision=args.precision,
        threads=args.cpus_per_worker,
        memory_limit_mb=args.memory_limit_mb,
        refine=args.refine,
        raster_memory_mb=args.raster_memory_mb,
        topic=args.topic,
        every=args.every,
        overlay=not args.no_overlay,
        mask_format=args.format,
        ground_resolution=args.ground_resolution,
        bands=rules.bands,
        stretch=rules.stretch,
        target_resolution=args.target_resolution,
        unit_frames=args.unit_frames,
        retries=args.retries,
        cache='' if args.cache is None else os.path.abspath(args.cache),
    )
    inputs, errors = find_inputs(args.inputs, args.output)
    for error in errors[: None if inputs else -1]:
        complain(str(error))
    if not inputs:
        raise errors[-1]
    with lock_folder(args.output):
        results = Results(args.output, overlay=options.overlay, mask_format=options.mask_format)
        check_names(((Path(each.place), each.name) for each in inputs), results)
        check_summary(args.output)
        batch = run_batch(options, inputs, lambda: _pool(args, options), complain)
    _tell(batch, args.output, len(errors))
    counts = batch.counts
    return 1 if errors or counts.failed or counts.left_out else 0


def _check(args: argparse.Namespace) -> None:
    """Refuse options that contradict each other."""
    if args.on == RAY:
        return
    for name in ('address', 'gpus_per_worker'):
        if getattr(args, name):
            msg = f'--{name.replace("_", "-")} has no effect without --on {RAY}'
            raise ConfigError(msg)


def _pool(args: argparse.Namespace, options: BatchOptions) -> Pool:
    if args.on == RAY:
        from uhr_seg_ros.fleet.ray_pool import RayActors

        return RayActors(
            options.as_dict(),
            args.workers,
            address=args.address,
            cpus=args.cpus_per_worker,
            gpus=args.gpus_per_worker,
        )
    workers = args.workers or _workers_here(args)
    if workers == 1:
        return OwnProcess(options.as_dict())
    return Processes(options.as_dict(), workers)


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


def _tell(batch: Batch, output: Path, unreadable: int) -> None:
    counts = batch.counts
    for line in batch.totals.areas.lines() if batch.totals else ():
        print(line)
    texts = [f'{counts.done} done']
    texts += [f'{counts.failed + unreadable} failed'] if counts.failed + unreadable else []
    texts += [f'{counts.left_out} frames or blocks left out'] if counts.left_out else []
    texts += [f'{counts.earlier} done before'] if counts.earlier else []
    print(f'{", ".join(texts)}: {output}')


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
