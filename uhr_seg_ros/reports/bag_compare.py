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

"""Two measurements on recordings, side by side."""

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


# They differ from run to run, or say what a hash says.
_MOMENTS = {('machine', 'idle_percent'), ('node', 'bundle')}


def compare_files(first: Path, second: Path) -> None:
    """
    Print the figures of two files, the second one also relative to the first.

    Raises:
        ConfigError: a file is missing or holds something else.

    """
    reports = read_report(first), read_report(second)
    header = ['', first.stem, second.stem, 'ratio']
    rows = [
        [name, *(_text(value) for value in values), _ratio(*values)]
        for name, values in paired_figures(*reports).items()
    ]
    print_table('Figures', header, rows)
    if changes := differences(*reports):
        rows = [[name, *map(_text, values)] for name, values in changes.items()]
        print_table('These differ, too', header[:3], rows)


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


def paired_figures(
    first: Mapping[str, Any], second: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """Return every figure that either report has, with its value in both or None."""
    columns = [_flat(report) for report in (first, second)]
    names = dict.fromkeys(name for column in columns for name in column)
    return {name: (columns[0].get(name), columns[1].get(name)) for name in names}


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the `SETTINGS` that differ, and what else of node and machine, with both values."""
    found = {}
    named = {keys for _, keys in SETTINGS} | _MOMENTS
    others = dict.fromkeys(
        (group, key)
        for group in ('node', 'machine')
        for report in (first, second)
        for key in _mapping(report.get(group))
    )
    more = [(f'{keys[0]}: {keys[1]}', keys) for keys in others if keys not in named]
    for name, keys in (*SETTINGS, *more):
        values = tuple(_at(report, keys) for report in (first, second))
        if values[0] != values[1]:
            found[name] = _differing(*values)
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
    return named


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _at(report: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    value: Any = report
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _differing(first: Any, second: Any) -> tuple[Any, Any]:
    """Leave out of two mappings what is the same."""
    if not isinstance(first, Mapping) or not isinstance(second, Mapping):
        return first, second
    names = [key for key in {**first, **second} if first.get(key) != second.get(key)]
    return {key: first.get(key) for key in names}, {key: second.get(key) for key in names}


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f'{value:.3f}'
    if isinstance(value, Mapping):
        return shortened(', '.join(f'{key} {shown(each)}' for key, each in value.items()))
    return '–' if value is None else shortened(str(value))


def _ratio(first: Any, second: Any) -> str:
    both = is_number(first) and is_number(second) and first
    return f'{second / first:.3f}' if both else ''
