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

"""Types and groups of arguments that several commands share."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
import re
from typing import Any

from uhr_seg_ros.backends.options import PRECISIONS
from uhr_seg_ros.core.bundle import DEFAULT_MEMORY_LIMIT_MB
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.pipelines.refinement.refine import METHODS

#: The bundle of commands that need not be given one.
DEFAULT_BUNDLE = 'hlrc_s_aerial'

#: The split that is measured on.
SPLIT = 'test'

#: A frame in 10,000 s.
MIN_RATE_HZ = 1e-4
MAX_RATE_HZ = 1000.0
MAX_DURATION_S = 604_800.0
MAX_BUDGET_MS = 600_000.0
MAX_GROUND_RESOLUTION = 10_000.0

#: Ways to play a recording that are not a rate.
PACES = ('realtime', 'max', 'peak')


def parse_size(text: str) -> tuple[int, int]:
    """Turn `<width>x<height>` into (height, width)."""
    match = re.fullmatch(r'([1-9]\d{0,4})x([1-9]\d{0,4})', text)
    if not match:
        msg = f'{text!r} is not a size: expected <width>x<height>, such as 3840x2160'
        raise argparse.ArgumentTypeError(msg)
    return int(match[2]), int(match[1])


def parse_count(text: str) -> int:
    """Turn text into a whole number of at least 1."""
    if not text.isdecimal() or not int(text):
        msg = f'{text!r} is not a count: expected a whole number from 1'
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def parse_rate(text: str) -> float:
    """Turn text into Hz, from 0 to 1000; the slowest that is not 0 is a frame in 10,000 s."""
    rate = _parse_number(text, MAX_RATE_HZ, 'rate', 'Hz')
    if 0.0 < rate < MIN_RATE_HZ:
        msg = f'{text!r} is not a rate: expected 0, or {MIN_RATE_HZ:g} to {MAX_RATE_HZ:.0f} Hz'
        raise argparse.ArgumentTypeError(msg)
    return rate


def parse_positive_rate(text: str) -> float:
    """Turn text into Hz above 0, to 1000."""
    rate = parse_rate(text)
    if not rate:
        msg = f'{text!r} is not a rate: expected {MIN_RATE_HZ:g} to {MAX_RATE_HZ:.0f} Hz'
        raise argparse.ArgumentTypeError(msg)
    return rate


def parse_pace(text: str) -> str | float:
    """Turn text into Hz above 0, or leave one of `PACES`."""
    if text in PACES:
        return text
    rate = parse_rate(text)
    if not rate:
        msg = f'{text!r} is not a rate: expected {", ".join(PACES)}, or Hz above 0'
        raise argparse.ArgumentTypeError(msg)
    return rate


def parse_ground_resolution(text: str) -> float:
    """Turn text into meters per pixel above 0."""
    value = _parse_number(text, MAX_GROUND_RESOLUTION, 'ground resolution', 'm per pixel')
    if not value:
        msg = (
            f'{text!r} is not a ground resolution: expected m per pixel above 0, to '
            f'{MAX_GROUND_RESOLUTION:.0f}'
        )
        raise argparse.ArgumentTypeError(msg)
    return value


def parse_duration(text: str) -> float:
    """Turn text into seconds, from 0 to a week."""
    return _parse_number(text, MAX_DURATION_S, 'duration', 's')


def parse_minutes(text: str) -> float:
    """Turn text into minutes, from 0 to a week, or infinity for no limit."""
    return math.inf if text == 'inf' else _parse_number(text, MAX_DURATION_S / 60, 'time', 'min')


def _parse_number(text: str, highest: float, what: str, unit: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= highest:
        msg = f'{text!r} is not a {what}: expected 0 to {highest:.0f} {unit}'
        raise argparse.ArgumentTypeError(msg)
    return value


def add_bundle(parser: argparse.ArgumentParser, *, default: str | None = None) -> None:
    """Declare `--bundle`, which is required unless there is a default."""
    parser.add_argument(
        '--bundle',
        required=default is None,
        default=default,
        metavar='BUNDLE',
        help='folder or name of the model bundle to read',
    )


def add_backend(parser: argparse.ArgumentParser, *, default: str = 'auto', note: str = '') -> None:
    """Declare `--backend`; the note follows the default in its help."""
    parser.add_argument(
        '--backend',
        default=default,
        metavar='NAME',
        help='back end of the engines: tensorrt (NVIDIA GPU), onnxruntime (CPU), an execution '
        f'provider such as onnxruntime:openvino, or auto (default: {default}{note})',
    )


def add_precision(parser: argparse.ArgumentParser) -> None:
    """Declare `--precision`."""
    parser.add_argument(
        '--precision',
        choices=PRECISIONS,
        default='auto',
        help='of the engines (default: auto, which is fp16 with TensorRT and what the bundle says '
        'on a CPU)',
    )


def add_memory_limit(parser: argparse.ArgumentParser) -> None:
    """Declare `--memory-limit-mb`."""
    parser.add_argument(
        '--memory-limit-mb',
        type=int,
        default=DEFAULT_MEMORY_LIMIT_MB,
        metavar='MB',
        help='memory for the detail branch, which runs in tiles where a frame needs more; 0: no '
        'limit',
    )


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Declare `--threads`."""
    parser.add_argument(
        '--threads', type=int, default=0, metavar='N', help='of the engines; 0: one per core'
    )


