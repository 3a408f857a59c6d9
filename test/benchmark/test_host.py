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
"""Every file of results tells what its figures depend on."""

from __future__ import annotations

import ast
import json
from pathlib import Path
import subprocess

import pytest
from results_files import check_provenance

from uhr_seg_ros.benchmark import host
from uhr_seg_ros.benchmark.host import describe_run, parse_flags, parse_model, parse_power_mode

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ('uhr_seg_ros/benchmark', 'uhr_seg_ros/cli', 'uhr_seg_ros/comparison', 'tools')

#: Files of JSON that are no results, or that describe a machine with a GPU in ways of their own.
OTHERS = {
    'uhr_seg_ros/benchmark/host.py',
    'tools/gpu_acceptance.py',
    'tools/gpu_kit.py',
}

X86 = """processor\t: 0
model name\t: Some CPU @ 2 GHz
flags\t\t: fpu avx avx2 avx512f avx512_vnni fma
processor\t: 1
flags\t\t: fpu
"""
ARM = 'processor\t: 0\nFeatures\t: fp asimd asimddp aes i8mm\n'


def test_processors() -> None:
    assert parse_model(X86) == 'Some CPU @ 2 GHz'
    assert parse_flags(X86) == ['avx2', 'avx512_vnni', 'avx512f', 'fma']
    assert (parse_model(ARM), parse_flags(ARM)) == ('', ['asimd', 'asimddp', 'i8mm'])
    assert parse_flags('') == []
    assert parse_power_mode('NV Power Mode: MAXN\n0') == 'MAXN'
    assert parse_power_mode('') is None


def test_governor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, '_GOVERNOR', tmp_path / 'governor')
    assert host.describe_machine()['governor'] == 'unknown'
    (tmp_path / 'governor').write_text('performance\n', 'ascii')
    assert host.describe_machine()['governor'] == 'performance'


def test_commit_of_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, '_CHECKOUT', tmp_path)
    assert describe_run()['commit'] is None  # as of an installed package
    code = tmp_path / 'uhr_seg_ros/a.py'
    code.parent.mkdir()
    code.touch()
    author = ('-c', 'user.name=a', '-c', 'user.email=a@b')
    for words in (('init',), ('add', '.'), (*author, 'commit', '-m', 'first')):
        subprocess.run(['git', '-C', tmp_path, *words], check=True, capture_output=True)
    (tmp_path / 'figures.json').touch()  # changes nothing that is measured
    commit = describe_run()['commit']
    assert len(commit) == 40
    code.write_text('pass')
    assert describe_run()['commit'] == f'{commit}-changed'


def test_what_a_file_tells(tmp_path: Path) -> None:
    host.write_results(tmp_path / 'figures.json', {'mine': 1})
    report = json.loads((tmp_path / 'figures.json').read_text('utf-8'))
    assert report.pop('mine') == 1
    check_provenance(report)


def test_nobody_writes_results_otherwise() -> None:
    files = [file for room in ROOMS for file in (ROOT / room).rglob('*.py')]
    assert len(files) > 40
    writers = {
        str(file.relative_to(ROOT)): called
        for file in files
        if (called := _calls(file) & {'write_json', 'dump', 'write_results'})
    }
    assert {name for name, called in writers.items() if 'write_results' in called} >= {
        'uhr_seg_ros/benchmark/demo.py',
        'uhr_seg_ros/cli/benchmark_results.py',
        'uhr_seg_ros/cli/benchmark_recordings.py',
        'uhr_seg_ros/cli/evaluate.py',
        'tools/reliability.py',
    }
    plain = {name for name, called in writers.items() if called - {'write_results'}}
    assert plain == OTHERS


def _calls(file: Path) -> set[str]:
    """Return the names of the functions that a file calls."""
    calls = (
        node.func
        for node in ast.walk(ast.parse(file.read_text('utf-8')))
        if isinstance(node, ast.Call)
    )
    return {
        each.attr if isinstance(each, ast.Attribute) else each.id
        for each in calls
        if isinstance(each, ast.Attribute | ast.Name)
    }
