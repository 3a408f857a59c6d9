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

"""The charts of a replay, as SVG that can stand in a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any, TYPE_CHECKING

import numpy as np

from uhr_seg_ros.core.errors import WriteError
from uhr_seg_ros.core.visualization import plain_charts, series_colors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HUE, LOST = '#2b6cb0', '#c43e30'

#: Sums of others.
_SUMS = ('total', 'latency')

#: In a page the drawing is as wide as its panel.
_FITTING = 'style="width:100%;height:auto"'

#: More points than this become an image inside the drawing.
_MANY = 2000


@plain_charts()
def latency_over_time(series: Mapping[str, Any]) -> str:
    """Draw the latency of every answered frame; the others are ticks below."""
    figure, (axes,) = _figure(1)
    many = len(series['time_s']) > _MANY
    axes.plot(
        series['time_s'], series['latency_ms'], '.-', color=HUE, lw=0.7, ms=4, rasterized=many
    )
    if lost := series['unanswered_s']:
        axes.plot(lost, [0] * len(lost), '|', color=LOST, ms=9, label='no mask', rasterized=many)
        axes.legend()
    axes.set(xlabel='frame published, s', ylabel='latency, ms')
    axes.set_ylim(bottom=0)
    return _svg(figure)


@plain_charts()
def latency_distribution(latency_ms: Sequence[float]) -> str:
    """Draw the histogram and the cumulative distribution, with percentiles."""
    figure, (left, right) = _figure(2)
    left.hist(latency_ms, bins=min(60, max(8, len(latency_ms) // 4)), color=HUE)
    left.set(xlabel='latency, ms', ylabel='frames')
    values = np.sort(latency_ms)
    shares = np.arange(1, len(values) + 1) / len(values)
    right.step(values, 100 * shares, where='post', color=HUE, rasterized=len(values) > _MANY)
    # The last two lie close to each other: one label a line below the other.
    for percentile, below in ((50, 0), (95, 20), (99, 6)):
        value = float(np.percentile(values, percentile))
        right.plot(value, percentile, 'o', color=LOST, ms=4)
        right.annotate(
            f'p{percentile} {value:.1f}',
            (value, percentile),
            (6, -below),
            textcoords='offset points',
            va='center',
        )
    right.set(xlabel='latency, ms', ylabel='% of the frames', ylim=(0, 104))
    return _svg(figure)


@plain_charts()
def stage_stack(stages: Mapping[str, Sequence[float]]) -> str:
    """Draw the stages of every frame on top of each other."""
    figure, (axes,) = _figure(1)
    parts = {name: values for name, values in stages.items() if name not in _SUMS}
    frames = np.arange(len(next(iter(parts.values()))))
    colors = series_colors(len(parts))
    drawn = axes.stackplot(frames, *parts.values(), labels=parts, colors=colors, step='mid')
    for area in drawn:
        area.set_rasterized(len(frames) > _MANY)
    axes.set(xlabel='answered frame', ylabel='ms')
    axes.margins(x=0)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], loc='center left', bbox_to_anchor=(1, 0.5))
    return _svg(figure)


@plain_charts()
def memory_over_time(memory: Sequence[Sequence[float]]) -> str:
    """Draw the resident memory of the node."""
    figure, (axes,) = _figure(1)
    seconds, values = zip(*memory, strict=True)
    axes.plot(seconds, values, '.-', color=HUE, lw=0.7, ms=4, rasterized=len(values) > _MANY)
    axes.set(xlabel='s', ylabel='memory of the node, MB')
    axes.set_ylim(bottom=0)
    return _svg(figure)


def _figure(columns: int) -> tuple[Figure, list[Axes]]:
    try:
        from matplotlib.figure import Figure
    except ImportError as err:
        msg = 'a page needs a package that is not installed: pip install matplotlib'
        raise WriteError(msg) from err
    figure = Figure(figsize=(11, 3.4), layout='constrained')
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for each in axes:
        each.grid(alpha=0.3)
        each.spines[['top', 'right']].set_visible(False)
    return figure, list(axes)


def _svg(figure: Figure) -> str:
    text = StringIO()
    figure.savefig(text, format='svg', metadata={'Date': None})
    drawing = text.getvalue()
    return drawing[drawing.index('<svg') :].replace('<svg', f'<svg {_FITTING}', 1)
