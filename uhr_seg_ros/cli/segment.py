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

"""`uhr_seg segment`: pictures in, masks, overlays and the areas of classes out."""

from __future__ import annotations

import argparse
from contextlib import suppress
from pathlib import Path
from statistics import median
import sys

import numpy as np

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.cli.arguments import (
    add_bundle,
    add_detail,
    add_engines,
    add_inputs,
    add_verbose,
    budget_ms,
    DEFAULT_BUNDLE,
    parse_ground_resolution,
)
from uhr_seg_ros.cli.backend_line import show_backend
from uhr_seg_ros.cli.segment_frames import complain, FrameWork, settings_of
from uhr_seg_ros.cli.segment_raster_arguments import (
    add_raster_arguments,
    check_raster_arguments,
    raster_rules,
)
from uhr_seg_ros.cli.segment_rasters import RasterOptions, RasterSegmentation
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.interruption import note_progress
from uhr_seg_ros.core.work_folders import lock_folder
from uhr_seg_ros.image_io.raster_files import GDAL_SUFFIXES
from uhr_seg_ros.pipelines.frame_budget import FrameBudget
from uhr_seg_ros.pipelines.novelty import unknown_frames
from uhr_seg_ros.pipelines.pipeline import TilingOptions
from uhr_seg_ros.pipelines.raster_blocks import BlockOptions
from uhr_seg_ros.pipelines.refinement.refine import METHODS, Refinement
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.replay.inputs import Inputs, open_inputs
from uhr_seg_ros.reports.class_areas import check_summary
from uhr_seg_ros.reports.result_files import check_names, FORMATS, Results
from uhr_seg_ros.reports.segment_journal import Journal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    add_inputs(parser)
    add_bundle(parser, default=DEFAULT_BUNDLE)
    parser.add_argument('--output', required=True, type=Path, metavar='DIR', help='made if absent')
    parser.add_argument(
        '--resume',
        action='store_true',
        help='go on with an earlier run into this folder: only what is new, has changed or failed '
        'is segmented',
    )
    parser.add_argument(
        '--ground-resolution',
        type=parse_ground_resolution,
        metavar='M',
        help='meters of the ground under the side of a pixel, for square meters in summary.csv '
        '(default: what a GeoTIFF says)',
    )
    parser.add_argument(
        '--format',
        choices=FORMATS,
        default=FORMATS[0],
        help=f'of masks and classes as colors (default: {FORMATS[0]})',
    )
    parser.add_argument(
        '--no-overlay', action='store_true', help='do not write <name>_overlay.jpg'
    )
    parser.add_argument(
        '--save-logits', action='store_true', help='write <name>_logits.npz with logits (C, H, W)'
    )
    parser.add_argument(
        '--color-mask', action='store_true', help='write <name>_color.png, the classes as colors'
    )
    parser.add_argument(
        '--show-sampling',
        action='store_true',
        help='write <name>_sampling.jpg, where a bundle of kind deformed looks closely',
    )
    parser.add_argument(
        '--refine',
        choices=METHODS,
        default='none',
        help='let the image decide the boundaries (default: none)',
    )
    parser.add_argument(
        '--tile', type=int, metavar='PX', help='largest side of a tile (default: by memory)'
    )
    add_detail(parser)
    add_raster_arguments(parser)
    add_engines(parser)
    add_verbose(parser)


def run(args: argparse.Namespace) -> int:
    """Segment every frame; returns 1 when one of them could not be, else 0."""
    milliseconds = budget_ms(args)
    results = Results(
        args.output,
        args.color_mask,
        args.save_logits,
        args.show_sampling,
        not args.no_overlay,
        args.format,
    )
    check_raster_arguments(args)
    inputs = _opened(args)
    with lock_folder(args.output):
        check_names((each for source in inputs.sources for each in source.named), results)
        check_summary(args.output)
        limits = TilingOptions(args.memory_limit_mb, args.tile)
        engines = EngineOptions(threads=args.threads, precision=args.precision)
        with Segmenter(args.bundle, args.backend, limits, options=engines) as segmenter:
            show_backend(segmenter.provenance, segmenter.fallback, verbose=args.verbose)
            if args.show_sampling:
                _check_kind(segmenter)
            budget = FrameBudget(milliseconds) if milliseconds else None
            if budget is not None and segmenter.why_whole:
                raise ConfigError(segmenter.why_whole)
            return _segment_all(args, segmenter, inputs, results, budget)


