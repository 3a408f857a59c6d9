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

"""``uhr_seg compare``: train and measure several networks alike."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from functools import partial
import math
from pathlib import Path
from time import monotonic

from uhr_seg_ros.benchmark.host import write_results
from uhr_seg_ros.cli.arguments import add_root, add_split, parse_minutes
from uhr_seg_ros.comparison.against import against_first
from uhr_seg_ros.comparison.chart import chart_rows, ChartRow, check_chart, draw_chart
from uhr_seg_ros.comparison.frame_costs import frame_cost, FrameCost
from uhr_seg_ros.comparison.frame_times import size_text
from uhr_seg_ros.comparison.grounds import check_grounds, LeaveOneGroundOut
from uhr_seg_ros.comparison.grounds_table import (
    cost_table,
    FIGURES,
    grounds_figures,
    grounds_table,
)
from uhr_seg_ros.comparison.pictures import check_pictures, draw_pictures
from uhr_seg_ros.comparison.plan import Plan, read_plan
from uhr_seg_ros.comparison.running import Comparison, OutOfTimeError
from uhr_seg_ros.comparison.table import table
from uhr_seg_ros.core.atomic_io import check_writable, write_text
from uhr_seg_ros.core.bundle import MODEL_FILE
from uhr_seg_ros.core.command_line import Mode, refuse_without_effect
from uhr_seg_ros.core.errors import ConfigError, DataError
from uhr_seg_ros.core.interruption import note_progress
from uhr_seg_ros.core.work_folders import lock_folder
from uhr_seg_ros.data.datasets import open_dataset, read_roots
from uhr_seg_ros.evaluation.labels import evaluated_images

#: Exit codes, as those of ``uhr_seg train``.
FINISHED, UNFINISHED = 0, 1

#: Options that count for plans without grounds, and for those with them.
SPLIT_OPTIONS = '--split --jobs'
BY_GROUNDS = (Mode('a plan with grounds', '--json'), Mode('', SPLIT_OPTIONS))
BY_SPLIT = (Mode('a plan without grounds', SPLIT_OPTIONS), Mode('', '--json'))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        '--plan', required=True, type=Path, metavar='FILE', help='YAML file with the variants'
    )
    add_root(parser)
    add_split(parser)
    parser.add_argument(
        '--output', required=True, type=Path, metavar='DIR', help='folder of all runs'
    )
    parser.add_argument(
        '--minutes',
        type=parse_minutes,
        default=math.inf,
        metavar='MIN',
        help='stop after this time, with exit code 1; the same command goes on later',
    )
    parser.add_argument(
        '--jobs',
        type=int,
        choices=range(1, 65),
        metavar='N',
        default=1,
        help='train N runs side by side, each with its share of the cores',
    )
    parser.add_argument(
        '--also',
        action='append',
        default=[],
        metavar='NAME=FOLDER',
        help='folder of a further data set that the plan or its recipes name',
    )
    parser.add_argument(
        '--json',
        type=Path,
        metavar='FILE',
        help='also write all figures of a plan with grounds to this file',
    )
    parser.add_argument(
        '--table', type=Path, metavar='FILE', help='also write the table to this file'
    )
    parser.add_argument(
        '--chart',
        type=Path,
        metavar='FILE',
        help='draw accuracy over time, of the last of the sizes, into this .svg or .png file',
    )
    parser.add_argument(
        '--pictures',
        type=Path,
        metavar='FILE',
        help='draw masks of all variants into this .jpg or .png file',
    )


def run(args: argparse.Namespace) -> int:
    """Do what is not done yet, then print the table."""
    plan = read_plan(args.plan)
    refuse_without_effect(args, BY_GROUNDS if plan.grounds else BY_SPLIT)
    also = read_roots(args.also)
    _check_roots(plan, also)
    _check_places(args, plan)
    deadline = monotonic() + 60 * args.minutes
    if plan.grounds:
        check_grounds(plan, open_dataset(plan.dataset, args.root))
        left_out = LeaveOneGroundOut(plan, args.root, args.output, deadline, also)
        return _work(args, left_out, partial(_finish_grounds, args, left_out))
    _check_labels(plan, args)
    comparison = Comparison(plan, args.root, args.split, args.output, deadline, args.jobs, also)
    return _work(args, comparison, partial(_finish, args, comparison))


def _work(
    args: argparse.Namespace,
    comparison: Comparison | LeaveOneGroundOut,
    finish: Callable[[], int],
) -> int:
    with lock_folder(args.output):
        try:
            with note_progress(comparison.done):
                comparison.run()
        except OutOfTimeError as err:
            if isinstance(comparison, LeaveOneGroundOut):
                finish()
            print(err)
            return UNFINISHED
        return finish()


def _finish_grounds(args: argparse.Namespace, left_out: LeaveOneGroundOut) -> int:
    """Print what is done so far, in the end all of it."""
    plan, figures = left_out.plan, grounds_figures(left_out)
    text, content = grounds_table(figures), {'plan': args.plan.name, **figures}
    runs = {name: each['runs'] for name, each in figures['variants'].items()}
    times = {each.name: left_out.times(each) for each in plan.variants}
    if plan.timed:
        costs = _costs(left_out.without(next(iter(plan.grounds))))
        text += f'\n{cost_table(plan, costs, times)}\n'
        text += against_first(runs, list(FIGURES), times)
        content['costs'] = {name: cost._asdict() for name, cost in costs.items()}
        content['times'] = {
            name: {size_text(size): time._asdict() for size, time in each.items()}
            for name, each in times.items()
        }
    print(text, end='')
    if args.table:
        write_text(args.table, text)
    if args.json:
        write_results(args.json, content)
    if args.chart:
        rows = [
            ChartRow(name, times[name][plan.size], [run['figures'] for run in runs[name]])
            for name in runs
            if times[name]
        ]
        draw_chart(rows, plan.size, args.chart)
    if args.pictures:
        draw_pictures(left_out.without(next(iter(plan.grounds))), args.pictures)
    return FINISHED


def _check_roots(plan: Plan, also: Mapping[str, Path]) -> None:
    """Refuse a plan whose further data sets have no folder."""
    if missing := sorted(plan.further_datasets - set(also)):
        msg = f'the plan names further data sets: add --also {missing[0]}=FOLDER'
        raise ConfigError(msg)


def _finish(args: argparse.Namespace, comparison: Comparison) -> int:
    text = table(comparison, _costs(comparison))
    print(text, end='')
    if args.table:
        write_text(args.table, text)
    if args.chart:
        draw_chart(chart_rows(comparison), comparison.plan.size, args.chart)
    if args.pictures:
        draw_pictures(comparison, args.pictures)
    return FINISHED


def _check_places(args: argparse.Namespace, plan: Plan) -> None:
    """Refuse files that could not be written in the end, before days of training."""
    check_writable(args.table, args.json, args.chart, args.pictures)
    if args.chart and not plan.timed:
        msg = f'--chart draws over time, which {args.plan} does not take: add the field sizes'
        raise ConfigError(msg)
    if args.chart:
        check_chart(args.chart)
    if args.pictures:
        check_pictures(plan, args.pictures)


def _check_labels(plan: Plan, args: argparse.Namespace) -> None:
    """Check the labels that will be evaluated; the first training checks its own."""
    for name in sorted({variant.config['data']['dataset'] for variant in plan.variants}):
        try:
            dataset = open_dataset(name, args.root)
        except DataError:
            return  # the first training tells, unless all is done and only the table is missing
        evaluated_images(dataset, args.split)


def _costs(comparison: Comparison) -> dict[str, FrameCost]:
    """Count what a frame costs, for every variant whose network is of this package or a user's."""
    seed, size = comparison.plan.seeds[0], comparison.plan.size
    costs = {}
    for variant in comparison.plan.variants:
        folder = comparison.folder(variant, seed) / 'bundle'
        if not variant.elsewhere and (folder / MODEL_FILE).is_file():
            costs[variant.name] = frame_cost(folder, variant.config.get('options', {}), size)
    return costs
