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

"""Networks of others wrapped by the command, and masks of whole frames and of tiles by them."""

from __future__ import annotations

import ast
from pathlib import Path

import cv2
import numpy as np
import pytest

onnx = pytest.importorskip('onnx', reason='networks are read with onnx')
from built_once import built_once
from foreign_networks import conv, step, write_foreign
from onnx import TensorProto

import uhr_seg_ros
from uhr_seg_ros.cli.main import main
from uhr_seg_ros.core.bundle import Bundle, load_bundle
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.pipelines.pipeline import TilingOptions
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.synthetic.scenes import generate_scene

CLASSES = """
classes:
- {name: land, color: [222, 196, 148]}
- {name: road, color: [110, 84, 160]}
- {name: roof, color: [214, 60, 54]}
"""


@pytest.fixture(scope='session')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wrap three networks: of any size, of one size, and one that gives bare classes."""

    def build(where: Path) -> None:
        (where / 'classes.yaml').write_text(CLASSES)
        cv2.imwrite(str(where / 'scene.png'), generate_scene(3, 200, 300)[0])
        write_foreign(
            where / 'any.onnx',
            step('Cast', to=TensorProto.FLOAT),
            step('Div', np.float32(255)),
            step('Transpose', perm=[0, 3, 1, 2]),
            conv(),
            step('ArgMax', axis=1, keepdims=0),
            shape=(1, 'h', 'w', 3),
            dtype=TensorProto.UINT8,
            opset=11,
            outputs=(('out', TensorProto.INT64),),
        )
        write_foreign(where / 'one.onnx', conv(), step('Softmax', axis=1), shape=(1, 3, 96, 128))
        write_foreign(
            where / 'mask.onnx',
            conv(1),
            step('Greater', np.float32(0)),
            step('Cast', to=TensorProto.INT32),
            shape=(1, 3, 96, 128),
            outputs=(('out', TensorProto.INT32),),
        )
        scale = ('--scale', '0.00392157')
        with pytest.MonkeyPatch.context() as patch:
            # Processes that measure memory are dear, and those of other tests measure the same.
            patch.setattr('uhr_seg_ros.backends.memory_profile.peak_resident_bytes', lambda: None)
            assert wrapped(where, 'any', '--image', str(where / 'scene.png')) == 0
        assert wrapped(where, 'one', *scale) == 0
        assert wrapped(where, 'mask', *scale) == 0

    return built_once(tmp_path_factory, 'wrapped', build)


def wrapped(where: Path, name: str, *options: str) -> int:
    words = ['--classes', str(where / 'classes.yaml'), '--output', str(where / name)]
    return main(['wrap', str(where / f'{name}.onnx'), *words, *options])


def scores_of(image: np.ndarray) -> np.ndarray:
    """Compute what the network of any size says, (3, h, w)."""
    weights = conv()[1][0]
    padded = [-(-side // 4) * 4 for side in image.shape[:2]]
    pixels = cv2.copyMakeBorder(
        image, 0, padded[0] - len(image), 0, padded[1] - image.shape[1], cv2.BORDER_REPLICATE
    )
    cells = pixels[..., ::-1].reshape(padded[0] // 4, 4, padded[1] // 4, 4, 3) / 255
    return np.einsum('ryxkc,ncyk->nrx', cells, weights, optimize=True)


def mask_of(image: np.ndarray) -> np.ndarray:
    """Return the classes at the centers of the cells."""
    return scores_of(image).argmax(0)


def segmented(bundle: Bundle | Path, image: np.ndarray, tile: int | None = None) -> np.ndarray:
    with Segmenter(bundle, 'onnxruntime', TilingOptions(tile=tile)) as segmenter:
        return segmenter(image).mask


@pytest.mark.parametrize('tile', [None, 128])
def test_scores_behind_arg_max_are_enlarged_and_blended(folder: Path, tile: int | None) -> None:
    """A network that takes bytes of NHWC and gives classes, of another opset."""
    image = generate_scene(5, 198, 301)[0]
    planes = [cv2.resize(plane, (304, 200)) for plane in scores_of(image).astype(np.float32)]
    expected = np.stack(planes).argmax(0)[:198, :301]
    assert (segmented(folder / 'any', image, tile) == expected).mean() > 0.999


def test_a_test_image_gives_mask_and_overlay(folder: Path) -> None:
    image = cv2.imread(str(folder / 'scene.png'))
    mask = cv2.imread(str(folder / 'any/test_images/scene_mask.png'), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(mask, segmented(folder / 'any', image))
    assert cv2.imread(str(folder / 'any/test_images/scene_overlay.jpg')).shape == image.shape


def test_a_network_of_one_size_sees_frames_resized_or_tiles_of_this_size(folder: Path) -> None:
    image = generate_scene(5, 192, 256)[0]
    small = cv2.resize(image, (128, 96), interpolation=cv2.INTER_AREA)
    whole = segmented(folder / 'one', image)
    assert (whole[4::8, 4::8] == mask_of(small)).mean() > 0.9
    # Linear as it is, tiles change nothing.
    one, scores = load_bundle(folder / 'one'), scores_of(image).astype(np.float32)
    assert one.input_size == (96, 128)
    tiled = segmented(one, image, 128)
    expected = np.stack([cv2.resize(plane, (256, 192)) for plane in scores]).argmax(0)
    assert (tiled == expected).mean() > 0.999
    # What is smaller than a tile is continued.
    assert np.array_equal(segmented(one, image[:40, :50], 128)[:36, :46], expected[:36, :46])


def test_bare_classes_meet_at_hard_seams(folder: Path) -> None:
    image = generate_scene(5, 192, 256)[0]
    with Segmenter(folder / 'mask', 'onnxruntime', TilingOptions(tile=128)) as segmenter:
        result = segmenter(image, confidence=True)
    assert result.confidence is not None
    assert set(np.unique(result.mask)) == {0, 1}
    assert set(np.unique(result.confidence)) == {85}  # one of three


def test_a_tile_smaller_than_the_network_takes(folder: Path) -> None:
    with pytest.raises(ConfigError, match='pictures of 128x96 px: give 128 or more'):
        Segmenter(folder / 'mask', 'onnxruntime', TilingOptions(tile=100))


def test_inspecting_says_what_is_guessed_and_what_is_missing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['wrap', str(folder / 'one.onnx'), '--inspect']) == 0
    said = capsys.readouterr()
    for words in ('128x96 px only', 'MUST BE GIVEN', 'in front of Softmax', '4 px'):
        assert words in said.out
    assert 'tile of 128 px or more' in said.err
    assert main(['wrap', str(folder / 'any.onnx'), '--inspect']) == 0
    said = capsys.readouterr()
    for words in ('NHWC', 'any multiple of 4 px', 'std 1 1 1', 'in front of ArgMax'):
        assert words in said.out


def test_all_in_one_class_is_a_warning_with_a_histogram(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """As where a network for 0..255 gets 0..1: the bias decides."""
    bias = np.array([0, 9, 0], np.float32)
    network = write_foreign(
        tmp_path / 'n.onnx', (conv()[0], (*conv()[1], bias), conv()[2]), shape=(1, 3, 64, 64)
    )
    words = ['--classes', str(folder / 'classes.yaml'), '--output', str(tmp_path / 'b')]
    assert main(['wrap', str(network), *words, '--scale', '0.0039']) == 0
    said = capsys.readouterr().err
    assert 'nearly all of every generated picture' in said
    assert 'road  100.0%  ####' in said


def test_options_that_do_nothing_or_are_missing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = str(folder / 'one.onnx')
    for words, text in (
        ([], '--classes and --output missing'),
        (['--inspect', '--output', 'x'], '--output has no effect beside --inspect'),
        (['--inspect', '--stride', '0'], 'expected a number of px above 0'),
    ):
        assert main(['wrap', network, *words]) == 2
        assert text in capsys.readouterr().err


def test_no_torch_is_needed() -> None:
    """Followed through the modules of the package, by what each imports when it is imported."""
    package = Path(uhr_seg_ros.__file__).parent
    waiting, seen = ['uhr_seg_ros.cli.wrap'], set()
    while waiting:
        name = waiting.pop()
        file = package.joinpath(*name.split('.')[1:]).with_suffix('.py')
        if name in seen or not file.is_file():
            continue
        seen.add(name)
        for node in ast.parse(file.read_text(encoding='utf-8')).body:
            if isinstance(node, ast.ImportFrom) and node.module:
                waiting.append(node.module)
                assert node.module.split('.')[0] != 'torch', name
            elif isinstance(node, ast.Import):
                assert 'torch' not in {each.name.split('.')[0] for each in node.names}, name
    assert 'uhr_seg_ros.export.bundle_writing' in seen
