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

"""`uhr_seg segment`: image files in, masks and overlays out."""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median
import sys
from time import perf_counter

import cv2
import numpy as np

from uhr_seg_ros.cli.arguments import (
    add_backend,
    add_bundle,
    add_detail,
    add_memory_limit,
    budget_ms,
)
from uhr_seg_ros.core.errors import ConfigError, RecordingError, UhrSegError
from uhr_seg_ros.core.interruption import note_progress
from uhr_seg_ros.core.visualization import draw_density, OverlayOptions
from uhr_seg_ros.core.work_folders import lock_folder
from uhr_seg_ros.pipelines.frame_budget import FrameBudget
from uhr_seg_ros.pipelines.novelty import unknown_frames
from uhr_seg_ros.pipelines.pipeline import TilingOptions
from uhr_seg_ros.pipelines.refinement.refine import METHODS, Refinement
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.replay.image_source import read_image
from uhr_seg_ros.reports.result_files import check_names, Results


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument('images', nargs='+', type=Path, metavar='IMAGE', help='image file')
    add_bundle(parser)
    parser.add_argument('--output', required=True, type=Path, metavar='DIR', help='made if absent')
    parser.add_argument(
        '--save-logits', action='store_true', help='write <stem>_logits.npz with logits (C, H, W)'
    )
    parser.add_argument(
        '--color-mask', action='store_true', help='write <stem>_color.png, the classes as colors'
    )
    parser.add_argument(
        '--show-sampling',
        action='store_true',
        help='write <stem>_sampling.jpg, where a bundle of kind deformed looks closely',
    )
    parser.add_argument(
        '--refine', choices=METHODS, default='none', help='let the image decide the boundaries'
    )
    parser.add_argument(
        '--tile', type=int, metavar='PX', help='largest side of a tile; default: by memory'
    )
    add_detail(parser)
    add_backend(parser)
    add_memory_limit(parser)


def run(args: argparse.Namespace) -> int:
    """Segment every image; returns 1 when one of them could not be, else 0."""
    milliseconds = budget_ms(args)
    results = Results(args.output, args.color_mask, args.save_logits, args.show_sampling)
    with lock_folder(args.output):
        check_names(args.images, results)
        with Segmenter(
            args.bundle, args.backend, TilingOptions(args.memory_limit_mb, args.tile)
        ) as segmenter:
            if segmenter.fallback:
                print(f'uhr_seg: {segmenter.fallback}', file=sys.stderr)
            if args.show_sampling:
                _check_kind(segmenter)
            budget = FrameBudget(milliseconds) if milliseconds else None
            if budget is not None and segmenter.why_whole:
                raise ConfigError(segmenter.why_whole)
            return _segment_all(args, segmenter, results, budget)


def _segment_all(
    args: argparse.Namespace, segmenter: Segmenter, results: Results, budget: FrameBudget | None
) -> int:
    count = len(args.images)
    segmented = unreadable = failed = 0
    told = segmenter.fallback
    novelties: list[float] = []
    with note_progress(lambda: f'{segmented} of {count} images segmented: {args.output}'):
        for index, path in enumerate(args.images, start=1):
            try:
                image = read_image(path)
                elapsed = _segment(path, image, args, segmenter, results, budget, novelties)
            except RecordingError as err:
                print(f'uhr_seg: error: {err}', file=sys.stderr)
                unreadable += 1
                continue
            except (UhrSegError, MemoryError, cv2.error) as err:
                reason = str(err).strip() or 'out of memory'
                print(f'uhr_seg: error: image {path} is left out: {reason}', file=sys.stderr)
                failed += 1
                continue
            segmented += 1
            if segmenter.fallback != told:  # engines for the size of this image were refused
                told = segmenter.fallback
                print(f'uhr_seg: {told}', file=sys.stderr)
            size = f'{image.shape[1]}x{image.shape[0]}'
            print(f'[{index}/{count}] {path.name}  {size}  {elapsed:.0f} ms', flush=True)
    print(segmenter.bundle.domain_line)
    if novelties and (novelty := median(novelties)) > 1:
        print(f'uhr_seg: {unknown_frames(segmenter.bundle, novelty)}', file=sys.stderr)
    left_out = f', {failed} failed' if failed else ''
    print(f'{segmented} segmented, {unreadable} unreadable{left_out}: {args.output}')
    return 1 if unreadable or failed else 0


def _segment(
    path: Path,
    image: np.ndarray,
    args: argparse.Namespace,
    segmenter: Segmenter,
    results: Results,
    budget: FrameBudget | None,
    novelties: list[float],
) -> float:
    """Segment an image and write what comes out; returns the ms that segmenting took."""
    files = results.files(path.stem, image.shape[:2])
    for note in files.notes:
        print(f'uhr_seg: {path}: {note}', file=sys.stderr)
    refinement = Refinement() if args.refine == 'random_walker' else None
    pictures = OverlayOptions(overlay=True, color_mask=args.color_mask)
    if budget is not None:
        budget.forget()  # the images are not frames of one camera
    start = perf_counter()
    result = segmenter(
        image,
        logits=args.save_logits,
        overlay=pictures,
        refinement=refinement,
        budget=budget,
        novelty=True,
    )
    elapsed = (perf_counter() - start) * 1e3
    if result.novelty is not None:
        novelties.append(result.novelty)
    sampling = None
    if args.show_sampling:
        sampling = draw_density(image, segmenter.sampling_grid(image))
    files.write(result.mask, result.overlay, result.color_mask, sampling, result.logits)
    return elapsed


def _check_kind(segmenter: Segmenter) -> None:
    """Refuse a bundle that does not choose where it samples, before any image is segmented."""
    segmenter.sampling_grid(np.zeros((1, 1, 3), np.uint8))
