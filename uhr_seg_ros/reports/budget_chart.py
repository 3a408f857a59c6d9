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

"""A picture of what a frame budget costs: points lost over the share of a frame that is seen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TYPE_CHECKING

from uhr_seg_ros.core.atomic_io import atomic_write
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.visualization import plain_charts, series_colors

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Figure -> its title, a panel each.
PANELS = {'mean_iou_lost': 'points of mIoU lost', 'boundary_f_lost': 'points of boundary F lost'}
#: Rankings that look at the answer.
ORACLES = ('changes', 'mends')


@plain_charts()
def draw_chart(figures: Mapping[str, Any], path: Path) -> None:
    """
    Draw one panel per figure, one line per ranking.

    Args:
        figures: what ``uhr_seg budget curve`` writes.
        path: a file that `check_chart` accepts.

    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout='constrained')
    for axes, (name, title) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        _panel(axes, figures['rankings'], name)
        axes.set(ylabel=title)
    figure.axes[0].legend(title='ranked by')
    with atomic_write(path) as unfinished:
        figure.savefig(unfinished, dpi=110, format=path.suffix[1:].lower())


def check_chart(path: Path) -> None:
    """
    Check that a chart can be drawn into a file, before the work that it shows.

    Raises:
        ConfigError: the package matplotlib is missing, or it does not know the format.

    """
    try:
        from matplotlib.figure import Figure
    except ImportError as err:
        msg = f'{path} needs a package that is not installed: pip install matplotlib'
        raise ConfigError(msg) from err
    if path.suffix.lower().lstrip('.') not in Figure().canvas.get_supported_filetypes():
        msg = f'{path} cannot be drawn: give a .svg or .png file'
        raise ConfigError(msg)


def _panel(axes: Axes, rankings: Mapping[str, Any], name: str) -> None:
    for (ranking, points), color in zip(
        rankings.items(), series_colors(len(rankings)), strict=True
    ):
        known = ranking in ORACLES
        label = f'{ranking} (looks at the answer)' if known else ranking
        shares = [100 * point['share'] for point in points]
        style = '--' if known else '.-'
        axes.plot(shares, [point[name] for point in points], style, color=color, label=label)
    axes.axhline(0, color='black', lw=0.6)
    axes.set(xlabel='tiles seen in detail, %', xlim=(0, 100))
    axes.grid(alpha=0.3)
