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

"""``uhr_seg evaluate``: a bundle against labeled images."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
import os
from pathlib import Path
import resource
from typing import Any

from uhr_seg_ros.benchmark.host import describe_run, write_results
from uhr_seg_ros.cli.arguments import (
    add_backend,
    add_bundle,
    add_json,
    add_precision,
    add_refine,
    add_root,
    add_split,
    add_threads,
    add_verbose,
)
from uhr_seg_ros.cli.backend_line import show_backend
from uhr_seg_ros.cli.band_arguments import add_band_arguments, chosen_bands
from uhr_seg_ros.cli.dataset_argument import add_dataset, given_name, given_split, open_given
from uhr_seg_ros.cli.worker_arguments import (
    add_workers,
    check_workers,
    open_pool,
    WORKER_OPTIONS,
)
from uhr_seg_ros.core.atomic_io import check_writable, write_text
from uhr_seg_ros.core.bundle import Bundle, load_bundle
from uhr_seg_ros.core.command_line import Mode, refuse_without_effect
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.interruption import note_progress
from uhr_seg_ros.core.progress import named_steps
from uhr_seg_ros.core.timing import StageClock
from uhr_seg_ros.core.work_folders import lock_folder
from uhr_seg_ros.data import image_io
from uhr_seg_ros.data.dataset import Dataset
from uhr_seg_ros.data.sample import FileSample
from uhr_seg_ros.evaluation.evaluator import Evaluator
from uhr_seg_ros.evaluation.figures import Figures
from uhr_seg_ros.evaluation.gallery import Gallery
from uhr_seg_ros.evaluation.gate import check_gate_classes, describe, gate, passes
from uhr_seg_ros.evaluation.labels import evaluated_images
from uhr_seg_ros.evaluation.measuring import Engines, open_measurer
from uhr_seg_ros.evaluation.settings import BRANCHES, EvaluationSettings, MODES, settings_for
from uhr_seg_ros.evaluation.tta import VIEWS
from uhr_seg_ros.fleet.evaluation import evaluate_in_units
from uhr_seg_ros.fleet.evaluation_units import EvaluationOptions
from uhr_seg_ros.pipelines.refinement.refine import Refinement
from uhr_seg_ros.reports import evaluation_report
from uhr_seg_ros.reports.evaluation_console import show

#: Where the data set decides.
PUBLISHED_DEFAULT = '(default: as published for the data set)'

#: Exit codes: every limit of --gate that the labels can tell of is kept, at least one; or not.
PASSED, BROKEN = 0, 1

#: Options that count with another one only.
REFINING = (
    Mode(
        '--refine random_walker',
        '--passes --beta',
        lambda given: given.refine not in (None, 'none'),
    ),
    Mode('', '--refine'),
)
TILES = (
    Mode('--detail-share', '--against-whole', lambda given: given.detail_share is not None),
    Mode('--tile', '--against-whole', lambda given: given.tile is not None),
    Mode('', ''),
)
UNITS = (
    Mode('--output', WORKER_OPTIONS, lambda given: given.output is not None),
    Mode('', '--report'),  # pictures stay where they are made
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_bundle(parser)
    add_dataset(parser)
    add_root(parser)
    add_split(parser)
    add_band_arguments(parser)
    how = parser.add_argument_group('how images are segmented')
    how.add_argument(
        '--mode',
        choices=MODES,
        help=f'the whole image, or sliding windows {PUBLISHED_DEFAULT}',
    )
    how.add_argument(
        '--window',
        type=int,
        metavar='PX',
        help=f'side of a sliding window {PUBLISHED_DEFAULT}',
    )
    how.add_argument(
        '--stride', type=int, metavar='PX', help=f'step between windows {PUBLISHED_DEFAULT}'
    )
    how.add_argument(
        '--scale',
        type=float,
        metavar='FACTOR',
        help=f'resize images by this factor before {PUBLISHED_DEFAULT}',
    )
    how.add_argument(
        '--tta',
        nargs='?',
        const='all',
        choices=sorted(VIEWS),
        help='average over 4 rotations and their mirror images; flip: over the horizontal flip',
    )
    how.add_argument(
        '--branch',
        choices=BRANCHES,
        help='semantic: the low-resolution branch alone, to see what the detail branch adds '
        '(default: fused)',
    )
    how.add_argument(
        '--tile',
        type=int,
        metavar='PX',
        help='largest side of a tile of the detail branch (default: by memory)',
    )
    how.add_argument(
        '--detail-share',
        type=float,
        metavar='SHARE',
        help='run the detail branch on this share of the tiles, 0 to 1 (default: all of them)',
    )
    add_refine(how)
    how.add_argument(
        '--passes',
        type=int,
        metavar='N',
        help=f'refining: half the band, px (default: {Refinement.passes})',
    )
    how.add_argument(
        '--beta',
        type=float,
        metavar='WEIGHT',
        help=f'refining: weight of the differences of the image (default: {Refinement.beta:g})',
    )
    how.add_argument(
        '--against-whole',
        action='store_true',
        help='with --tile or --detail-share: count what tiles change; takes the memory of the '
        'image in one piece',
    )
    add_backend(
        parser, default='onnxruntime', note=', the reference; TensorRT builds for every size'
    )
    add_precision(parser)
    parser.add_argument(
        '--gate',
        action='store_true',
        help='compare errors that are dangerous with their limits: exit code 1 if one is broken',
    )
    add_threads(parser)
    units = parser.add_argument_group('large sets: every image is measured by itself')
    units.add_argument(
        '--output',
        type=Path,
        metavar='DIR',
        help='for the counts of every image, made if absent: the same command goes on where it '
        'stopped, and several workers may measure; with Ray a folder that all nodes see',
    )
    add_workers(units)
    add_verbose(parser)
    add_json(parser)
    parser.add_argument(
        '--report', type=Path, metavar='FILE', help='also write an HTML page with pictures'
    )


def run(args: argparse.Namespace) -> int:
    """Segment every image, measure it and print the figures."""
    refuse_without_effect(args, REFINING, TILES, UNITS)
    check_workers(args)
    chosen = {name: getattr(args, name) for name in EvaluationSettings.__dataclass_fields__}
    chosen['against_whole'] = args.against_whole or None
    name = given_name(args)
    settings = settings_for(name, chosen)
    check_writable(args.json, args.report)
    bundle = load_bundle(args.bundle)
    dataset = open_given(args)
    dataset.rules = chosen_bands(args, bundle)
    _check_classes(bundle, dataset)
    if args.gate:
        check_gate_classes(bundle.classes.names)
    split = given_split(args, dataset)
    images = evaluated_images(dataset, split)
    gallery = Gallery(bundle.classes) if args.report else None
    results = Evaluator(len(bundle.classes), StageClock())
    if args.output is None:
        spent = _measure_here(args, bundle, dataset, images, settings, results, gallery)
    else:
        spent = _measure_in_units(args, bundle, dataset, split, images, settings, results)
    content = {
        'bundle': bundle.name,
        'sha256': {name: graph.sha256 for name, graph in bundle.graphs.items()},
        'backend': args.backend,
        'dataset': name,
        'split': split,
        'images': [image.name for image in images],
        **dataset.rules.fields(),
        'ignored': [bundle.classes.names[index] for index in dataset.ignored],
        'settings': asdict(settings),
        **spent,
        **Figures(bundle.classes.names, dataset.ignored, dataset.reported).of(results),
        **describe_run(),
    }
    rows = gate(content) if args.gate else []
    if args.gate:
        content['gate'] = rows
    show(content)
    for text in describe(rows):
        print(text)
    if args.json:
        write_results(args.json, content)
    if gallery is not None:
        write_text(args.report, evaluation_report.build(content, bundle.classes, gallery))
    return PASSED if not args.gate or passes(rows) else BROKEN


def _measure_here(
    args: argparse.Namespace,
    bundle: Bundle,
    dataset: Dataset,
    images: Sequence[FileSample],
    settings: EvaluationSettings,
    results: Evaluator,
    gallery: Gallery | None,
) -> dict[str, Any]:
    """Measure images one after the other, with pictures where they are wanted."""
    engines = Engines(args.backend, args.precision, args.threads)
    # Every image comes once: room for one with its labels, and no need to keep those before it.
    room = 4 * max(image.size[0] * image.size[1] for image in images)
    measured = 0
    with (
        image_io.cache.limited(room),
        open_measurer(bundle, settings, engines) as measurer,
        note_progress(lambda: f'{measured} of {len(images)} images measured, nothing was written'),
    ):
        segmenter = measurer.segmenter
        show_backend(segmenter.provenance, segmenter.fallback, verbose=args.verbose)
        for image in named_steps(images, 'evaluating', unit='image'):
            measurer.measure(image, dataset, results, gallery)
            measured += 1
    return {
        'provenance': segmenter.provenance,
        'seconds': results.seconds,
        'peak_memory_mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def _measure_in_units(
    args: argparse.Namespace,
    bundle: Bundle,
    dataset: Dataset,
    split: str,
    images: Sequence[FileSample],
    settings: EvaluationSettings,
    results: Evaluator,
) -> dict[str, Any]:
    """Let workers measure what no earlier run has."""
    engines = Engines(args.backend, args.precision, args.threads or args.cpus_per_worker)
    options = EvaluationOptions(
        output=os.path.abspath(args.output),
        bundle=str(bundle.path.absolute()),
        bundle_sha256=bundle.sha256,
        dataset=given_name(args),
        root=os.path.abspath(args.root),
        split=split,
        rules=dataset.rules.fields(),
        settings=asdict(settings),
        engines=asdict(engines),
        retries=args.retries,
    )
    with lock_folder(args.output):
        spent = evaluate_in_units(
            options, images, lambda: open_pool(args, options.as_dict()), results
        )
    show_backend(spent['provenance'], '', verbose=args.verbose)
    return spent


def _check_classes(bundle: Bundle, dataset: Dataset) -> None:
    """Refuse labels whose ids mean something else than the ids of the mask."""
    model, labels = bundle.classes.names, dataset.classes.names
    if model == labels:
        return
    msg = (
        f'bundle {bundle.name} has {len(model)} classes ({", ".join(model)}), data set '
        f'{dataset.name} in {dataset.root} has {len(labels)} ({", ".join(labels)}): they have to '
        'be the same in the same order; take a bundle that was trained on this data set'
    )
    raise ConfigError(msg)