def _opened(args: argparse.Namespace) -> Inputs:
    """Open the inputs, and tell which cannot be; if that is all of them, the last is raised."""
    inputs = open_inputs(args.inputs, args.topic, args.every, args.output, GDAL_SUFFIXES)
    if not inputs.sources:
        *others, last = inputs.errors
        for error in others:
            complain(str(error))
        raise last
    for error in inputs.errors:
        complain(str(error))
    return inputs


def _segment_all(
    args: argparse.Namespace,
    segmenter: Segmenter,
    inputs: Inputs,
    results: Results,
    budget: FrameBudget | None,
) -> int:
    rules = raster_rules(args, segmenter.bundle)
    options = {
        '--refine': args.refine,
        '--tile': args.tile,
        '--detail': [args.detail, args.budget_ms],
        '--ground-resolution': args.ground_resolution,
        '--bands': rules.bands,
        '--stretch': rules.stretch,
        '--target-resolution': rules.resolution,
        '--confidence': args.confidence or None,
        '--polygons': args.polygons and str(args.polygons.absolute()),
    }
    settings = settings_of(segmenter, results, options)
    refinement = Refinement() if args.refine == 'random_walker' else None
    rasters = RasterOptions(
        args.output,
        rules,
        BlockOptions(args.confidence or args.polygons is not None, refinement, budget),
        args.raster_memory_mb,
        args.memory_limit_mb,
        results.overlay,
        args.confidence,
        args.polygons,
        _of_frames_only(results),
        args.resume,
        settings,
    )
    with Journal(args.output, settings, args.resume) as journal:
        work = FrameWork(
            segmenter,
            results,
            journal,
            inputs.count,
            m2_per_pixel=(args.ground_resolution or 0.0) ** 2,
            refinement=refinement,
            budget=budget,
            rasters=RasterSegmentation(segmenter, rasters),
        )
        counts, total = work.counts, inputs.count

        def done() -> str:
            images = counts.segmented + counts.earlier
            return f'{images} of {total} images segmented: {args.output} (--resume goes on)'

        try:
            with note_progress(done):
                work.run(inputs.sources)
        except BaseException:
            with suppress(OSError):  # a full disk may be what ends the run
                work.summary.write(args.output)
            raise
        work.summary.write(args.output)
    for line in work.summary.lines():
        print(line)
    print(segmenter.bundle.domain_line)
    if work.novelties and (novelty := median(work.novelties)) > 1:
        print(f'uhr_seg: {unknown_frames(segmenter.bundle, novelty)}', file=sys.stderr)
    unreadable = counts.unreadable + len(inputs.errors)
    texts = [f'{counts.segmented} segmented', f'{unreadable} unreadable']
    texts += [f'{counts.failed} failed'] if counts.failed else []
    texts += [f'{counts.damaged} with damaged blocks'] if counts.damaged else []
    texts += [f'{counts.earlier} done before'] if counts.earlier else []
    print(f'{", ".join(texts)}: {args.output}')
    return 1 if unreadable or counts.failed or counts.damaged else 0


def _of_frames_only(results: Results) -> str:
    """Return the option that makes files of whole frames alone; empty if there is none."""
    wanted = {'--save-logits': results.logits, '--show-sampling': results.sampling}
    return next((name for name, given in wanted.items() if given), '')


def _check_kind(segmenter: Segmenter) -> None:
    """Refuse a bundle that does not choose where it samples, before any image is segmented."""
    segmenter.sampling_grid(np.zeros((1, 1, 3), np.uint8))
