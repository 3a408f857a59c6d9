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

"""The options `--bands` and `--stretch`, and what a bundle was trained on in their place."""

from __future__ import annotations

import argparse
import logging

from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.image_io.raster_bands import BandRules, read_bands, read_stretch
from uhr_seg_ros.image_io.raster_files import rasterio_or_error

_LOG = logging.getLogger(__name__)


def add_band_arguments(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Declare `--bands` and `--stretch`; `chosen_bands` reads them."""
    parser.add_argument(
        '--bands',
        type=parse_bands,
        metavar='R,G,B',
        help='bands of a raster that are red, green and blue, from 1; one for gray (default: what '
        'the bundle was trained on, or the file calls so, else the first three)',
    )
    parser.add_argument(
        '--stretch',
        type=parse_stretch,
        metavar='RULE',
        help='how values of more than 8 bits become bytes: percentile (2 and 98 %% of each band '
        'become black and white), or MIN,MAX (default: what the bundle was trained on, else only '
        'bytes are read)',
    )


def chosen_bands(args: argparse.Namespace, bundle: Bundle) -> BandRules:
    """
    Return what the options say, or else what the bundle was trained on, which is told.

    Raises:
        ConfigError: rasterio is missing, or the bundle says something that is no rule.

    """
    trained = BandRules.of(bundle.provenance)
    rules = BandRules(args.bands or trained.bands, args.stretch or trained.stretch)
    if not rules:
        return rules
    rasterio_or_error(rules.options)
    if rules != BandRules(args.bands, args.stretch):
        _LOG.info('%s was trained with %s: taken here, too', bundle.name, trained.options)
    elif trained and rules != trained:
        _LOG.warning(
            '%s was trained with %s, and here is %s', bundle.name, trained.options, rules.options
        )
    return rules


def parse_bands(text: str) -> tuple[int, ...]:
    """Turn text such as `4,3,2` into numbers of bands."""
    try:
        return read_bands(text)
    except ConfigError as err:
        raise argparse.ArgumentTypeError(str(err)) from err


def parse_stretch(text: str) -> str | tuple[float, float]:
    """Turn text into a rule for values of more than 8 bits."""
    try:
        return read_stretch(text)
    except ConfigError as err:
        raise argparse.ArgumentTypeError(str(err)) from err
