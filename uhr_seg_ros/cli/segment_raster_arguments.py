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

"""The options of `uhr_seg segment` that only rasters have."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from uhr_seg_ros.cli.arguments import parse_ground_resolution
from uhr_seg_ros.image_io.raster_bands import BandRules, PERCENTILE
from uhr_seg_ros.image_io.raster_files import rasterio_or_error
from uhr_seg_ros.image_io.raster_polygons import check_polygons
from uhr_seg_ros.pipelines.raster_blocks import DEFAULT_RASTER_MEMORY_MB

#: Options that only rasters have.
_OWN = ('bands', 'stretch', 'target_resolution', 'confidence', 'polygons')


def add_raster_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what is chosen about rasters."""
    parser.add_argument(
        '--bands',
        type=parse_bands,
        metavar='R,G,B',
        help='bands of a raster that are red, green and blue, from 1; one for gray (default: what '
        'the file calls so, else the first three)',
    )
    parser.add_argument(
        '--stretch',
        type=parse_stretch,
        metavar='RULE',
        help='how values of more than 8 bits become bytes: percentile (2 and 98 %% of each band '
        'become black and white), or MIN,MAX (default: only bytes are read)',
    )
    parser.add_argument(
        '--target-resolution',
        type=parse_ground_resolution,
        metavar='M',
        help='resample a raster to pixels of so many meters, such as the bundle was trained on, '
        'and its mask back (default: the pixels of the file)',
    )
    parser.add_argument(
        '--polygons',
        type=Path,
        metavar='GPKG',
        help='write the areas of classes as polygons, a layer of this GeoPackage for each raster',
    )
    parser.add_argument(
        '--confidence',
        action='store_true',
        help='write <name>_confidence.tif beside the mask of a raster, 0 to 255',
    )
    parser.add_argument(
        '--raster-memory-mb',
        type=int,
        default=DEFAULT_RASTER_MEMORY_MB,
        metavar='MB',
        help='of the process while a raster is segmented, whatever the size of that',
    )


def raster_rules(args: argparse.Namespace) -> BandRules:
    """
    Return what was chosen about bands.

    Raises:
        ConfigError: an option of rasters, without the library that reads them.

    """
    for name in _OWN:
        if getattr(args, name):
            rasterio_or_error(f'--{name.replace("_", "-")}')
    if args.polygons is not None:
        check_polygons(args.polygons)
    return BandRules(args.bands, args.stretch, args.target_resolution)


def parse_bands(text: str) -> tuple[int, ...]:
    """Turn text such as `4,3,2` into numbers of bands."""
    parts = text.split(',')
    if len(parts) not in (1, 3) or not all(part.isdecimal() and int(part) for part in parts):
        msg = f'{text!r} names no bands: expected three numbers from 1 such as 4,3,2, or one'
        raise argparse.ArgumentTypeError(msg)
    return tuple(map(int, parts))


def parse_stretch(text: str) -> str | tuple[float, float]:
    """Turn text into a rule for values of more than 8 bits."""
    if text == PERCENTILE:
        return text
    try:
        low, high = map(float, text.split(','))
    except ValueError:
        low = high = 0.0
    if not (low < high and math.isfinite(high - low)):
        msg = f'{text!r} is no rule: expected {PERCENTILE}, or two numbers MIN,MAX such as 0,4095'
        raise argparse.ArgumentTypeError(msg)
    return low, high
