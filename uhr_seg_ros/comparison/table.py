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

"""The table of a comparison, in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from uhr_seg_ros.comparison.frame_costs import FrameCost
from uhr_seg_ros.comparison.frame_times import FrameTime, size_text
from uhr_seg_ros.comparison.plan import Size, Variant
from uhr_seg_ros.comparison.running import Comparison

Figures = dict[str, Any]

#: Column -> what it takes from the figures of one run, 0 to 1.
COLUMNS: dict[str, Callable[[Figures], float | None]] = {
    'mIoU': lambda figures: figures['mean_iou'],
    'boundary F 2 px': lambda figures: figures['boundary_f']['2 px']['mean'],
    'boundary IoU': lambda figures: figures['boundary_iou']['0.005']['mean'],
    'recall below 16² px': lambda figures: figures['object_recall']['below 16^2']['recall'],
    'recall to 32² px': lambda figures: figures['object_recall']['16^2 to 32^2']['recall'],
}


def table(comparison: Comparison, costs: Mapping[str, FrameCost]) -> str:
    """
    Write one row per variant: accuracy as mean and spread over the seeds, start, cost, time.

    A second table has the IoU of each class.

    Args:
        comparison: A comparison that is done.
        costs: Name of a variant -> its cost, as far as it is known.
    """
    sizes = comparison.plan.sizes
    rows = [
        [
            variant.name,
            *_scores(comparison.figures(variant), COLUMNS.values()),
            *cost_cells(variant, costs.get(variant.name), comparison.times(variant), sizes),
        ]
        for variant in comparison.plan.variants
    ]
    head = ['', *COLUMNS, *cost_head(sizes)]
    return f'{markdown(head, rows)}\n{_class_table(comparison)}{_notes(comparison)}'


def cost_head(sizes: Sequence[Size]) -> list[str]:
    """Name the columns of ``cost_cells``."""
    times = [f'time {size_text(size)}' for size in sizes] if len(sizes) > 1 else ['time']
    return ['start', 'parameters', f'multiply-adds {size_text(sizes[-1])}', *times, 'memory']


def cost_cells(
    variant: Variant,
    cost: FrameCost | None,
    times: Mapping[Size, FrameTime],
    sizes: Sequence[Size],
) -> list[str]:
    """
    Write what a variant started from and what it costs, a dash for what is not known.

    Args:
        variant: Of the plan.
        cost: Of the largest frame.
        times: Of each frame; the memory is that of the last one.
        sizes: Those of the plan.
    """
    last = times.get(sizes[-1])
    return [
        variant.start,
        f'{cost.parameters / 1e6:.1f} M' if cost else '-',
        f'{cost.multiply_adds / 1e9:.1f} G' if cost else '-',
        *(str(times[size]) if size in times else '-' for size in sizes),
        f'{last.peak_mb} MB' if last else '-',
    ]


def _class_table(comparison: Comparison) -> str:
    figures = {each.name: comparison.figures(each) for each in comparison.plan.variants}
    names = list(
        dict.fromkeys(name for runs in figures.values() for run in runs for name in run['iou'])
    )
    takes = [lambda run, name=name: run['iou'].get(name) for name in names]
    rows = [[variant, *_scores(runs, takes)] for variant, runs in figures.items()]
    return markdown(['IoU', *names], rows)


def _notes(comparison: Comparison) -> str:
    """Return what the labels lack, which all variants share; empty if they lack nothing."""
    runs = [run for variant in comparison.plan.variants for run in comparison.figures(variant)]
    # Figures of earlier versions do not tell.
    missing = next((run.get('classes_without_labels', ()) for run in runs), ())
    found = {name for run in runs for name in run.get('classes_found_without_labels', ())}
    texts = []
    if missing:
        texts.append(f'No pixel of split {comparison.split} is labelled {", ".join(missing)}.')
    if found:
        listed = ', '.join(name for name in missing if name in found)
        texts.append(
            f'Some network finds {listed} all the same: by definition that is an IoU of 0, which '
            'enters its mIoU.'
        )
    if any(column(run) is None for run in runs for column in COLUMNS.values()):
        texts.append('- stands for a figure that at least one seed does not have.')
    return f'\n{" ".join(texts)}\n' if texts else ''


def _scores(runs: Sequence[Figures], takes: Iterable[Callable[[Figures], Any]]) -> list[str]:
    return [spread([take(figures) for figures in runs]) for take in takes]


def spread(values: Sequence[float | None]) -> str:
    """Return mean and standard deviation over the seeds, in percent; a dash where one lacks."""
    if not values or any(value is None for value in values):
        return '-'
    percent = 100 * np.array(values, np.float64)
    if len(percent) == 1:
        return f'{percent[0]:.1f}'
    return f'{percent.mean():.1f} ± {percent.std(ddof=1):.1f}'


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table in Markdown."""
    return ''.join(f'{_row(cells)}\n' for cells in (head, ['---'] * len(head), *rows))


def _row(cells: Sequence[str]) -> str:
    return f'| {" | ".join(cells)} |'
