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

"""Measurements on recordings, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from uhr_seg_ros.core.config_reader import is_number, read_json
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.text import one_line, shortened, shown
from uhr_seg_ros.reports.benchmark_console import print_table

#: What makes figures hard to compare where it differs.
SETTINGS = (
    ('recording', ('bag', 'sha256')),
    ('topic', ('bag', 'topic')),
    ('mode', ('mode',)),
    ('command', ('node', 'command')),
    ('bundle', ('node', 'bundle_sha256')),
    ('back end', ('node', 'backend')),
    ('engines', ('node', 'engine_sha256')),
    ('precision', ('node', 'precision')),
    ('parameters', ('node', 'parameters')),
    ('commit', ('commit',)),
    ('versions', ('versions',)),
    ('processor', ('machine', 'cpu')),
    ('cores', ('machine', 'cpus')),
    ('GPU', ('machine', 'gpu')),
    ('power mode', ('machine', 'power_mode')),
    ('middleware', ('dds',)),
)


# They differ from run to run, or say what a hash says, or hold for every node of others.
_MOMENTS = {
    ('machine', 'idle_percent'),
    ('node', 'bundle'),
    ('node', 'missing'),
    ('node', 'measured'),
}


def compare_files(*files: Path) -> None:
    """
    Print the figures of files, those after the first one also relative to it.

    Raises:
        ConfigError: a file is missing or holds something else.

    """
    reports = [read_report(file) for file in files]
    names = [file.stem for file in files]
    if len(set(names)) < len(names):
        names = [str(file) for file in files]
    print_comparison(dict(zip(names, reports, strict=True)))


def print_comparison(reports: Mapping[str, Mapping[str, Any]]) -> None:
    """Print the figures of named reports, those after the first one also relative to it."""
    names, found = list(reports), list(reports.values())
    header = ['', names[0]]
    for name in names[1:]:
        header += [name, 'ratio']
    rows = []
    for figure, values in paired_figures(*found).items():
        row = [figure, _text(values[0])]
        for value in values[1:]:
            row += [_text(value), _ratio(values[0], value)]
        rows.append(row)
    print_table('Figures', header, rows)
    if unknown := [name for name, each in reports.items() if 'missing' in each['node']]:
        print(f'–: not known; measured from the outside only: {", ".join(unknown)}')
    if changes := differences(*found):
        rows = [[name, *map(_text, values)] for name, values in changes.items()]
        print_table('These differ, too', ['', *names], rows)


def read_report(path: Path) -> dict[str, Any]:
    """
    Read a report.

    Raises:
        ConfigError: the file is missing or holds something else.

    """
    advice = 'expected a file that `uhr_seg benchmark bag --json` wrote'
    report = read_json(path, ConfigError, advice)
    try:
        if report['benchmark'] == 'bag':
            _flat(report)
            return report
        reason = f'benchmark is {shown(report["benchmark"])}'
    except (AttributeError, KeyError, TypeError) as err:
        reason = f'what is in it is not of this form: {one_line(err, 100)}'
    msg = f'{path} is not a report ({reason}): {advice}'
    raise ConfigError(msg)


def paired_figures(*reports: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Return every figure that one of the reports has, with its value in each or None."""
    columns = [_flat(report) for report in reports]
    names = dict.fromkeys(name for column in columns for name in column)
    return {name: tuple(column.get(name) for column in columns) for name in names}


def differences(*reports: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Return the `SETTINGS` that differ, and what else of node and machine, with all values."""
    found = {}
    named = {keys for _, keys in SETTINGS} | _MOMENTS
    others = dict.fromkeys(
        (group, key)
        for group in ('node', 'machine')
        for report in reports
        for key in _mapping(report.get(group))
    )
    more = [(f'{keys[0]}: {keys[1]}', keys) for keys in others if keys not in named]
    for name, keys in (*SETTINGS, *more):
        values = tuple(_at(report, keys) for report in reports)
        if any(value != values[0] for value in values):
            found[name] = _differing(values)
    return found


def _flat(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return figures that can be set against each other, named for people."""
    figures = report['figures']
    named = {'peak, Hz': report.get('peak_hz')} if 'peak_hz' in report else {}
    named |= {
        'masks, Hz': figures['throughput_hz'],
        'sent, Hz': figures['sent_hz'],
        'answered': figures['answered'],
    }
    for title, key in (('latency', 'latency_ms'), ('jitter', 'jitter_ms')):
        named |= {f'{title} {name}, ms': value for name, value in figures[key].items()}
    for stage, values in figures['stage_ms'].items():
        named[f'stage {stage} p50, ms'] = values.get('p50')
    load = figures['load'] or {'cpu_percent': {}}
    for process, value in load['cpu_percent'].items():
        named[f'CPU of the {process}, %'] = value
    for name, seen in load.get('gpu', {}).items():
        named[f'GPU {name}, mean'] = seen['mean']
    named['peak memory, MB'] = load.get('peak_mb')
    if accuracy := report.get('accuracy'):
        named['mean IoU'] = accuracy['mean_iou']
    return named


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _at(report: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    value: Any = report
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _differing(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Leave out of mappings what is the same in all."""
    if not all(isinstance(value, Mapping) for value in values):
        return values
    keys = dict.fromkeys(key for value in values for key in value)
    names = [key for key in keys if any(each.get(key) != values[0].get(key) for each in values)]
    return tuple({key: value.get(key) for key in names} for value in values)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f'{value:.3f}'
    if isinstance(value, Mapping):
        return shortened(', '.join(f'{key} {shown(each)}' for key, each in value.items()))
    return '–' if value is None else shortened(str(value))


def _ratio(first: Any, second: Any) -> str:
    both = is_number(first) and is_number(second) and first
    return f'{second / first:.3f}' if both else ''
