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

"""``uhr_seg budget time``: what a frame takes by the share of it that is seen in detail."""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.benchmark.host import write_results
from uhr_seg_ros.cli.arguments import (
    add_bundle,
    add_json,
    add_precision,
    add_threads,
    parse_count,
    parse_size,
)
from uhr_seg_ros.core.atomic_io import check_writable
from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.core.progress import named_steps
from uhr_seg_ros.evaluation.fixed_share import FixedShare
from uhr_seg_ros.evaluation.flicker import recording
from uhr_seg_ros.image_io.files import read_image
from uhr_seg_ros.pipelines.segmenter import Segmenter

SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
SIZE, REPEAT = (2160, 3840), 7


def add_time(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_bundle(parser)
    parser.add_argument(
        '--image',
        required=True,
        type=Path,
        metavar='IMAGE',
        help='picture of the ground, which is flown over',
    )
    parser.add_argument(
        '--size', type=parse_size, default=SIZE, metavar='WxH', help='of the frames'
    )
    parser.add_argument(
        '--repeat', type=parse_count, default=REPEAT, metavar='N', help='measurements that count'
    )
    add_precision(parser)
    add_threads(parser)
    add_json(parser)


def time(args: argparse.Namespace) -> int:
    """Time whole frames and shares in turn; of earlier frames nothing is kept."""
    check_writable(args.json)
    bundle, mosaic = load_bundle(args.bundle), read_image(args.image)
    frame, _ = next(recording(mosaic, 1, args.size, moves=False))
    names = 'whole', *map(str, SHARES)
    times: dict[str, list[float]] = {name: [] for name in names}
    cores: dict[str, list[float]] = {name: [] for name in names}
    options = EngineOptions(threads=args.threads, precision=args.precision)
    with Segmenter(bundle, 'onnxruntime', options=options) as segmenter:
        for index in named_steps(range(args.repeat + 1), 'timing', unit='round'):
            for name in names:
                taken, of_cores = _milliseconds(segmenter, frame, name)
                if index:  # the first round puts memory in place
                    times[name].append(taken)
                    cores[name].append(of_cores)
        provenance = segmenter.provenance
    figures: dict[str, Any] = {
        **{key: provenance[key] for key in ('bundle', 'backend', 'version', 'precision')},
        'size': list(args.size),
        'repeat': args.repeat,
        'ms': _rounded(times),
        'core_ms': _rounded(cores),
    }
    for name, each in times.items():
        label = name if name == 'whole' else f'{float(name):.0%}'
        print(
            f'{label:>6} {min(each):7.0f} ms at least, {median(each):7.0f} in the middle, '
            f'{min(cores[name]):7.0f} of the cores'
        )
    if args.json:
        write_results(args.json, figures)
    return 0


def _milliseconds(segmenter: Segmenter, frame: np.ndarray, name: str) -> tuple[float, float]:
    """Return what a frame takes, and what all cores together work for it."""
    budget = None if name == 'whole' else FixedShare(float(name))
    start, work = perf_counter(), process_time()
    segmenter(frame, budget=budget)
    return (perf_counter() - start) * 1e3, (process_time() - work) * 1e3


def _rounded(times: dict[str, list[float]]) -> dict[str, list[float]]:
    return {name: [round(value, 1) for value in taken] for name, taken in times.items()}
