# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""A picture of a training run: its losses, its rate and what validation found."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TYPE_CHECKING

import numpy as np

from uhr_seg_ros.core.atomic_io import atomic_write
from uhr_seg_ros.core.visualization import plain_charts, series_colors
from uhr_seg_ros.training.run_folder import LOG, read_log, VALIDATION

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVES = 'curves.png'
#: A loss is shown as the mean of so many parts of the run: single crops differ a lot.
POINTS = 150


@plain_charts()
def draw_curves(run: Path) -> Path | None:
    """
    Draw ``curves.png`` from the logs of a run.

    Args:
        run: Folder of the run, with at least one step in its log.

    Returns:
        The picture; None without the package matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    steps, checks = read_log(run / LOG), read_log(run / VALIDATION)
    figure = Figure(figsize=(9, 3.2), layout='constrained')
    left, right = figure.subplots(1, 2, sharex=True)
    _losses(left, steps)
    _validation(right, checks)
    with atomic_write(run / CURVES) as unfinished:
        figure.savefig(unfinished, dpi=110)
    return run / CURVES


def _losses(axes: Axes, entries: list[dict[str, Any]]) -> None:
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


def _validation(axes: Axes, entries: list[dict[str, Any]]) -> None:
    steps = [entry['step'] for entry in entries]
    names = list(entries[0]['iou']) if entries else []
    for name, color in zip(names, series_colors(len(names)), strict=True):
        values = [entry['iou'].get(name) for entry in entries]
        axes.plot(steps, values, '.-', color=color, lw=0.8, label=name)
    axes.plot(steps, [entry['mean_iou'] for entry in entries], 'k.-', lw=2, label='mean')
    axes.set(xlabel='step', ylabel='validation IoU', ylim=(0, 1))
    axes.legend(loc='lower right', ncols=2)
