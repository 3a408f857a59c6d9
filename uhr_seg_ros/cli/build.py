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

"""`uhr_seg build`: the engines of a bundle for frames of one size, ahead of the first flight."""

from __future__ import annotations

import argparse
from itertools import islice

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from uhr_seg_ros.backends.options import DEFAULT_WORKSPACE_MB, EngineOptions, WIDTHS
from uhr_seg_ros.cli.arguments import (
    add_bundle,
    add_cache,
    add_frames,
    add_memory_limit,
    parse_size,
)
from uhr_seg_ros.core.bundle import Bundle, load_bundle
from uhr_seg_ros.core.command_line import CommandParser
from uhr_seg_ros.core.errors import RecordingError
from uhr_seg_ros.pipelines.pipeline import TilingOptions
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.replay.image_source import read_frames

#: Frames that an int8 calibration looks at, at most.
CALIBRATION_FRAMES = 32


def add_arguments(parser: CommandParser) -> None:
    """Declare the arguments of the command."""
    add_bundle(parser)
    parser.add_argument('--precision', choices=WIDTHS, default='fp16', help='of the engines')
    parser.add_argument(
        '--size',
        type=parse_size,
        default=(2160, 3840),
        metavar='WxH',
        help='of the frames to come',
    )
    parser.keep_old_name('--input', '--size')
    parser.add_argument(
        '--workspace-mb',
        type=int,
        default=DEFAULT_WORKSPACE_MB,
        metavar='MB',
        help='scratch memory of an engine and of its build',
    )
    parser.keep_old_name('--workspace', '--workspace-mb')
    add_memory_limit(parser)
    add_frames(parser, required=False, note=': to compare on, and to calibrate int8 with')
    add_cache(parser)


def run(args: argparse.Namespace) -> int:
    """Build what is not in the cache, compare it with ONNX Runtime and say how well it agrees."""
    console = Console()
    if args.topic and not args.frames:
        msg = '--topic: only with --frames'
        raise RecordingError(msg)
    bundle = load_bundle(args.bundle)
    limits = TilingOptions(args.memory_limit_mb)
    source = read_frames(args.frames, args.topic, args.every) if args.frames else iter(())
    frames = list(islice(source, CALIBRATION_FRAMES))
    if args.precision == 'int8':
        _calibrate(console, args, bundle, limits, frames)
    columns = TextColumn('{task.description}'), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task('building', total=None)

        def show(phase: str, done: int, total: int) -> None:
            bar.update(task, description=phase, completed=done, total=total)

        options = EngineOptions(
            precision=args.precision,
            workspace_mb=args.workspace_mb,
            cache=args.cache,
            verification_image=frames[0] if frames else None,
            require_cache=True,
            retry_refused=True,
            report=console.print,
            on_progress=show,
        )
        with Segmenter(
            bundle, 'tensorrt', limits, input_size=args.size, options=options
        ) as segmenter:
            provenance = segmenter.provenance
    width, height = args.size[::-1]
    console.print(f'ready: {bundle.name} for {width}x{height} in {args.precision}')
    console.print(f'{provenance["version"]} on {provenance["device"]}')
    return 0


def _calibrate(
    console: Console,
    args: argparse.Namespace,
    bundle: Bundle,
    limits: TilingOptions,
    frames: list[np.ndarray],
) -> None:
    """Calibrate int8 graphs with the given frames; without any, earlier ones are taken."""
    if not frames:
        return
    from uhr_seg_ros.backends.tensorrt.cache import EngineCache
    from uhr_seg_ros.backends.tensorrt.specialized_graphs import SpecializedGraphs
    from uhr_seg_ros.quantization.tensorrt_calibration import calibrate

    graphs = SpecializedGraphs(bundle.name, args.precision, EngineCache(args.cache))
    console.print(f'calibrating int8 with {len(frames)} frames')
    calibrate(bundle, graphs, limits, args.size, frames)
