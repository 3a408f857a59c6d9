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

"""Bundles of learned and of uniform downsampling: what they compute is what torch computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

torch = pytest.importorskip('torch', reason='the bundle is exported')

from networks_seen import see
from torch import nn

from uhr_seg_ros.core.bundle import Bundle, IMAGENET_MEAN
from uhr_seg_ros.core.classes import CLASS_SETS
from uhr_seg_ros.core.errors import BundleError
from uhr_seg_ros.export import deformed
from uhr_seg_ros.export.export import export_bundle
from uhr_seg_ros.networks.backbones.normalization import normalized
from uhr_seg_ros.networks.deformation.inverse import inverse_grid
from uhr_seg_ros.networks.deformation.network import (
    DEEPGLOBE_STATISTICS,
    DeformedNetwork,
)
from uhr_seg_ros.networks.presets import build_network, SegmentationNetwork
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.synthetic.scenes import generate_scene

CLASSES = CLASS_SETS['aerial']
SMALL = {'warped_size': [64, 96], 'size': [16, 24], 'radius': 3}


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def exported(network: SegmentationNetwork, folder: Path) -> Bundle:
    return export_bundle(network, folder, name='d', preset='deform_s', classes=CLASSES)


def seen_something(network: nn.Module) -> SegmentationNetwork:
    # The deepest maps of what is inside have a pixel or two: of fewer images norms would learn
    # variances near zero, and logits of millions have no probabilities to compare.
    return see(network, torch.randn(16, 3, 128, 192))


@pytest.mark.parametrize(
    ('sampling', 'inner'),
    [
        ('learned', 'semantic_s'),
        ('learned', 'fast_scnn'),
        pytest.param('learned', 'hlrc_s', marks=pytest.mark.slow),
        ('uniform', 'semantic_s'),
        pytest.param('uniform', 'fast_scnn', marks=pytest.mark.slow),
        pytest.param('uniform', 'hlrc_s', marks=pytest.mark.slow),
    ],
)
def test_any_network_inside(inner: str, sampling: str, tmp_path: Path) -> None:
    network = build_network('deform_s', 5, inner=inner, sampling=sampling, **SMALL)
    bundle = exported(seen_something(network), tmp_path)
    assert bundle.kind.name == {'learned': 'deformed', 'uniform': 'uniform'}[sampling]
    assert bundle.detail_bytes_per_pixel is None
    image = generate_scene(0, 90, 121)[0]
    with torch.no_grad():
        expected = network(normalized(image[None]))[0].numpy()
    with Segmenter(bundle, 'onnxruntime') as segmenter:
        found = segmenter(image, logits=True, confidence=True)
    assert (found.mask == expected.argmax(0)).mean() > (0.9 if sampling == 'learned' else 0.999)
    assert found.logits.shape == expected.shape
    assert found.confidence.shape == found.mask.shape
    np.testing.assert_array_equal(found.logits.argmax(0), found.mask)


@torch.no_grad()
def test_pixels_that_are_sampled_at_have_the_logits_of_torch(tmp_path: Path) -> None:
    network = seen_something(build_network('deform_s', 5, **SMALL))
    image = generate_scene(1, 180, 250)[0]
    planes = normalized(image[None])
    expected = network(planes)[0].numpy()
    hit = ~inverse_grid(network.look(planes)[1], (180, 250))[0].isnan().any(2).numpy()
    with Segmenter(exported(network, tmp_path), 'onnxruntime') as segmenter:
        found = segmenter(image, logits=True)
    close = np.abs(found.logits - expected).max(0) <= 1e-3 * np.abs(expected).max()
    assert close[hit].mean() > 0.999  # a point at the border of two pixels may be on either


def test_statistics_of_its_own(tmp_path: Path) -> None:
    inner = build_network('deform_s', 5, **SMALL).inner
    network = DeformedNetwork(
        inner, size=(16, 24), warped_size=(64, 96), radius=3, statistics=DEEPGLOBE_STATISTICS
    )
    bundle = exported(seen_something(network), tmp_path)
    assert bundle.mean == pytest.approx([255 * value for value in DEEPGLOBE_STATISTICS[0]])
    assert bundle.mean != IMAGENET_MEAN


def test_graphs(tmp_path: Path) -> None:
    bundle = exported(build_network('deform_s', 5, **SMALL).eval(), tmp_path)
    assert set(bundle.graphs) == {'saliency', 'segment'}
    for graph in bundle.graphs.values():
        model = onnx.load(graph.path)
        assert model.opset_import[0].version == 17


def test_graphs_that_disagree_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deformed, 'GRID_TOLERANCE', -1.0)
    with pytest.raises(BundleError, match='disagrees with torch at 144x131: grid error'):
        exported(build_network('deform_s', 5, **SMALL).eval(), tmp_path)