def add_refine(parser: argparse._ActionsContainer) -> None:
    """Declare `--refine`."""
    parser.add_argument(
        '--refine',
        choices=METHODS,
        default='none',
        help='let the image decide the boundaries of the mask',
    )


def add_verbose(parser: argparse.ArgumentParser) -> None:
    """Declare `-v`."""
    parser.add_argument(
        '-v',
        '--verbose',
        action='store_true',
        help='say at length why the first choice of a back end is not taken',
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Declare `--json`."""
    parser.add_argument(
        '--json', type=Path, metavar='FILE', help='also write the figures to this file'
    )


def add_root(parser: argparse.ArgumentParser) -> None:
    """Declare `--root`."""
    parser.add_argument(
        '--root', required=True, type=Path, metavar='DIR', help='folder of the data set'
    )


def add_split(parser: argparse.ArgumentParser) -> None:
    """Declare `--split`."""
    parser.add_argument(
        '--split', default=SPLIT, metavar='NAME', help='which images of the data set'
    )


def add_topic(parser: argparse._ActionsContainer) -> None:
    """Declare `--topic`."""
    parser.add_argument(
        '--topic',
        default='',
        metavar='TOPIC',
        help='image topic of a recording (default: the only likely one)',
    )


def add_engines(parser: argparse.ArgumentParser) -> None:
    """Declare what is chosen about engines: back end, precision, threads and memory."""
    add_backend(parser)
    add_precision(parser)
    add_threads(parser)
    add_memory_limit(parser)


def node_parameters(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what was chosen about engines and boundaries as parameters of the node."""
    names = 'backend', 'precision', 'threads', 'memory_limit_mb', 'refine'
    return {name: getattr(arguments, name) for name in names}


def add_detail(parser: argparse.ArgumentParser) -> None:
    """Declare `--detail` and `--budget-ms`; see `budget_ms`."""
    parser.add_argument(
        '--detail',
        choices=('whole', 'budget'),
        default='whole',
        help='what the detail branch sees: the whole frame, or the tiles that gain most by it, as '
        'many as --budget-ms allows',
    )
    parser.add_argument(
        '--budget-ms',
        type=_parse_budget,
        metavar='MS',
        help='what segmenting a frame may take, with --detail budget',
    )


def budget_ms(arguments: argparse.Namespace) -> float:
    """
    Return what a frame may take, ms, 0 for no limit.

    Raises:
        ConfigError: `--detail budget` and `--budget-ms` come without each other.

    """
    if arguments.detail == 'budget' and arguments.budget_ms is None:
        msg = '--detail budget needs --budget-ms, what segmenting a frame may take'
        raise ConfigError(msg)
    if arguments.detail == 'whole' and arguments.budget_ms is not None:
        msg = '--budget-ms has no effect without --detail budget'
        raise ConfigError(msg)
    return arguments.budget_ms or 0.0


def _parse_budget(text: str) -> float:
    value = _parse_number(text, MAX_BUDGET_MS, 'budget', 'ms')
    if not value:
        msg = f'{text!r} is not a budget: expected ms above 0, to {MAX_BUDGET_MS:.0f}'
        raise argparse.ArgumentTypeError(msg)
    return value


#: What every command takes that takes pictures.
INPUT_HELP = (
    'image, folder of images, recording (rosbag2: its folder, or an mcap or db3 file), video, or '
    "pattern such as 'flights/**/*.jpg'"
)


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """Declare the inputs themselves, as `inputs`, and `--topic` and `--every`."""
    parser.add_argument('inputs', nargs='+', type=Path, metavar='INPUT', help=INPUT_HELP)
    add_topic(parser)
    add_every(parser)


def add_frames(parser: argparse.ArgumentParser, *, required: bool, note: str) -> None:
    """Declare `--frames`, `--topic` and `--every`; the note tells what frames are for."""
    parser.add_argument(
        '--frames',
        required=required,
        type=Path,
        nargs='+',
        metavar='INPUT',
        help=f'{INPUT_HELP}{note}',
    )
    add_topic(parser)
    add_every(parser)


def add_every(parser: argparse._ActionsContainer) -> None:
    """Declare `--every`."""
    parser.add_argument(
        '--every',
        type=parse_count,
        default=1,
        metavar='N',
        help='take every Nth frame of a recording, a video or images in a row (default: 1)',
    )


def add_cache(parser: argparse.ArgumentParser) -> None:
    """Declare `--cache`."""
    parser.add_argument(
        '--cache',
        default='',
        metavar='DIR',
        help="folder of built engines (default: that of the user's cache)",
    )
