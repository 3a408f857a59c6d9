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

"""The command line: dispatch, errors, and `segment` on real files."""

from __future__ import annotations

import ast
import builtins
from pathlib import Path
import subprocess
import sys

import cv2
import numpy as np
import pytest
from tiny_bundle import paint, TINY_CLASSES

from uhr_seg_ros import __version__
from uhr_seg_ros.cli.main import COMMANDS, main
from uhr_seg_ros.core.visualization import colorize
from uhr_seg_ros.pipelines.refinement.refine import refine, Refinement

PACKAGE = Path(__file__).resolve().parents[2] / 'uhr_seg_ros'
RUN_TIME_ROOMS = ('ros', 'pipelines', 'backends', 'core', 'image_io', 'geometry')
#: Of these rooms, what builds engines on a workstation or beside the node, and may import onnx.
BUILDING = ('specialized_graphs.py',)


@pytest.fixture
def mask() -> np.ndarray:
    """Return three vertical bands, one per class."""
    return np.arange(3, dtype=np.uint8).repeat(16)[None].repeat(36, 0)


@pytest.fixture
def field(tmp_path: Path, mask: np.ndarray) -> Path:
    """Write the bands as an image."""
    path = tmp_path / 'field.png'
    cv2.imwrite(str(path), paint(mask))
    return path


def test_segment_writes_mask_and_overlay(
    tiny_bundle: Path, tmp_path: Path, field: Path, mask: np.ndarray
) -> None:
    output = tmp_path / 'a' / 'b'
    options = ['--bundle', str(tiny_bundle), '--output', str(output)]
    assert main(['segment', str(field), *options]) == 0
    written = sorted(path.name for path in output.glob('[!.]*'))
    assert written == ['field_mask.png', 'field_overlay.jpg', 'summary.csv']
    found = cv2.imread(str(output / 'field_mask.png'), cv2.IMREAD_UNCHANGED)
    assert found.dtype == np.uint8
    assert (found == mask).all()
    assert cv2.imread(str(output / 'field_overlay.jpg')).shape == (36, 48, 3)


