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

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TYPE_CHECKING

import numpy as np

from uhr_seg_ros.comparison.frame_times import FrameTime, size_text
from uhr_seg_ros.comparison.plan import Size
from uhr_seg_ros.comparison.running import Comparison
from uhr_seg_ros.comparison.table import COLUMNS
from uhr_seg_ros.core.atomic_io import atomic_write
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.visualization import plain_charts, series_colors

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Columns of the table that are drawn.
DRAWN = ('mIoU', 'boundary F 2 px')


class ChartRow(NamedTuple):
    """
    A variant as it is drawn.

    Attributes:
        name: What the legend calls it.
        time: Of the frame.
        runs: Column -> figure, 0 to 1, of each run; None where it has none.
    """

    name: str
    time: FrameTime
    runs: Sequence[Mapping[str, float | None]]


def chart_rows(comparison: Comparison) -> list[ChartRow]:
    """Collect the rows of a comparison that is done; what is missing has none."""
    return [
        ChartRow(
            variant.name,
            times[comparison.plan.size],
            [
                {column: COLUMNS[column](figures) for column in DRAWN}
                for figures in comparison.figures(variant)
            ],
        )
        for variant in comparison.plan.variants
        if (times := comparison.times(variant))
    ]


@plain_charts()
def draw_chart(rows: Sequence[ChartRow], size: Size, path: Path) -> None:
    """
    Draw one panel per column of ``DRAWN``: every run as a dot, their mean as a disc.

    A line through the disc is the interval of the time.

    Args:
        rows: The variants.
        size: Height and width of the frame whose time was taken, px.
        path: A file whose ending tells the format: ``.svg`` or ``.png``.

    Raises:
        ConfigError: The package matplotlib is missing, or it does not know the format.
    """
    check_chart(path)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.8), layout='constrained')
    panels = figure.subplots(1, len(DRAWN))
    for axes, column in zip(panels, DRAWN, strict=True):
        _panel(axes, rows, column)
        axes.set(xlabel=f'ms per {size_text(size)} frame', ylabel=f'{column}, %')
    figure.legend(*panels[0].get_legend_handles_labels(), loc='outside lower center', ncols=3)
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


def _panel(axes: Axes, rows: Sequence[ChartRow], column: str) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    for row, color in zip(rows, series_colors(len(rows)), strict=True):
        found = [run[column] for run in row.runs]
        scores = [100 * score for score in found if score is not None]
        time = row.time
        axes.plot([time.median] * len(scores), scores, '.', color=color, alpha=0.5)
        # As in the table: no mean where a run has no figure.
        whole = bool(found) and len(scores) == len(found)
        label = row.name if whole else f'{row.name} (no figure)'
        mean = float(np.mean(scores)) if whole else np.nan
        axes.plot([time.low, time.high], [mean, mean], '-', color=color)
        axes.plot(time.median, mean, 'o', color=color, label=label)
    axes.set(xscale='log')
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter('{x:g}'))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.3)
