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

"""Networks of one branch: exported, run whole and in tiles."""

from __future__ import annotations

from pathlib import Path

from built_once import built_once
import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='the networks need torch')

from uhr_seg_ros.core.bundle import Bundle, load_bundle
from uhr_seg_ros.core.classes import CLASS_SETS
from uhr_seg_ros.core.errors import BundleError, ConfigError
from uhr_seg_ros.export.export import export_bundle
from uhr_seg_ros.networks.backbones.normalization import normalized
from uhr_seg_ros.networks.baselines.single import SingleNetwork
from uhr_seg_ros.networks.presets import build_network, NETWORKS
from uhr_seg_ros.pipelines.pipeline import TilingOptions
from uhr_seg_ros.pipelines.segmenter import Segmenter

SINGLE = ('semantic_s', 'fast_scnn', 'segformer_b0_low')


def make(name: str) -> SingleNetwork:
    if name.startswith('segformer'):
        pytest.importorskip('transformers', reason='SegFormer needs transformers')
    torch.manual_seed(0)
    network = build_network(name).eval()
    with torch.no_grad():  # a norm that has seen something, logits that differ
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return network


def export(network: SingleNetwork, name: str, folder: Path) -> Bundle:
    return export_bundle(network, folder, name=name, preset=name, classes=CLASS_SETS['aerial'])


def exported(name: str, factory: pytest.TempPathFactory) -> Bundle:
    """Return the bundle of `make`, which tests must not write into."""
    folder = built_once(factory, name, lambda folder: export(make(name), name, folder))
    return load_bundle(folder)


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)


@pytest.mark.parametrize('name', [*SINGLE[:2], pytest.param(SINGLE[2], marks=pytest.mark.slow)])
def test_bundle_gives_what_the_network_gives(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    network, bundle = make(name), exported(name, tmp_path_factory)
    assert bundle.kind.name == 'single' and bundle.low_res_factor == network.low_res_factor
    image = picture(2 * network.stride, 3 * network.stride)
    with torch.no_grad():
        expected = network(normalized(image[None]))[0].numpy()
    with Segmenter(bundle) as segmenter:
        assert 'tensorrt' in segmenter.fallback
        found = segmenter(image, logits=True, confidence=True)
    assert np.abs(found.logits - expected).max() <= 1e-3 * np.abs(expected).max()
    assert (found.mask == expected.argmax(0)).mean() > 0.999
    share = torch.from_numpy(expected).softmax(0).amax(0).numpy()
    assert np.abs(found.confidence - 255 * share).max() <= 1.5
    assert set(found.stage_times) == {'convert', 'preprocess', 'network', 'enlarge'}


def test_tiles_meet_without_a_seam(tmp_path: Path) -> None:
    class Local(torch.nn.Module):
        """Without context, tiles are exact but where the enlarging meets a border."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 5, 8, 8)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.conv(image)

    bundle = export(SingleNetwork(Local(), 5, factor=1, stride=32), 'local', tmp_path)
    image = picture(500, 700)
    with Segmenter(bundle) as whole, Segmenter(bundle, tiling=TilingOptions(tile=256)) as tiled:
        expected, found = whole(image, logits=True), tiled(image, logits=True)
    assert np.abs(found.logits - expected.logits).max() < 1e-4
    assert found.mask.shape == (500, 700)


def test_there_is_no_semantic_branch(tmp_path_factory: pytest.TempPathFactory) -> None:
    bundle = exported('fast_scnn', tmp_path_factory)
    with Segmenter(bundle) as segmenter, pytest.raises(BundleError, match='one branch'):
        segmenter.semantic_only(picture(64, 64))


def test_unknown_option() -> None:
    with pytest.raises(ConfigError, match='fast_scnn has no option experts: none'):
        build_network('fast_scnn', experts=3)
    assert 'hlrc_s' in NETWORKS


def test_option_that_cannot_be_built() -> None:
    with pytest.raises(ConfigError, match=r"hlrc_s cannot be built with .*'mixing': 4.* 8 px"):
        build_network('hlrc_s', mixing=4)
    build_network('hlrc_s', mixing=3)
