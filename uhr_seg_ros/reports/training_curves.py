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

"""A picture of a training run: its losses, its rate and what validation found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TYPE_CHECKING

import numpy as np

from uhr_seg_ros.core.atomic_io import atomic_write
from uhr_seg_ros.core.visualization import plain_charts, series_colors

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: A loss is shown as the mean of so many parts of the run: single crops differ a lot.
POINTS = 150


@plain_charts()
def draw_curves(
    path: Path, steps: Sequence[dict[str, Any]], checks: Sequence[dict[str, Any]]
) -> bool:
    """
    Draw the curves of a run from its logs.

    Args:
        path: The picture to write.
        steps: Entries of the log of the training, at least one.
        checks: Entries of the log of the validation.

    Returns:
        Whether it was drawn: not without the package matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(9, 3.2), layout='constrained')
    left, right = figure.subplots(1, 2, sharex=True)
    _losses(left, steps)
    _validation(right, checks)
    with atomic_write(path) as unfinished:
        figure.savefig(unfinished, dpi=110)
    return True


def _losses(axes: Axes, entries: Sequence[dict[str, Any]]) -> None:
    parts = np.array_split(np.arange(len(entries)), min(POINTS, len(entries)))
    middle = [entries[part[len(part) // 2]]['step'] for part in parts]
    for name in (key for key in entries[0] if key not in ('step', 'rate')):
        values = [np.mean([entries[index][name] for index in part]) for part in parts]
        axes.plot(middle, values, label=name)
    axes.set(xlabel='step', ylabel='weighted loss', ylim=(0, None))
    axes.legend(loc='upper right')
    rate = axes.twinx()
    rate.plot([e['step'] for e in entries], [e['rate'] for e in entries], 'k:', lw=0.8)
    rate.set_ylabel('learning rate (dotted)')


def _validation(axes: Axes, entries: Sequence[dict[str, Any]]) -> None:
    steps = [entry['step'] for entry in entries]
    names = list(entries[0]['iou']) if entries else []
    for name, color in zip(names, series_colors(len(names)), strict=True):
        values = [entry['iou'].get(name) for entry in entries]
        axes.plot(steps, values, '.-', color=color, lw=0.8, label=name)
    axes.plot(steps, [entry['mean_iou'] for entry in entries], 'k.-', lw=2, label='mean')
    axes.set(xlabel='step', ylabel='validation IoU', ylim=(0, 1))
    axes.legend(loc='lower right', ncols=2)
