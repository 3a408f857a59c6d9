# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""`uhr_seg segment`: image files in, masks and overlays out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
import sys
from time import perf_counter

import cv2
import numpy as np

from uhr_seg_ros.bundle import DEFAULT_MEMORY_LIMIT_MB
from uhr_seg_ros.drawing import draw_density, Pictures
from uhr_seg_ros.errors import UhrSegError
from uhr_seg_ros.frames import FramesError, read_image
from uhr_seg_ros.refinement.refining import METHODS, Refinement
from uhr_seg_ros.segmenter import Segmentation, Segmenter
from uhr_seg_ros.strategies.strategy import Limits


class SegmentCommandError(UhrSegError):
    """A result that cannot be written."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument('images', nargs='+', type=Path, metavar='IMAGE', help='image file')
    parser.add_argument('--bundle', required=True, help='folder or name of a model bundle')
    parser.add_argument('--output', required=True, type=Path, metavar='DIR', help='made if absent')
    parser.add_argument(
        '--save-logits', action='store_true', help='write <stem>_logits.npz with logits (C, H, W)'
    )
    parser.add_argument(
        '--color-mask', action='store_true', help='write <stem>_color.png, the classes as colours'
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
    parser.add_argument('--backend', default='auto', help='back end (default: auto)')
    parser.add_argument(
        '--memory-limit-mb',
        type=int,
        default=DEFAULT_MEMORY_LIMIT_MB,
        metavar='MB',
        help='memory for the detail branch; larger images are cut into tiles; 0: no limit',
    )


def run(args: argparse.Namespace) -> int:
    """Segment every image; returns 1 when one of them could not be read, else 0."""
    _check_stems(args.images)
    try:
        args.output.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        msg = f'output folder {args.output} cannot be made: {err.strerror}'
        raise SegmentCommandError(msg) from err
    unreadable = 0
    pictures = Pictures(overlay=True, color_mask=args.color_mask)
    refinement = Refinement() if args.refine == 'random_walker' else None
    with Segmenter(
        args.bundle, args.backend, Limits(args.memory_limit_mb, args.tile)
    ) as segmenter:
        if segmenter.fallback:
            print(f'uhr_seg: {segmenter.fallback}', file=sys.stderr)
        if args.show_sampling:
            _check_kind(segmenter)
        for index, path in enumerate(args.images, start=1):
            counter = f'[{index}/{len(args.images)}]'
            try:
                image = read_image(path)
            except FramesError as err:
                print(f'uhr_seg: error: {err}', file=sys.stderr)
                unreadable += 1
                continue
            start = perf_counter()
            result = segmenter(
                image, logits=args.save_logits, pictures=pictures, refinement=refinement
            )
            elapsed = (perf_counter() - start) * 1e3
            write_result(args.output / path.stem, result)
            if args.show_sampling:
                picture = draw_density(image, segmenter.sampling_grid(image))
                _write_image(args.output / f'{path.stem}_sampling.jpg', picture)
            size = f'{image.shape[1]}x{image.shape[0]}'
            print(f'{counter} {path.name}  {size}  {elapsed:.0f} ms', flush=True)
    print(f'{len(args.images) - unreadable} segmented, {unreadable} unreadable: {args.output}')
    return 1 if unreadable else 0


def write_result(stem: Path, result: Segmentation) -> None:
    """
    Write mask and overlay, and what else there is.

    The files are <stem>_mask.png, <stem>_overlay.jpg, <stem>_color.png and <stem>_logits.npz.

    Raises:
        SegmentCommandError: a file cannot be written.

    """
    _write_image(stem.with_name(f'{stem.name}_mask.png'), result.mask)
    _write_image(stem.with_name(f'{stem.name}_overlay.jpg'), result.overlay)
    if result.color_mask is not None:
        _write_image(stem.with_name(f'{stem.name}_color.png'), result.color_mask)
    if result.logits is not None:
        path = stem.with_name(f'{stem.name}_logits.npz')
        try:
            np.savez(path, logits=result.logits)
        except OSError as err:
            msg = f'{path} cannot be written: {err.strerror}'
            raise SegmentCommandError(msg) from err


def _write_image(path: Path, image: np.ndarray) -> None:
    data = cv2.imencode(path.suffix, image)[1]
    try:
        path.write_bytes(data.tobytes())
    except OSError as err:
        msg = f'{path} cannot be written: {err.strerror}'
        raise SegmentCommandError(msg) from err


def _check_kind(segmenter: Segmenter) -> None:
    """Refuse a bundle that does not choose where it samples, before any image is segmented."""
    segmenter.sampling_grid(np.zeros((1, 1, 3), np.uint8))


def _check_stems(paths: Sequence[Path]) -> None:
    """Refuse images whose results would overwrite each other."""
    seen: dict[str, Path] = {}
    for path in paths:
        if other := seen.get(path.stem):
            msg = f'{other} and {path} would both write {path.stem}_mask.png: rename one of them'
            raise SegmentCommandError(msg)
        seen[path.stem] = path
