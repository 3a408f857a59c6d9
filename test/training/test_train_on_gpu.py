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

"""``scripts/train_on_gpu`` on a CPU: pieces on one machine and on another, and what it says."""

from __future__ import annotations

import os
from pathlib import Path
import subprocess
import sys

import pytest

torch = pytest.importorskip('torch', reason='training needs torch')
pytest.importorskip('onnx', reason='the export needs onnx')

from tiny import log_of, write_mosaics, write_recipe

SCRIPT = Path(__file__).resolve().parents[2] / 'scripts' / 'train_on_gpu'


def call(folder: Path, out: Path | None, *options: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1'}
    environment.pop('OUT', None)
    if out is not None:
        environment['OUT'] = str(out)
    return subprocess.run(
        ['bash', str(SCRIPT), *options],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.slow
def test_pieces_travel_between_machines(tmp_path: Path) -> None:
    recipe, mosaics = write_recipe(tmp_path / 'r.yaml'), write_mosaics(tmp_path / 'mosaics')
    first, second = tmp_path / 'first', tmp_path / 'second'
    common = ('--config', str(recipe), '--root', str(mosaics), '--device', 'cpu')
    result = call(tmp_path, first, *common, '--minutes', '0', '--run', 'here', '--part-mib', '4')
    assert result.returncode == 1, result.stderr
    assert f'elsewhere with --from {first}' in result.stdout
    parts = sorted(first.iterdir())
    assert [part.name for part in parts[:2]] == ['run.tar.00', 'run.tar.01']
    assert all(part.stat().st_size <= 4 << 20 for part in parts)
    result = call(
        tmp_path, second, *common, '--minutes', '9', '--run', 'there', '--from', str(first)
    )
    assert result.returncode == 0, result.stderr
    assert f'unpacked {first} into there' in result.stdout
    assert [entry['step'] for entry in log_of(tmp_path / 'there')] == list(range(6))
    listed = subprocess.run(
        f'cat {second}/run.tar.* | tar -t', shell=True, capture_output=True, text=True, check=True
    ).stdout
    assert {'./bundle/model.yaml', './last.pth', './log.jsonl'} <= set(listed.split())
    assert './best.pth' not in listed


@pytest.mark.parametrize(
    ('out', 'options', 'text'),
    [
        (False, (), 'OUT is not set'),
        (True, ('--config', 'none.yaml'), "--config 'none.yaml' is no file"),
        (True, ('--config', 'r.yaml'), '--minutes is missing'),
        (True, ('--config', 'r.yaml', '--minutes', '1', '--from', '.'), 'holds no run.tar.*'),
        (True, ('--config',), '--config needs a value'),
        (True, ('--output', 'x'), 'is called --run here'),
    ],
)
def test_what_is_missing_is_said(
    tmp_path: Path, out: bool, options: tuple[str, ...], text: str
) -> None:
    write_recipe(tmp_path / 'r.yaml')
    result = call(tmp_path, tmp_path / 'out' if out else None, *options)
    assert result.returncode == 2
    assert text in result.stderr


def test_a_failure_is_packed_and_passed_on(tmp_path: Path) -> None:
    write_recipe(tmp_path / 'r.yaml')
    options = ('--config', 'r.yaml', '--root', 'none', '--minutes', '1', '--device', 'cpu')
    result = call(tmp_path, tmp_path / 'out', *options)
    assert result.returncode == 2
    assert 'failed (exit code 2)' in result.stdout
    assert (tmp_path / 'out' / 'run.tar.00').is_file()


def test_help() -> None:
    result = call(SCRIPT.parent, None, '--help')
    assert result.returncode == 0
    assert result.stdout.startswith('Train on a machine that is lent')
    assert '--device cpu' in result.stdout
