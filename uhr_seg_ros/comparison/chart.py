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

"""The table of a comparison as a picture: what a network finds over what a frame takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from uhr_seg_ros.comparison.running import Comparison
from uhr_seg_ros.comparison.table import COLUMNS
from uhr_seg_ros.core.atomic_io import atomic_write
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.visualization import plain_charts, series_colors

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Columns of the table that are drawn.
DRAWN = ('mIoU', 'boundary F 2 px')


@plain_charts()
def draw_chart(comparison: Comparison, path: Path) -> None:
    """
    Draw one panel per column of ``DRAWN``: every seed as a dot, their mean as a disc.

    Args:
        comparison: A comparison that is done.
        path: A file whose ending tells the format: ``.svg`` or ``.png``.

    Raises:
        ConfigError: The package matplotlib is missing, or it does not know the format.
    """
    check_chart(path)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout='constrained')
    for axes, column in zip(figure.subplots(1, len(DRAWN)), DRAWN, strict=True):
        _panel(axes, comparison, column)
    with atomic_write(path) as unfinished:
        figure.savefig(unfinished, dpi=110)


def check_chart(path: Path) -> None:
    """
    Check that a chart can be drawn into a file, before the work that it shows.

    Raises:
        ConfigError: The package matplotlib is missing, or it does not know the format.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as err:
        msg = f'{path} needs a package that is not installed: pip install matplotlib'
        raise ConfigError(msg) from err
    known = Figure().canvas.get_supported_filetypes()
    if path.suffix.lower().lstrip('.') not in known:
        msg = f'{path} cannot be drawn: give a .svg or .png file'
        raise ConfigError(msg)


def _panel(axes: Axes, comparison: Comparison, column: str) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    height, width = comparison.plan.size
    variants = comparison.plan.variants
    for variant, color in zip(variants, series_colors(len(variants)), strict=True):
        runs = comparison.figures(variant)
        found = [COLUMNS[column](figures) for figures in runs]
        scores = [100 * score for score in found if score is not None]
        time, _ = comparison.cost(variant)
        axes.plot([time] * len(scores), scores, '.', color=color, alpha=0.5)
        # As in the table: no mean where a seed has no figure.
        whole = len(scores) == len(found)
        label = variant.name if whole else f'{variant.name} (no figure)'
        axes.plot(time, np.mean(scores) if whole else np.nan, 'o', color=color, label=label)
    axes.set(xscale='log', xlabel=f'ms per {width}x{height} frame', ylabel=f'{column}, %')
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter('{x:g}'))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.3)
    if column == DRAWN[0]:
        axes.legend(fontsize='small')