def test_segment_refines_boundaries(tiny_bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip('threadpoolctl', reason='boundaries are refined with it')
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    cv2.imwrite(str(tmp_path / 'noise.png'), image)
    found = {}
    for method in ('none', 'random_walker'):
        options = ['--bundle', str(tiny_bundle), '--output', str(tmp_path / method)]
        assert main(['segment', str(tmp_path / 'noise.png'), *options, '--refine', method]) == 0
        written = tmp_path / method / 'noise_mask.png'
        found[method] = cv2.imread(str(written), cv2.IMREAD_UNCHANGED)
    wanted = refine(found['none'], image, Refinement()).mask
    assert (wanted != found['none']).any()
    assert (found['random_walker'] == wanted).all()


def test_segment_writes_the_classes_as_colours(
    tiny_bundle: Path, tmp_path: Path, field: Path, mask: np.ndarray
) -> None:
    options = ['--bundle', str(tiny_bundle), '--output', str(tmp_path), '--color-mask']
    assert main(['segment', str(field), *options]) == 0
    found = cv2.imread(str(tmp_path / 'field_color.png'))
    np.testing.assert_array_equal(found, colorize(mask, TINY_CLASSES))


def test_sampling_of_a_bundle_that_does_not_choose(
    tiny_bundle: Path, tmp_path: Path, field: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / 'out'
    options = ['--bundle', str(tiny_bundle), '--output', str(output), '--show-sampling']
    assert main(['segment', str(field), *options]) == 2
    text = capsys.readouterr().err
    assert 'is of kind two_branch, which does not choose where it samples' in text
    assert not list(output.iterdir())


def test_segment_saves_logits(
    tiny_bundle: Path, tmp_path: Path, field: Path, mask: np.ndarray
) -> None:
    options = ['--output', str(tmp_path), '--save-logits', '--tile', '256']
    assert main(['segment', str(field), '--bundle', str(tiny_bundle), *options]) == 0
    logits = np.load(tmp_path / 'field_logits.npz')['logits']
    assert logits.dtype == np.float32
    assert logits.shape == (3, 36, 48)
    assert (logits.argmax(0) == mask).all()


def test_unreadable_images_do_not_stop_the_others(
    tiny_bundle: Path, tmp_path: Path, field: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, empty = tmp_path / 'broken.jpg', tmp_path / 'empty.png'
    broken.write_bytes(b'\xff\xd8\xff no picture')
    empty.touch()
    (tmp_path / 'none').mkdir()
    nothing = str(tmp_path / 'none')
    images = [str(tmp_path / 'absent.png'), str(broken), str(empty), nothing, str(field)]
    output = tmp_path / 'out'
    options = ['--bundle', str(tiny_bundle), '--output', str(output), '--backend', 'onnxruntime']
    assert main(['segment', *images, *options]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 4
    # What is not there is known before the work.
    for line, name in zip(errors, ('absent.png', 'none', 'broken.jpg', 'empty.png'), strict=True):
        assert line.startswith('uhr_seg: error: ')
        assert name in line
    assert (output / 'field_mask.png').is_file()


@pytest.mark.parametrize(
    ('options', 'text'),
    [
        (['--bundle', 'no_such_model'], "no bundle 'no_such_model'"),
        (['--backend', 'abacus'], "back end 'abacus' is unknown, known: auto, tensorrt, onnx"),
        (['--tile', '8'], 'a tile of 8 px is too small'),
        (['--memory-limit-mb', '1'], 'a memory limit of 1 MB is too small'),
    ],
)
def test_errors_are_one_line(
    tiny_bundle: Path,
    tmp_path: Path,
    field: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    text: str,
) -> None:
    given = ['--bundle', str(tiny_bundle), '--output', str(tmp_path), *options]
    assert main(['segment', str(field), *given]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert errors[0].startswith('uhr_seg: error: ')
    assert text in errors[0]


def test_output_that_cannot_be_made(
    tiny_bundle: Path, field: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ['--bundle', str(tiny_bundle), '--output', str(field)]
    assert main(['segment', str(field), *options]) == 2
    assert 'cannot be made: File exists' in capsys.readouterr().err


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(['--help'])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert all(command in shown for command in COMMANDS)


@pytest.mark.parametrize('command', sorted(COMMANDS))
def test_every_command_has_its_room(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    for package in ('torch', 'rosbags', 'rclpy'):
        pytest.importorskip(package, reason=f'{package} is not installed')
    with pytest.raises(SystemExit) as caught:
        main([command, '--help'])
    assert caught.value.code == 0
    assert COMMANDS[command][1].capitalize() in ' '.join(capsys.readouterr().out.split())


def test_version_and_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(['--version'])
    assert __version__ in capsys.readouterr().out
    with pytest.raises(SystemExit) as caught:
        main(['paint'])
    assert caught.value.code == 2


def test_missing_package_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real_import = builtins.__import__

    def without_torch(name: str, *args: object, **kwargs: object) -> object:
        if name.partition('.')[0] == 'torch':
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)
        return real_import(name, *args, **kwargs)

    for name in [
        name
        for name in sys.modules
        if name.startswith(
            ('uhr_seg_ros.networks', 'uhr_seg_ros.export', 'uhr_seg_ros.cli.convert')
        )
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, '__import__', without_torch)
    assert main(['convert', 'x.pth', '--network', 'hlrc_s', '--output', 'y']) == 2
    error = capsys.readouterr().err
    assert '`convert` needs the Python package torch' in error
    assert 'bash scripts/setup test' in error


def test_segment_needs_neither_torch_nor_onnx(tiny_bundle: Path, field: Path) -> None:
    code = (
        'import sys\n'
        'from uhr_seg_ros.cli.main import main\n'
        f'code = main(["segment", {str(field)!r}, "--bundle", {str(tiny_bundle)!r}, '
        f'"--output", {str(field.parent)!r}])\n'
        'assert not {"torch", "onnx", "rclpy"} & set(sys.modules), sys.modules\n'
        'sys.exit(code)\n'
    )
    subprocess.run([sys.executable, '-c', code], check=True, cwd=PACKAGE.parent)


def test_run_time_rooms_import_no_torch() -> None:
    files = [*PACKAGE.glob('*.py')]
    for room in RUN_TIME_ROOMS:
        files += (PACKAGE / room).glob('**/*.py')
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or '']
            roots = {name.partition('.')[0] for name in names}
            assert 'torch' not in roots, f'{file} imports torch'
            # Engines are built with onnx, in modules that only building imports.
            if file.name not in BUILDING:
                assert 'onnx' not in roots, f'{file} imports onnx'
