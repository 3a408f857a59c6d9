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

"""The figures of an evaluation on the console."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from uhr_seg_ros.evaluation.figures import notes, remark


def show(report: Mapping[str, Any], console: Console | None = None) -> None:
    """
    Print the figures of a report.

    Args:
        report: What the JSON file holds, see docs/evaluation.md.
        console: Where to; None for standard output.
    """
    console = console or Console()
    console.print(_class_table(report))
    console.print(_object_table(report))
    for line in _lines(report):
        console.print(line, highlight=False)
    for note in notes(report):
        console.print(note, highlight=False, markup=False)


def _class_table(report: Mapping[str, Any]) -> Table:
    branch = report['settings']['branch']
    title = f'{report["bundle"]} ({branch}) on {report["dataset"]} {report["split"]}'
    columns = {'IoU': (report['iou'], report['mean_iou_evaluated'])}
    columns['F1'] = (report['f1'], report['mean_f1'])
    for ratio, value in report['boundary_iou'].items():
        columns[f'BIoU\n{ratio}'] = (value['classes'], value['mean'])
    for radius, value in report['boundary_f'].items():
        columns[f'BF\n{radius}'] = (value['classes'], value['mean'])
    table = Table(title=title, caption='BIoU: Boundary IoU; BF: boundary F')
    table.add_column('class', no_wrap=True)
    for name in columns:
        table.add_column(name, justify='right')
    for name in report['iou']:
        values = (_share(by_class[name]) for by_class, _ in columns.values())
        table.add_row(f'{escape(name)}{remark(report, name)}', *values)
    table.add_section()
    table.add_row('mean', *(_share(mean) for _, mean in columns.values()))
    return table


def _object_table(report: Mapping[str, Any]) -> Table:
    bins = report['object_recall']
    table = Table(title='recall of objects by area, px (objects)')
    table.add_column('class', no_wrap=True)
    for name in bins:
        table.add_column(name.replace('^2', '²'), justify='right')
    for name in report['iou']:
        table.add_row(
            escape(name),
            *(
                f'{_share(size["classes"][name])} ({size["objects_by_class"][name]})'
                for size in bins.values()
            ),
        )
    table.add_section()
    totals = (f'{_share(size["recall"])} ({size["objects"]})' for size in bins.values())
    table.add_row('all', *totals)
    return table


def _lines(report: Mapping[str, Any]) -> list[str]:
    reported, seams = report['reported'], report['seams']
    lines = [
        f'mean IoU {_share(report["mean_iou_evaluated"])}, accuracy {_share(report["accuracy"])}, '
        f'frequency-weighted IoU {_share(report["frequency_weighted_iou"])}, '
        f'mBA {_share(report["mean_boundary_accuracy"])}',
    ]
    if reported['value'] != report['mean_iou_evaluated']:
        lines.insert(0, f'as published: {reported["figure"]} {_share(reported["value"])}')
    if seams is not None:
        near, elsewhere = (
            f'error {_share(seams[f"error_{place}"])}, '
            f'disagreement {_share(seams[f"disagreement_{place}"])}'
            for place in ('near', 'elsewhere')
        )
        lines.append(f'within {seams["reach_px"]} px of seams: {near}; elsewhere: {elsewhere}')
    return lines


def _share(value: float | None) -> str:
    return '–' if value is None else f'{value:.3f}'
