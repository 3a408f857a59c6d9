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

"""`uhr_seg evaluate --output`: images by themselves give the figures of one process."""

from __future__ import annotations

import json
from pathlib import Path
import shutil
from typing import Any

import cv2
import pytest

pytest.importorskip('onnx', reason='the tiny bundle is made with onnx')

from tiny_sets import write_set

from uhr_seg_ros.cli.main import main

#: What tells times and the run, beside the figures.
ITS_OWN = ('seconds', 'peak_memory_mb', 'date', 'commit')


@pytest.fixture
def words(tiny_bundle: Path, tmp_path: Path) -> list[str]:
    root = write_set(tmp_path / 'set')
    for folder in ('images', 'labels'):
        shutil.copy(root / folder / 'b.png', root / folder / 'c.png')
    command = ['evaluate', '--bundle', str(tiny_bundle), '--dataset', 'folder', '--split', 'all']
    return [*command, '--root', str(root), '--threads', '1']


def figures(words: list[str], file: Path, *more: object) -> dict[str, Any]:
    assert main([*words, '--json', str(file), *map(str, more)]) == 0
    found = json.loads(file.read_text(encoding='utf-8'))
    return {name: value for name, value in found.items() if name not in ITS_OWN}


@pytest.mark.parametrize('mode', [(), ('--mode', 'slide', '--window', 80, '--stride', 52)])
def test_images_by_themselves_give_the_same_figures(
    mode: tuple, words: list[str], tmp_path: Path
) -> None:
    whole = figures(words, tmp_path / 'whole.json', *mode)
    assert whole['seams'] is None or whole['seams']['disagreement_near'] > 0
    units = '--output', tmp_path / 'out', '--workers', 1
    assert figures(words, tmp_path / 'units.json', *mode, *units) == whole
    counts = sorted((tmp_path / 'out').iterdir())
    assert len(counts) == 3
    # Again: nothing is measured but what is not there.
    counts[1].unlink()
    kept = [each.stat().st_mtime_ns for each in (counts[0], counts[2])]
    assert figures(words, tmp_path / 'again.json', *mode, *units) == whole
    assert sorted((tmp_path / 'out').iterdir()) == counts
    assert [each.stat().st_mtime_ns for each in (counts[0], counts[2])] == kept


def test_what_has_changed_is_measured_anew(words: list[str], tmp_path: Path) -> None:
    units = '--output', tmp_path / 'out', '--workers', 1
    before = figures(words, tmp_path / 'figures.json', *units)
    image = tmp_path / 'set/images/a.png'
    cv2.imwrite(str(image), 255 - cv2.imread(str(image)))
    after = figures(words, tmp_path / 'figures.json', *units)
    assert after['confusion'] != before['confusion']
    assert after == figures(words, tmp_path / 'whole.json')
    semantic = figures(words, tmp_path / 'figures.json', *units, '--branch', 'semantic')
    assert semantic == figures(words, tmp_path / 'whole.json', '--branch', 'semantic')


def test_an_image_that_fails_leaves_the_others(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / 'set/images/b.png'
    content = image.read_bytes()
    image.write_bytes(content[:9000])
    out, report = tmp_path / 'out', tmp_path / 'figures.json'
    units = ['--output', str(out), '--workers', '1', '--json', str(report)]
    assert main([*words, *units]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert '1 images could not be measured, the first: ' in line and 'b.png' in line
    assert line.endswith(f'; 2 of 3 images are measured: {out} (the same command goes on)')
    assert len(list(out.iterdir())) == 2 and not report.exists()
    image.write_bytes(content)
    assert main([*words, *units]) == 0
    assert len(list(out.iterdir())) == 3


def test_unlike_engines_are_not_added_up(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    units = ['--output', str(tmp_path / 'out'), '--workers', '1']
    assert main([*words, *units]) == 0
    path = next((tmp_path / 'out').iterdir())
    content = json.loads(path.read_text())
    content['provenance']['device'] = 'another one'
    path.write_text(json.dumps(content))
    assert main([*words, *units]) == 2
    assert 'were measured on unlike engines' in capsys.readouterr().err


def test_options_of_units(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, '--workers', '2']) == 2
    assert '--workers has no effect without --output' in capsys.readouterr().err
    report = ['--report', str(tmp_path / 'report.html')]
    assert main([*words, '--output', str(tmp_path / 'out'), *report]) == 2
    assert '--report has no effect beside --output' in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize('where', ['local', 'ray'])
def test_two_workers(where: str, words: list[str], tmp_path: Path) -> None:
    if where == 'ray':
        pytest.importorskip('ray', reason='ray is not installed')
    units = '--output', tmp_path / 'out', '--on', where, '--workers', 2
    whole = figures(words, tmp_path / 'whole.json')
    assert figures(words, tmp_path / 'units.json', *units) == whole
