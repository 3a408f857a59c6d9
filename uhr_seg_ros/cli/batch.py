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
from uhr_seg_ros.cli.worker_arguments import add_workers, check_workers, open_pool
from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.core.work_folders import lock_folder
from uhr_seg_ros.fleet.driver import Batch, run_batch
from uhr_seg_ros.fleet.inputs import find_inputs
from uhr_seg_ros.fleet.options import BatchOptions
from uhr_seg_ros.pipelines.raster_blocks import DEFAULT_RASTER_MEMORY_MB
from uhr_seg_ros.reports.class_areas import check_summary
from uhr_seg_ros.reports.result_files import check_names, FORMATS, Results


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
    add_workers(parser)
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
    check_workers(args)
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
        batch = run_batch(options, inputs, lambda: open_pool(args, options.as_dict()), complain)
    _tell(batch, args.output, len(errors))
    counts = batch.counts
    return 1 if errors or counts.failed or counts.left_out else 0


def _tell(batch: Batch, output: Path, unreadable: int) -> None:
    counts = batch.counts
    for line in batch.totals.areas.lines() if batch.totals else ():
        print(line)
    texts = [f'{counts.done} done']
    texts += [f'{counts.failed + unreadable} failed'] if counts.failed + unreadable else []
    texts += [f'{counts.left_out} frames or blocks left out'] if counts.left_out else []
    texts += [f'{counts.earlier} done before'] if counts.earlier else []
    print(f'{", ".join(texts)}: {output}')
