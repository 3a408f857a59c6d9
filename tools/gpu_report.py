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

"""The results of `scripts/gpu_acceptance` as one page, with what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
import json
from pathlib import Path
from typing import Any

from uhr_seg_ros.core.atomic_io import write_text

#: The case that is compared with PyTorch.
_PAPER_CASE = 'hlrc_cityscapes 2048x1024 fp16'

#: Sections that are shown as tables.
_FORMS = ('environment', 'engines', 'kernels', 'pytorch', 'overlap', 'onnxruntime')


def write_report(folder: Path) -> None:
    """Write README.md from the JSON files of a folder."""
    sections = {}
    for path in sorted(folder.glob('*.json')):
        sections[path.stem] = json.loads(path.read_text(encoding='utf-8'))
    results = {name: section.get('result', {}) for name, section in sections.items()}
    lines = ['# GPU results', '', 'Written by `scripts/gpu_acceptance`.', '']
    lines += _environment(results.get('environment', {}))
    lines += _aims(results)
    lines += _engines(results.get('engines', {}))
    lines += _kernels(results.get('kernels', {}))
    lines += _times('PyTorch, the same network and weights', results.get('pytorch', {}))
    lines += _overlap(results.get('overlap', {}))
    lines += _times('ONNX Runtime on the CPU of this machine', results.get('onnxruntime', {}))
    lines += _others(results)
    lines += _missing(sections)
    write_text(folder / 'README.md', '\n'.join(lines) + '\n')


def _environment(found: Mapping[str, Any]) -> list[str]:
    rows = [[name, str(value).replace('|', '/')] for name, value in found.items()]
    return ['## Machine', '', *_table(['', ''], rows), '']


def _aims(results: Mapping[str, Any]) -> list[str]:
    """Compare with what was aimed at; what cannot be compared is not shown here."""
    rows = []
    paper = results.get('engines', {}).get(_PAPER_CASE, {}).get('engines', {})
    for form, aim in (('eager fp32', 10.0), ('compiled fp16', 2.5)):
        other = results.get('pytorch', {}).get(form, {})
        if 'median_ms' in paper and 'median_ms' in other:
            ratio = other['median_ms'] / paper['median_ms']
            rows.append([f'{_PAPER_CASE} against PyTorch {form}', f'{ratio:.1f}x', f'{aim}x'])
    for name, value in results.get('overlap', {}).items():
        rows.append([f'two streams against one, {name}', f'{value["ratio"]:.2f}x', '0.8x'])
    big = results.get('engines', {}).get('hlrc_s_aerial 4K fp16', {})
    if 'engines' in big:
        rest = big['end to end']['median_ms'] - big['engines']['median_ms']
        rows.append(['4K outside the engines', f'{rest:.2f} ms', '3 ms'])
    return ['## Aims', '', *_table(['', 'measured', 'aim'], rows), ''] if rows else []


def _engines(cases: Mapping[str, Any]) -> list[str]:
    rows = []
    for name, case in cases.items():
        if 'missing' not in case:
            stages = ('engines', 'end to end', 'end to end with pictures')
            times = [_time(case[stage]) for stage in stages]
            rows.append([name, *times, f'{case["ready_s"]} s', '; '.join(case['agreement'])])
    head = [
        'bundle, frame, precision',
        'engines',
        'end to end',
        'with pictures',
        'ready after',
        'agreement',
    ]
    return ['## Engines', '', *_table(head, rows), ''] if rows else []


def _kernels(found: Mapping[str, Any]) -> list[str]:
    if not found:
        return []
    rows = []
    for kernel in ('prepare', 'finish', 'paint'):
        for name, case in found[kernel].items():
            checks = {key: value for key, value in case.items() if key not in ('ms', 'gb_per_s')}
            part = case['gb_per_s'] / found['write_gb_per_s']
            check = ', '.join(f'{key} {value}' for key, value in checks.items())
            rows.append(
                [
                    f'{kernel} {name}',
                    f'{case["ms"]} ms',
                    f'{case["gb_per_s"]} GB/s',
                    f'{part:.0%}',
                    check,
                ]
            )
    head = ['kernel at 4K', 'time', 'moved', 'of the write bandwidth', 'against the CPU']
    title = f'Memory is filled at {found["write_gb_per_s"]} GB/s.'
    return ['## Kernels', '', title, '', *_table(head, rows), '']


def _times(title: str, found: Mapping[str, Any]) -> list[str]:
    rows = [[name, _time(case)] for name, case in found.items() if 'missing' not in case]
    return [f'## {title}', '', *_table(['', 'median (p95)'], rows), ''] if rows else []


def _overlap(found: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, case in found.items():
        text = f'{name}: {_time(case["two_streams"])}, on one stream {_time(case["one_stream"])}.'
        lines += [text, '', f'![{name}]({case["picture"]})', '']
    return ['## Both branches at once', '', *lines] if lines else []


def _others(results: Mapping[str, Any]) -> list[str]:
    """Show sections that have no form of their own here."""
    lines = []
    for name, found in results.items():
        if found and name not in _FORMS:
            lines += [f'## {name}', '', '```', json.dumps(found, indent=1), '```', '']
    return lines


def _missing(sections: Mapping[str, Any]) -> list[str]:
    lines = []
    for section, content in sections.items():
        if 'missing' in content:
            lines.append(f'* {section}: {content["missing"]}')
        for case, value in content.get('result', {}).items():
            if isinstance(value, dict) and 'missing' in value:
                lines.append(f'* {section}, {case}: {value["missing"]}')
            elif isinstance(value, str) and value.startswith('missing: '):
                lines.append(f'* {section}, {case}: {value.removeprefix("missing: ")}')
    return ['## Missing', '', *lines] if lines else []


def _time(case: Mapping[str, Any]) -> str:
    return f'{case["median_ms"]} ms ({case["p95_ms"]} ms)'


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    head = list(head)
    lines = [head, ['---'] * len(head), *rows]
    return [f'| {" | ".join(cells)} |' for cells in lines]
