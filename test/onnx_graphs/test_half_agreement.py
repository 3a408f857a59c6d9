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


"""
Masks of whole networks in emulated float16 against float32, with the divisors of real frames.

Linear attention divides by the number of places at stride 16: 8160 at 1080p, 129600 at 8K.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('onnx', reason='half graphs are made with onnx')

from emulated_half import run_graph, run_half
import onnx
from onnx import numpy_helper

from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.onnx_graphs.folding import fix_shapes
from uhr_seg_ros.onnx_graphs.precision import to_half
from uhr_seg_ros.pipelines.preprocessing import Preprocessor
from uhr_seg_ros.pipelines.verification import AGREEMENT, verification_frame

Arrays = dict[str, np.ndarray]

#: Height and width, multiples of 16.
SIZES = {'1080p': (1088, 1920), '4K': (2160, 3840), '8K': (4320, 7680)}
SMALL = (384, 512)
PUBLISHED = ('hlrc_inria', 'hlrc_deepglobe', 'hlrc_cityscapes')


class Network:
    """
    The graphs of a network at one size, on the frame of the verification.

    Args:
        paths: graph name -> file.
        size: height and width.

    """

    def __init__(self, paths: Mapping[str, Path], size: tuple[int, int]) -> None:
        self._paths, self._size = paths, size
        # All networks here have mean and deviation of ImageNet.
        frame = verification_frame(size)
        planes, low_res = Preprocessor(load_bundle('hlrc_s_aerial')).whole(frame)
        self._inputs = {'image': planes.copy(), 'low_res': low_res.copy()}
        self._tokens: dict[bool | None, Arrays] = {}

    def logits(self, *, flush: bool | None = None, places: int = 0) -> np.ndarray:
        """
        Compute the logits at a quarter of the size.

        Args:
            flush: of `run_half`; None: in float32.
            places: by which linear attention divides in place of its own.

        """
        if flush not in self._tokens:
            self._tokens[flush] = self._run('semantic', self._inputs, flush)
        found = self._tokens[flush] | self._run('detail', self._inputs, flush, places)
        return self._run('quarter', found, flush)['quarter_logits'][0]

    def _run(self, name: str, found: Arrays, flush: bool | None, places: int = 0) -> Arrays:
        content = self._paths[name].read_bytes()
        shapes = shapes_of(onnx.load_model_from_string(content), self._size)
        model = fix_shapes(content, shapes, name)
        if places:
            divide_by(model, self._size[0] * self._size[1] // 256, places)
        feeds = {each: found[each] for each in shapes}
        if flush is None:
            return run_graph(model, feeds)
        return run_half(to_half(model), feeds, flush=flush)


def shapes_of(model: onnx.ModelProto, size: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    """Return the input shapes of a graph for a frame of height and width."""
    names = [
        ('low_height', 'low_width', 4),
        ('height', 'width', 1),
        ('rows', 'columns', 16),
        ('quarter_height', 'quarter_width', 4),
    ]
    sizes = {
        name: length // factor
        for *pair, factor in names
        for name, length in zip(pair, size, strict=True)
    }
    return {
        each.name: tuple(
            sizes.get(dimension.dim_param) or dimension.dim_value
            for dimension in each.type.tensor_type.shape.dim
        )
        for each in model.graph.input
    }


def divide_by(model: onnx.ModelProto, own: int, places: int) -> None:
    """Divide by a number of places other than the model's own."""
    count = 0
    for constant in model.graph.initializer:
        scalar = constant.data_type == onnx.TensorProto.FLOAT and np.prod(constant.dims) == 1
        if scalar and numpy_helper.to_array(constant).item() == own:
            values = np.full(tuple(constant.dims), places, np.float32)
            constant.CopyFrom(numpy_helper.from_array(values, constant.name))
            count += 1
    assert count


def compare(expected: np.ndarray, found: np.ndarray, size: tuple[int, int]) -> tuple[float, float]:
    """Return the share of pixels of the same class, and the largest relative logit error."""
    error = np.abs(found - expected).max() / np.abs(expected).max()
    return float((mask_of(expected, size) == mask_of(found, size)).mean()), float(error)


def mask_of(logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Enlarge logits and take the arg max."""
    mask, best = np.zeros(size, np.uint8), np.full(size, -np.inf, np.float32)
    for index, plane in enumerate(logits):
        enlarged = cv2.resize(plane, size[::-1])
        mask[enlarged > best] = index
        np.maximum(best, enlarged, out=best)
    return mask


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize('name', SIZES)
def test_shipped_model_on_whole_frames(name: str) -> None:
    """Slow: whole frames of up to 33 megapixels on the CPU, 10 GB and minutes for the largest."""
    graphs = load_bundle('hlrc_s_aerial').graphs
    network = Network({each: graph.path for each, graph in graphs.items()}, SIZES[name])
    expected = network.logits()
    for flush in (False, True):
        agreement, error = compare(expected, network.logits(flush=flush), SIZES[name])
        print(f'\n{name} flush={flush}: {agreement:.4%}, {error:.1e}')  # noqa: T201 - for the docs
        assert agreement > AGREEMENT['fp16']


@pytest.fixture(scope='module', params=PUBLISHED)
def published(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Export a published network with random weights."""
    torch = pytest.importorskip('torch', reason='networks are PyTorch')
    from networks_seen import see

    from uhr_seg_ros.export.export import write_graphs
    from uhr_seg_ros.networks.backbones.normalization import normalized
    from uhr_seg_ros.networks.presets import build_network
    from uhr_seg_ros.synthetic.scenes import generate_scene

    torch.manual_seed(0)
    network = build_network(request.param)
    scenes = np.stack([generate_scene(seed, *SMALL)[0] for seed in range(2)])
    see(network, normalized(scenes))
    folder = tmp_path_factory.mktemp(request.param)
    with torch.no_grad():
        write_graphs(network, folder)
    return {path.stem: path for path in folder.glob('*.onnx')}


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_published_networks(published: dict[str, Path]) -> None:
    """
    Slow: 66 million parameters each; a small frame with the divisors of large ones.

    Flushed, as what is too small shows there first, and once not. Random weights decide by tiny
    margins: rounding alone changes half a percent of the pixels.
    """
    network = Network(published, SMALL)
    expected = network.logits()
    # As if training had balanced the classes: with random weights one wins everywhere.
    usual = expected.mean((1, 2), keepdims=True)
    for name, flush in (*((name, True) for name in SIZES), ('8K', False)):
        height, width = SIZES[name]
        found = network.logits(flush=flush, places=height * width // 256)
        agreement, error = compare(expected - usual, found - usual, SMALL)
        print(f'\n{name} flush={flush}: {agreement:.4%}, {error:.1e}')  # noqa: T201
        assert agreement > 0.98
        assert error < 0.05


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_published_networks_on_whole_frames(published: dict[str, Path]) -> None:
    """Slow: 1080p, 5 GB and 140 s of CPU for each network; 4K would be four times as much."""
    size = SIZES['1080p']
    network = Network(published, size)
    expected = network.logits()
    usual = expected.mean((1, 2), keepdims=True)  # as in `test_published_networks`
    for flush in (False, True):
        agreement, error = compare(expected - usual, network.logits(flush=flush) - usual, size)
        print(f'\n1080p flush={flush}: {agreement:.4%}, {error:.1e}')  # noqa: T201
        assert agreement > 0.98
        assert error < 0.05
