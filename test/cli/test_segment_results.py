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

"""`uhr_seg segment` and results that cannot be written: known before the work, and no loss."""

from __future__ import annotations

import os
from pathlib import Path
import re
import shutil

import cv2
import numpy as np
import onnx
import pytest
from tiny_bundle import edited_model, paint

from uhr_seg_ros.cli.main import main
from uhr_seg_ros.core.bundle import file_sha256
from uhr_seg_ros.core.errors import WriteError
from uhr_seg_ros.core.work_folders import lock_folder
from uhr_seg_ros.reports.result_files import Results

#: Of images of which the second one fails, px.
SIDES = (16, 32, 16)


def segment(bundle: Path, output: Path, *words: object) -> int:
    options = ('--bundle', bundle, '--output', output, '--backend', 'onnxruntime')
    return main(['segment', *map(str, (*words, *options))])


def picture(path: Path, height: int = 16, width: int = 16) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), paint(np.ones((height, width), np.uint8)))
    return path


def results_in(folder: Path) -> list[str]:
    """List the files of images."""
    beside = {'summary.csv', '.uhr_seg_segment.jsonl'}
    return sorted({*os.listdir(folder)} - beside)


def test_budget_on_the_command_line(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = picture(tmp_path / 'one.png', 500, 500), picture(tmp_path / 'two.png', 500, 500)
    output, words = tmp_path / 'out', ('--detail', 'budget')
    assert segment(tiny_bundle, output, *images, *words, '--budget-ms', 1) == 0
    assert (cv2.imread(str(output / 'two_mask.png')) == 1).all()
    capsys.readouterr()
    assert segment(tiny_bundle, output, *images, *words) == 2
    assert '--detail budget needs --budget-ms' in capsys.readouterr().err
    assert segment(tiny_bundle, output, *images, '--budget-ms', 1) == 2
    assert '--budget-ms has no effect without --detail budget' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        segment(tiny_bundle, output, *images, *words, '--budget-ms', 0)
    assert "'0' is not a budget" in capsys.readouterr().err


def test_overlay_that_does_not_fit_into_jpeg(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = picture(tmp_path / 'wide.png', 4, 66_000), picture(tmp_path / 'small.png')
    output = tmp_path / 'out'
    assert segment(tiny_bundle, output, *images, '--tile', 1024) == 0
    assert results_in(output) == [
        'small_mask.png',
        'small_overlay.jpg',
        'wide_mask.png',
        'wide_overlay.png',
    ]
    for name in ('wide_mask.png', 'wide_overlay.png'):
        assert cv2.imread(str(output / name)).shape[:2] == (4, 66_000)
    assert (
        'overlay of 66000x4 px does not fit into JPEG, whose sides end at 65,500 px: written as '
        'PNG' in capsys.readouterr().err
    )


def test_mask_that_fits_into_nothing() -> None:
    results = Results(Path('out'), sampling=True)
    with pytest.raises(WriteError, match='a mask of 1000001x2 px does not fit into PNG'):
        results.files('a', (2, 1_000_001))
    files = results.files('a', (70_000, 2))
    assert files.sampling.name == 'a_sampling.png'
    assert files.notes[0].startswith('overlay and sampling of 2x70000 px')


@pytest.mark.parametrize('name', ['a.b.png', '.hidden.png', 'x_mask.png', 'ü 图.png', 'a..png'])
def test_names_of_images(tiny_bundle: Path, tmp_path: Path, name: str) -> None:
    image = picture(tmp_path / name)
    assert segment(tiny_bundle, tmp_path / 'out', image) == 0
    stem = name.removesuffix('.png')
    assert results_in(tmp_path / 'out') == [f'{stem}_mask.png', f'{stem}_overlay.jpg']


@pytest.mark.parametrize(
    ('names', 'output', 'text'),
    [
        ([f'{"x" * 250}.png'], 'out', 'has 259 bytes'),
        ([f'{"é" * 122}.png'], 'out', 'has 256 bytes'),
        (['a.png', 'a_mask.png'], '.', 'a result of .*a.png, would overwrite the image .*a_mask'),
        (['a.png', 'sub/../a_mask.png'], '.', 'would overwrite the image'),
        (['a.png', 'a_overlay.jpg'], '.', 'would overwrite the image'),
        (['a.png', 'folder/x.png'], 'a.png', 'cannot be made'),
    ],
)
def test_names_that_cannot_be_are_told_before_the_work(
    tiny_bundle: Path,
    tmp_path: Path,
    names: list[str],
    output: str,
    text: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / 'sub').mkdir()
    images = [picture(tmp_path / name) for name in names]
    before = [image.read_bytes() for image in images]
    assert segment(tiny_bundle, tmp_path / output, *images) == 2
    captured = capsys.readouterr()
    assert len(captured.err.splitlines()) == 1
    assert re.search(text, captured.err)
    assert captured.out == ''
    assert [image.read_bytes() for image in images] == before


def test_images_are_no_results_under_another_name_either(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, other = picture(tmp_path / 'in/a.png'), picture(tmp_path / 'in/other.png', 32, 32)
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/a_mask.png').symlink_to(other)
    before = other.read_bytes()
    assert segment(tiny_bundle, tmp_path / 'out', image, other) == 2
    assert f'would overwrite the image {other}' in capsys.readouterr().err
    assert other.read_bytes() == before


def test_results_of_an_earlier_run_are_replaced(tiny_bundle: Path, tmp_path: Path) -> None:
    for side in (16, 32):
        image = picture(tmp_path / 'a.png', side, side)
        assert segment(tiny_bundle, tmp_path, image) == 0
        assert cv2.imread(str(tmp_path / 'a_mask.png')).shape == (side, side, 3)


def test_two_runs_into_one_folder(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = picture(tmp_path / 'a.png')
    with lock_folder(tmp_path / 'out'):
        assert segment(tiny_bundle, tmp_path / 'out', image) == 2
    assert 'another run' in capsys.readouterr().err
    assert os.listdir(tmp_path / 'out') == []


def test_image_that_fails_does_not_lose_the_others(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A graph takes one size only, and so fails on the second image."""
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / 'fixed'))
    graph = onnx.load(bundle / 'detail.onnx')
    for side in graph.graph.input[0].type.tensor_type.shape.dim[2:]:
        side.dim_value = 16
    onnx.save(graph, bundle / 'detail.onnx')
    with edited_model(bundle) as content:
        content['graphs']['detail']['sha256'] = file_sha256(bundle / 'detail.onnx')
    images = [
        picture(tmp_path / f'{name}.png', side, side)
        for name, side in zip('abc', SIDES, strict=True)
    ]
    assert segment(bundle, tmp_path / 'out', *images) == 1
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith(f'uhr_seg: error: image {images[1]} is left out: ')
    assert captured.out.splitlines()[-2] == 'tiny is for: unknown'
    assert captured.out.splitlines()[-1].startswith('2 segmented, 0 unreadable, 1 failed: ')
    written = results_in(tmp_path / 'out')
    assert written == ['a_mask.png', 'a_overlay.jpg', 'c_mask.png', 'c_overlay.jpg']
