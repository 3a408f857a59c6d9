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

"""`uhr_seg batch` on this machine: units, resuming, and what fails alone."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_bundle import paint

from uhr_seg_ros.cli.main import main

RED, GREEN, BLUE = range(3)


def batch(bundle: Path, output: Path, *words: object) -> int:
    options = ('--bundle', bundle, '--output', output, '--backend', 'onnxruntime')
    return main(['batch', *map(str, (*words, *options, '--workers', 1))])


def picture(path: Path, class_id: int, side: int = 16) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), paint(np.full((side, side), class_id, np.uint8)))
    return path


def records(output: Path) -> list[dict]:
    lines = (output / '.uhr_seg_batch' / 'manifest.jsonl').read_text().splitlines()
    return [json.loads(line) for line in lines]


def contents(output: Path) -> dict[str, bytes]:
    """Return the results, without what tells times."""
    return {
        str(path.relative_to(output)): path.read_bytes()
        for path in sorted(output.rglob('*'))
        if path.is_file()
        and '.uhr_seg_batch/' not in str(path)
        and path.name not in ('summary.html', 'manifest.parquet', 'manifest.csv')
    }


def test_a_folder_in_shards(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for index in range(5):
        picture(tmp_path / 'in' / f'{index}.png', index % 3)
    (tmp_path / 'in' / '9.png').write_bytes(b'no picture')
    words = tmp_path / 'in', '--unit-frames', 2, '--retries', 1
    out = tmp_path / 'out'
    assert batch(tiny_bundle, out, *words) == 1
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1] == f'5 done, 1 failed: {out}'
    assert '9.png is left out: ' in captured.err
    mask = cv2.imread(str(out / '1_mask.png'), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (16, 16) and (mask == GREEN).all()
    with (out / 'summary.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert [row['image'] for row in rows] == ['0', '1', '2', '3', '4', 'total']
    assert rows[-1]['red_px'] == str(2 * 256)
    (failed,) = (each for each in records(out) if each['status'] == 'failed')
    assert failed['attempts'] == 2
    page = (out / 'summary.html').read_text()
    assert '9.png' in page and page.count('<figure>') == 5
    # Again: only the broken one is tried; when it is mended nothing else is.
    before = contents(out)
    assert batch(tiny_bundle, out, *words) == 1
    assert capsys.readouterr().out.splitlines()[-1] == f'0 done, 1 failed, 5 done before: {out}'
    picture(tmp_path / 'in' / '9.png', BLUE)
    assert batch(tiny_bundle, out, *words) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f'1 done, 5 done before: {out}'
    assert contents(out).items() >= {k: v for k, v in before.items() if k != 'summary.csv'}.items()


def test_what_is_done_is_known_by_content_and_options(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = picture(tmp_path / 'one.png', RED)
    other = picture(tmp_path / 'two.png', RED)
    out = tmp_path / 'out'

    def last(*words: object) -> str:
        assert batch(tiny_bundle, out, image, other, *words) == 0
        return capsys.readouterr().out.splitlines()[-1].partition(':')[0]

    assert last() == '2 done'
    os.utime(image, (1, 1))  # written again, with the same content
    assert last() == '0 done, 2 done before'
    picture(image, BLUE)
    assert last() == '1 done, 1 done before'
    (out / 'two_mask.png').unlink()
    assert last() == '1 done, 1 done before'
    assert last('--format', 'tif') == '2 done'
    assert last('--format', 'tif') == '0 done, 2 done before'
