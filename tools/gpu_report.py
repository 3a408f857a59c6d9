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

"""The results of `scripts/gpu_acceptance` as one page: expected, measured, and what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tools.gpu_expectations import draw, rows_of
from uhr_seg_ros.core.atomic_io import write_text

_PICTURE = 'expectations.png'

#: Sections of whole frames, and what a case of theirs is timed as.
_FRAMES = {
    'tensorrt': 'Frames, TensorRT',
    'pipeline': 'Frames, half-precision graphs in PyTorch in the place of TensorRT',
}
_STAGES = ('engines', 'upload', 'download', 'end to end', 'end to end with pictures')

#: Sections that list times.
_TIMES = {
    'pytorch': "PyTorch, the paper's network",
    'compiled': "PyTorch, the paper's network compiled",
    'onnxruntime': 'ONNX Runtime on the CPU of this machine',
}

#: Sections whose cases are shown as they are.
_PLAIN = {'environment': 'Machine', 'life': 'Contexts, streams, graphs, ends'}


def write_report(results: Mapping[str, Any], path: Path, pictures: Path) -> None:
    """
    Write the page.

    Args:
        results: as `gpu_acceptance.publish` has them.
        path: of the page.
        pictures: folder for its pictures, which are archived beside the page.

    """
    sections = results['sections']
    found = {name: section.get('result', {}) for name, section in sections.items()}
    lines = ['# GPU results', '', 'Written by `scripts/gpu_acceptance`.', '']
    if results['pretended']:
        lines += ['**A dry run on stand-ins: no figure here is a measurement.**', '']
    lines += _plain('environment', found)
    lines += _expected(results, pictures)
    lines += _plain('life', found)
    for name, title in _FRAMES.items():
        lines += _frames(title, found.get(name, {}))
    lines += _overlaps(found.get('pipeline', {}))
    lines += _kernels(found.get('kernels', {}))
    for name, title in _TIMES.items():
        lines += _times(title, found.get(name, {}))
    lines += _missing(sections)
    write_text(path, '\n'.join(lines) + '\n')


def _expected(results: Mapping[str, Any], pictures: Path) -> list[str]:
    rows = rows_of(results)
    if not rows:
        return []
    draw(rows, pictures / _PICTURE)
    cells = [
        [
            row.what,
            f'{_number(row.low)} to {_number(row.high)} {row.unit}',
            '' if row.measured is None else f'{_number(row.measured)} {row.unit}',
            row.verdict,
            row.source,
        ]
        for row in rows
    ]
    head = ['', 'expected', 'measured', '', 'why']
    return ['## Expected and measured', '', *_table(head, cells), '', f'![]({_PICTURE})', '']


def _plain(section: str, found: Mapping[str, Any]) -> list[str]:
    rows = [
        [case, ', '.join(f'{key} {value}' for key, value in result.items())]
        for case, result in found.get(section, {}).items()
        if 'missing' not in result
    ]
    return [f'## {_PLAIN[section]}', '', *_table(['', ''], rows), ''] if rows else []


def _frames(title: str, cases: Mapping[str, Any]) -> list[str]:
    rows = []
    for name, case in cases.items():
        if 'agreement' in case:
            times = [_time(case[stage]) for stage in _STAGES]
            rate = f'{case["two in work"]["frames_per_s"]} fps'
            share = f'{case["agreement"]:.3%}, {case["verdict"]}'
            rows.append([name, *times, rate, f'{case["memory_mb"]} MB', share])
    head = ['median (p95), ms', *_STAGES, 'two in work', 'memory', 'agreement']
    return [f'## {title}', '', *_table(head, rows), ''] if rows else []


def _overlaps(cases: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, case in cases.items():
        if 'ratio' in case:
            two, one = _time(case['two_streams']), _time(case['one_stream'])
            text = f'{name}: {two} ms, on one stream {one} ms, {case["ratio"]:.2f} of it.'
            lines += [text, '', f'![{name}]({case["picture"]})', '']
    return ['## Both branches at once', '', *lines] if lines else []


def _kernels(cases: Mapping[str, Any]) -> list[str]:
    rows = []
    for name, case in cases.items():
        if 'missing' not in case:
            known = ('ms', 'gb_per_s', 'seconds')
            checks = [f'{key} {value}' for key, value in case.items() if key not in known]
            speed = [f'{case["ms"]} ms', f'{case["gb_per_s"]} GB/s'] if 'ms' in case else ['', '']
            rows.append([name, *speed, ', '.join(checks)])
    head = ['kernels at 4K, and copies', 'time', 'moved', 'against the CPU']
    return ['## Kernels', '', *_table(head, rows), ''] if rows else []


def _times(title: str, cases: Mapping[str, Any]) -> list[str]:
    rows = []
    for name, case in cases.items():
        if 'median_ms' in case:
            rows.append([name, f'{_time(case)} ms'])
        elif 'missing' not in case:
            rows.append([name, ', '.join(f'{key} {value}' for key, value in case.items())])
    return [f'## {title}', '', *_table(['', 'median (p95)'], rows), ''] if rows else []


def _missing(sections: Mapping[str, Any]) -> list[str]:
    lines = []
    for section, content in sections.items():
        if 'missing' in content:
            lines.append(f'* {section}: {content["missing"]}')
        elif not content['done']:
            lines.append(f'* {section}: not all of it ran')
        for case, value in content.get('result', {}).items():
            if 'missing' in value:
                lines.append(f'* {section}, {case}: {value["missing"]}')
    return ['## Missing', '', *lines] if lines else []


def _time(case: Mapping[str, Any]) -> str:
    return f'{case["median_ms"]} ({case["p95_ms"]})'


def _number(value: float) -> str:
    return f'{value:.4g}'


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    head = list(head)
    lines = [head, ['---'] * len(head), *rows]
    return [f'| {" | ".join(str(cell).replace("|", "/") for cell in cells)} |' for cells in lines]
