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

"""`uhr_seg build` and `uhr_seg cache`, with stand-ins for driver, CUDA and TensorRT."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

pytest.importorskip('onnx', reason='engines are built with onnx')
pytest.importorskip('rich', reason='the commands print with rich')

from small_disk import SmallDisk
from standin_backend import StandIn

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.cli.main import main
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.synthetic.scenes import generate_scene


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> StandIn:
    """Put stand-ins in the place of driver, CUDA and TensorRT."""
    monkeypatch.setenv('COLUMNS', '200')
    return StandIn(monkeypatch, tmp_path / 'cache', '10.13.3.9.post1')


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder of images."""
    folder = tmp_path / 'photos'
    folder.mkdir()
    for seed in range(3):
        cv2.imwrite(str(folder / f'{seed}.png'), generate_scene(seed, 384, 512)[0])
    (folder / 'notes.txt').write_text('no image')
    return folder


def build(bundle: Path | str, *more: object) -> int:
    """Run `uhr_seg build` for a small size."""
    return main(['build', '--bundle', str(bundle), '--size', '192x128', *map(str, more)])


def test_builds_once_and_tells(
    stand_in: StandIn, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build('hlrc_s_aerial', '--frames', photos) == 0
    said = capsys.readouterr().out
    assert 'same class as ONNX Runtime on' in said
    assert 'largest logit error' in said
    assert 'ready: hlrc_s_aerial for 192x128 in fp16' in said
    assert build('hlrc_s_aerial') == 0
    assert stand_in.trt.notes.built == 3
    assert 'same class' not in capsys.readouterr().out


def test_list_and_prune(
    stand_in: StandIn, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['cache', 'list']) == 0
    assert '0 entries, 0 MB' in capsys.readouterr().out
    build(tiny_bundle, '--precision', 'fp32')
    capsys.readouterr()
    assert main(['cache', 'list']) == 0
    said = capsys.readouterr().out
    assert 'tiny-detail-fp32-1x3x128x192' in said
    assert 'TensorRT 10.13.3.9.post1, Orin' in said
    assert '100.000%' in said
    assert main(['cache', 'prune']) == 0
    assert 'removed 6 entries' in capsys.readouterr().out
    assert not list(stand_in.cache.glob('**/*.engine'))


def test_int8_is_calibrated_and_then_runs(
    stand_in: StandIn, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ['--precision', 'int8', '--frames', photos, '--size', '512x384']
    assert build('hlrc_s_aerial', *arguments) == 0
    assert 'calibrating int8 with 3 frames' in capsys.readouterr().out
    options = EngineOptions(precision='int8')
    with Segmenter('hlrc_s_aerial', 'tensorrt', options=options) as segmenter:
        mask = segmenter(generate_scene(9, 384, 512)[0]).mask
    with Segmenter('hlrc_s_aerial', 'onnxruntime') as reference:
        expected = reference(generate_scene(9, 384, 512)[0]).mask
    assert 0.97 < (mask == expected).mean() < 1.0  # it does compute with fewer bits
    assert stand_in.trt.notes.built == 3


def test_int8_without_frames(
    stand_in: StandIn, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build(tiny_bundle, '--precision', 'int8') == 2
    error = capsys.readouterr().err
    assert 'was never calibrated: run uhr_seg build --precision int8 with --frames' in error


@pytest.mark.parametrize(
    ('arguments', 'text'),
    [
        (['--frames', 'nowhere'], 'no such file: nowhere'),
        (['--frames', '.'], 'is neither an image nor a recording'),
    ],
)
def test_wrong_frames(
    stand_in: StandIn,
    tiny_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    text: str,
) -> None:
    (tmp_path / 'empty').mkdir()
    monkeypatch.chdir(tmp_path / 'empty')
    assert build(tiny_bundle, *arguments) == 2
    assert text in capsys.readouterr().err


def test_engines_that_cannot_be_kept(
    stand_in: StandIn,
    tiny_bundle: Path,
    small_disk: SmallDisk,
    capsys: pytest.CaptureFixture[str],
) -> None:
    small_disk.fill()
    assert build(tiny_bundle, '--cache', small_disk.path / 'cache') == 2
    error = capsys.readouterr().err
    assert 'disk/cache cannot be written (No space left on device): choose a folder' in error


@pytest.mark.parametrize('size', ['4k', '0x10', '100', '10x20x30', '-5x5'])
def test_wrong_size(tiny_bundle: Path, capsys: pytest.CaptureFixture[str], size: str) -> None:
    with pytest.raises(SystemExit):
        main(['build', '--bundle', str(tiny_bundle), f'--input={size}'])
    text = f"'{size}' is not a size: expected <width>x<height>, such as 3840x2160"
    assert text in capsys.readouterr().err


def test_without_a_gpu(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')  # also where there is a GPU
    assert build(tiny_bundle) == 2
    error = capsys.readouterr().err
    assert error.startswith('uhr_seg: error: ')
    assert 'CUDA' in error
