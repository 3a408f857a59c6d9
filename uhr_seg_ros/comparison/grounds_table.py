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

"""The figures of a plan with grounds: mean and spread over grounds and seeds, and each run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from uhr_seg_ros.comparison.frame_costs import FrameCost
from uhr_seg_ros.comparison.frame_times import FrameTime
from uhr_seg_ros.comparison.grounds import LeaveOneGroundOut
from uhr_seg_ros.comparison.plan import Plan, Size
from uhr_seg_ros.comparison.table import COLUMNS, cost_cells, cost_head, markdown, spread
from uhr_seg_ros.evaluation.gate import gate_figures

Times = Mapping[Size, FrameTime]

#: Figure of a run -> what it takes from what ``uhr_seg evaluate`` found on the ground left out.
FIGURES: dict[str, Callable[[dict[str, Any]], float | None]] = {
    name: COLUMNS[name] for name in COLUMNS if name != 'boundary IoU'
}


def grounds_figures(left_out: LeaveOneGroundOut) -> dict[str, Any]:
    """
    Collect what was measured.

    Returns:
        ``grounds`` as the plan has them, and per variant its ``start``, ``runs`` (ground, seed,
        mIoU, boundary F and so on, and what the gate measures on that ground and on every further
        data set), and ``summary``: figure -> mean and standard deviation over the runs. While a
        plan is worked through, runs that not all variants have are left out.
    """
    variants, done = {}, _done(left_out)
    for variant in left_out.plan.variants:
        runs = [_run(each) for each in done[variant.name]]
        names = dict.fromkeys(name for run in runs for name in run['figures'])
        values = {name: [run['figures'].get(name) for run in runs] for name in names}
        variants[variant.name] = {
            'start': variant.start,
            'summary': {name: _summary(each) for name, each in values.items()},
            'runs': runs,
        }
    return {
        'grounds': left_out.plan.grounds,
        'also': left_out.plan.also,
        'seeds': list(left_out.plan.seeds),
        'variants': variants,
    }


def grounds_table(figures: Mapping[str, Any]) -> str:
    """
    Write two Markdown tables, in percent: the summary, and the mIoU of every ground.

    Grounds differ more than variants: compare summaries of the same runs only.

    Args:
        figures: As ``grounds_figures`` returns them.
    """
    variants = figures['variants']
    names = dict.fromkeys(name for each in variants.values() for name in each['summary'])
    summary = [
        [variant, str(len(each['runs'])), *(_spread(each['runs'], name) for name in names)]
        for variant, each in variants.items()
    ]
    by_ground = [
        [variant, *(_of_ground(each['runs'], ground) for ground in figures['grounds'])]
        for variant, each in variants.items()
    ]
    head = ['mIoU without', *figures['grounds']]
    return f'{markdown(["", "runs", *names], summary)}\n{markdown(head, by_ground)}'


def cost_table(plan: Plan, costs: Mapping[str, FrameCost], times: Mapping[str, Times]) -> str:
    """
    Write what each variant started from and what it costs.

    Args:
        plan: A plan with grounds.
        costs: Name of a variant -> its cost, as far as it is known.
        times: Name of a variant -> time of each size, as far as it was taken.
    """
    rows = [
        [each.name, *cost_cells(each, costs.get(each.name), times[each.name], plan.sizes)]
        for each in plan.variants
    ]
    return markdown(['', *cost_head(plan.sizes)], rows)


def _done(left_out: LeaveOneGroundOut) -> dict[str, list[dict[str, Any]]]:
    """Return the runs of every variant that all variants with runs have."""
    found = {each.name: left_out.figures(each) for each in left_out.plan.variants}
    keys = [{(run['ground'], run['seed']) for run in runs} for runs in found.values() if runs]
    shared = set.intersection(*keys) if keys else set()
    return {
        name: [run for run in runs if (run['ground'], run['seed']) in shared]
        for name, runs in found.items()
    }


def _run(found: Mapping[str, Any]) -> dict[str, Any]:
    own, also = found['figures'], found['also']
    values = {name: take(own) for name, take in FIGURES.items()}
    values |= gate_figures(own)
    for name, each in also.items():
        values |= {
            f'{name}: {figure}': value
            for figure, value in gate_figures(each).items()
            if value is not None
        }
    return {
        'ground': found['ground'],
        'seed': found['seed'],
        'iou': own['iou'],
        'figures': values,
    }


def _summary(values: Sequence[float | None]) -> dict[str, float | int | None]:
    """Return mean, standard deviation and number of the runs that have a figure."""
    found = [value for value in values if value is not None]
    return {
        'mean': float(np.mean(found)) if found else None,
        'deviation': float(np.std(found, ddof=1)) if len(found) > 1 else None,
        'runs': len(found),
    }


def _spread(runs: Sequence[Mapping[str, Any]], name: str) -> str:
    found = [run['figures'].get(name) for run in runs]
    known = [value for value in found if value is not None]
    return spread(known) if known else '-'


def _of_ground(runs: Sequence[Mapping[str, Any]], ground: str) -> str:
    found = [run['figures']['mIoU'] for run in runs if run['ground'] == ground]
    return spread(found) if found else '-'
