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

GRAPHS = ('semantic', 'detail', 'quarter')
#: Height and width, multiples of 16.
SIZES = {'1080p': (1088, 1920), '4K': (2160, 3840), '8K': (4320, 7680)}
SMALL = (384, 512)
PUBLISHED = ('hlrc_inria', 'hlrc_deepglobe', 'hlrc_cityscapes')


def shapes_of(path: Path, size: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    """Return the input shapes of a graph for a frame of height and width."""
    height, width = size
    names = {'low_height': 4, 'height': 1, 'rows': 16, 'quarter_height': 4}
    sizes = {name: height // factor for name, factor in names.items()}
    names = {'low_width': 4, 'width': 1, 'columns': 16, 'quarter_width': 4}
    sizes |= {name: width // factor for name, factor in names.items()}
    return {
        each.name: tuple(
            sizes.get(dimension.dim_param) or dimension.dim_value
            for dimension in each.type.tensor_type.shape.dim
        )
        for each in onnx.load(path, load_external_data=False).graph.input
    }


def fixed(path: Path, size: tuple[int, int], places: int = 0) -> onnx.ModelProto:
    """Fix a graph to a size; divide by this number of places, if any, instead of its own."""
    model = fix_shapes(path.read_bytes(), shapes_of(path, size), path)
    own = (size[0] // 16) * (size[1] // 16)
    for constant in model.graph.initializer:
        scalar = constant.data_type == onnx.TensorProto.FLOAT and np.prod(constant.dims) == 1
        if places and scalar and numpy_helper.to_array(constant).item() == own:
            values = np.full(tuple(constant.dims), places, np.float32)
            constant.CopyFrom(numpy_helper.from_array(values, constant.name))
    return model


def logits_of(
    paths: dict[str, Path], size: tuple[int, int], *, flush: bool | None = None, places: int = 0
) -> np.ndarray:
    """Run the graphs on the frame of the verification; float32 where `flush` is None."""
    image = verification_frame(size)
    # Mean and deviation of ImageNet, as all networks here have them.
    planes, low_res = Preprocessor(load_bundle('hlrc_s_aerial')).whole(image)
    found = {'image': planes.copy(), 'low_res': low_res.copy()}
    for name in GRAPHS:
        model = fixed(paths[name], size, places)
        feeds = {each: found.pop(each) for each in shapes_of(paths[name], size)}
        if flush is None:
            found |= run_graph(model, feeds)
        else:
            found |= run_half(to_half(model), feeds, flush=flush)
    return found['quarter_logits'][0]


def mask_of(logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Enlarge logits and take the arg max."""
    mask, best = np.zeros(size, np.uint8), np.full(size, -np.inf, np.float32)
    for index, plane in enumerate(logits):
        enlarged = cv2.resize(plane, size[::-1])
        mask[enlarged > best] = index
        np.maximum(best, enlarged, out=best)
    return mask


@pytest.mark.slow
@pytest.mark.parametrize('flush', [False, True])
@pytest.mark.parametrize('name', SIZES)
def test_shipped_model_on_whole_frames(name: str, flush: bool) -> None:
    """Slow: whole frames of up to 33 megapixels on the CPU, 10 GB and minutes for the largest."""
    paths = {name: graph.path for name, graph in load_bundle('hlrc_s_aerial').graphs.items()}
    size = SIZES[name]
    expected = mask_of(logits_of(paths, size), size)
    found = mask_of(logits_of(paths, size, flush=flush), size)
    agreement = (found == expected).mean()
    print(f'\nhlrc_s_aerial {name} flush={flush}: {agreement:.4%}')  # noqa: T201 - for the docs
    assert agreement > AGREEMENT['fp16']


@pytest.fixture(scope='module', params=PUBLISHED)
def published(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, dict[str, Path], np.ndarray]:
    """Export a published network with random weights; its graphs, and its logits in float32."""
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
    paths = {name: folder / f'{name}.onnx' for name in GRAPHS}
    return request.param, paths, logits_of(paths, SMALL)


@pytest.mark.slow
@pytest.mark.parametrize('flush', [False, True])
@pytest.mark.parametrize('name', SIZES)
def test_published_networks(
    published: tuple[str, dict[str, Path], np.ndarray], name: str, flush: bool
) -> None:
    """Slow: networks of 66 million parameters; on a small frame with the divisors of large ones."""
    preset, paths, expected = published
    height, width = SIZES[name]
    found = logits_of(paths, SMALL, flush=flush, places=(height // 16) * (width // 16))
    # As if training had balanced the classes, since one of random weights wins everywhere.
    usual = expected.mean((1, 2), keepdims=True)
    masks = [mask_of(logits - usual, SMALL) for logits in (expected, found)]
    agreement = (masks[0] == masks[1]).mean()
    error = np.abs(found - expected).max() / np.abs(expected).max()
    print(f'\n{preset} {name} flush={flush}: {agreement:.4%}, error {error:.1e}')  # noqa: T201
    assert error < ERROR
