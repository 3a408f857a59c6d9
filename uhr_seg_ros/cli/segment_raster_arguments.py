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
from dataclasses import replace
from pathlib import Path

from uhr_seg_ros.cli.arguments import parse_ground_resolution
from uhr_seg_ros.cli.band_arguments import add_band_arguments, chosen_bands
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.image_io.raster_bands import BandRules
from uhr_seg_ros.image_io.raster_files import rasterio_or_error
from uhr_seg_ros.image_io.raster_polygons import check_polygons
from uhr_seg_ros.pipelines.raster_blocks import DEFAULT_RASTER_MEMORY_MB

#: Options that only rasters have.
_OWN = ('bands', 'stretch', 'target_resolution', 'confidence', 'polygons')


def add_raster_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what is chosen about rasters."""
    add_band_arguments(parser)
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


def check_raster_arguments(args: argparse.Namespace) -> None:
    """
    Refuse what cannot be done, before anything is read.

    Raises:
        ConfigError: an option of rasters, without the library that reads them.

    """
    for name in _OWN:
        if getattr(args, name):
            rasterio_or_error(f'--{name.replace("_", "-")}')
    if args.polygons is not None:
        check_polygons(args.polygons)


def raster_rules(args: argparse.Namespace, bundle: Bundle) -> BandRules:
    """
    Return what was chosen about bands, or trained on, and about resolution.

    Raises:
        ConfigError: as `chosen_bands`.

    """
    return replace(chosen_bands(args, bundle), resolution=args.target_resolution)
