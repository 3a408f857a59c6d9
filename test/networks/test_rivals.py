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

"""Networks to compare with: sizes of their papers, training, graphs."""

from __future__ import annotations

from pathlib import Path
import re
import sys

import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip('torch', reason='the networks need torch')

from tiny import config_with
from torch import nn

from uhr_seg_ros.core.errors import CheckpointError, ConfigError
from uhr_seg_ros.export.export import write_graphs
from uhr_seg_ros.export.pretrained import load_pretrained
from uhr_seg_ros.networks.backbones import mit
from uhr_seg_ros.networks.backbones.layers import ConvNorm
from uhr_seg_ros.networks.backbones.stdc import authors_name, STDC1
from uhr_seg_ros.networks.baselines.pidnet import PIDNet
from uhr_seg_ros.networks.baselines.pp_liteseg import AttentionFusion
from uhr_seg_ros.networks.baselines.single import SingleNetwork
from uhr_seg_ros.networks.cost import multiply_adds, parameters, shapes_only
from uhr_seg_ros.networks.presets import build_network
from uhr_seg_ros.training.train_step import Objective

#: Heads that only training has.
HEADS = re.compile('(details|boundary|training)_head')
#: Stride of the logits, and of the sizes.
OTHERS = {'unet': (1, 32), 'deeplabv3plus': (4, 32)}


class Classifier(nn.Module):
    """STDC1 as it is pretrained: two layers, a mean and two products behind the last map."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.last = STDC1(), ConvNorm(1024, 1024)
        self.wide = nn.Sequential(nn.Linear(1024, 1024, bias=False), nn.BatchNorm1d(1024))
        self.classify = nn.Linear(1024, 1000, bias=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.classify(self.wide(self.last(self.body(image)[-1]).mean((2, 3))))


def test_sizes_are_those_of_the_papers() -> None:
    with shapes_only():
        pidnet, stdc = PIDNet(19), Classifier()
    weights = {name: each.numel() for name, each in pidnet.named_parameters()}
    heads = sum(weights[name] for name in weights if HEADS.match(name))
    assert round((sum(weights.values()) - heads) / 1e6, 1) == 7.6
    assert round(sum(each.numel() for each in stdc.parameters()) / 1e6, 2) == 8.44


@pytest.mark.slow
def test_multiply_adds_are_those_of_the_papers() -> None:
    """Slow: torch takes seconds to count operations on shapes."""
    with shapes_only():
        pidnet, stdc = SingleNetwork(PIDNet(19), 19, factor=1, stride=64), Classifier()
    # Heads for training aside.
    assert round(parameters(pidnet) / 1e6, 1) == 7.6
    # The papers count batch norms, too.
    assert multiply_adds(pidnet, 1024, 2048) / 1e9 == pytest.approx(47.6, rel=0.01)
    assert multiply_adds(stdc, 224, 224) / 1e6 == pytest.approx(813, rel=0.01)


def make(name: str) -> SingleNetwork:
    torch.manual_seed(0)
    return build_network(name, 5)


def trained_once(network: SingleNetwork) -> tuple[dict[str, float], float]:
    """Return the losses of a batch before one step down their gradient, and their sum after."""
    objective = Objective(network.train(), config_with().training)
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(2, 3, 128, 128, generator=generator)
    labels = (image[:, 0] > 0).long() + (image[:, 1] > 1)
    torch.manual_seed(0)  # of dropout
    before = objective(image, labels)
    sum(before.values()).backward()
    with torch.no_grad():
        for weight in network.parameters():
            assert weight.grad is not None
            weight -= 1e-4 * weight.grad
    torch.manual_seed(0)
    after = sum(objective(image, labels).values())
    return {name: value.item() for name, value in before.items()}, after.item()


@pytest.mark.parametrize(
    ('name', 'further'),
    [('pidnet_s', {'boundary', 'auxiliary'}), ('pp_liteseg', {'decode', 'auxiliary'})],
)
def test_a_step_of_training(name: str, further: set[str]) -> None:
    terms, after = trained_once(make(name))
    # Untrained, no boundary is sure: what PIDNet loses on those is zero.
    assert {'refine', *further} == {each for each, value in terms.items() if value > 0}
    assert after < sum(terms.values())


@pytest.mark.parametrize('name', ['pp_liteseg', pytest.param('pidnet_s', marks=pytest.mark.slow)])
def test_graphs_hold_no_head_for_training(name: str, tmp_path: Path) -> None:
    """PIDNet is slow: its export takes seconds."""
    network = make(name).eval()
    write_graphs(network, tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / 'network.onnx')
    image = torch.randn(1, 3, 2 * network.stride, 3 * network.stride)
    with torch.no_grad():
        expected = network.body(image).numpy()
    (found,) = session.run(None, {'image': image.numpy()})
    assert found.shape == (1, 5, image.shape[2] // 8, image.shape[3] // 8)
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
    # Weights of four bytes, and little else.
    heads = [each for part, each in network.body.named_parameters() if HEADS.match(part)]
    kept = sum(each.numel() for each in network.parameters()) - sum(map(torch.numel, heads))
    assert heads
    assert (tmp_path / 'network.onnx').stat().st_size == pytest.approx(4 * kept, rel=0.02)


class _Weight(nn.Module):
    """In the place of the attention: so many times the means of the coarse map."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        return self.factor * seen[:, :1]


def test_attention_weighs_both_maps() -> None:
    fuse = AttentionFusion(4, 4, 4).eval()
    fuse.low, fuse.out = nn.Identity(), nn.Identity()
    low, high = torch.zeros(1, 4, 4, 4), torch.ones(1, 4, 2, 2)
    for factor, expected in ((0, 0.5), (100, 1.0), (-100, 0.0)):
        fuse.attention = _Weight(factor)
        assert torch.allclose(fuse(low, high), torch.full((1, 4, 4, 4), expected))


def drawn(value: torch.Tensor) -> torch.Tensor:
    """Return other values of the same kind; counters stay."""
    return torch.rand_like(value) if value.dtype.is_floating_point else value


def test_start_of_pp_liteseg(tmp_path: Path) -> None:
    """The names of the authors' file, with what a classifier has on top of it."""
    with torch.no_grad():
        donor = {name: drawn(value) for name, value in STDC1().state_dict().items()}
    tensors = {authors_name(name): value for name, value in donor.items()}
    assert {
        'features.1.bn.running_var',
        'features.2.conv_list.0.conv.weight',
        'features.4.avd_layer.0.weight',
        'features.6.avd_layer.1.bias',
        'features.7.conv_list.3.bn.weight',
    } <= set(tensors)
    path = tmp_path / 'stdc.tar'
    others = {name: torch.ones(2) for name in ('conv_last.conv.weight', 'fc.weight', 'bn.bias')}
    torch.save({'state_dict': tensors | others}, path)
    network = build_network('pp_liteseg')
    load_pretrained(network, 'encoder', path)
    own = network.body.encoder.state_dict()
    assert all(torch.equal(own[name], donor[name]) for name in donor)
    with pytest.raises(CheckpointError, match='STDC1, but the semantic part'):
        load_pretrained(build_network('semantic_s'), 'semantic', path)


@pytest.mark.parametrize('name', OTHERS)
def test_networks_of_others(name: str, tmp_path: Path) -> None:
    pytest.importorskip('segmentation_models_pytorch', reason='U-Net and DeepLabV3+ are there')
    torch.manual_seed(0)
    network = build_network(name, 5)
    logits_stride, stride = OTHERS[name]
    assert network.stride == stride
    terms, after = trained_once(network)
    assert set(terms) == {'refine'} and after < terms['refine']
    write_graphs(network.eval(), tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / 'network.onnx')
    image = torch.randn(1, 3, 96, 160)
    with torch.no_grad():
        expected = network.body(image).numpy()
    (found,) = session.run(None, {'image': image.numpy()})
    assert found.shape == (1, 5, 96 // logits_stride, 160 // logits_stride)
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
    with pytest.raises(ConfigError, match="encoder 'resnet17' is none"):
        build_network(name, 5, encoder='resnet17')


def test_start_of_networks_of_others(tmp_path: Path) -> None:
    """U-Net starts from the file that the semantic branch of hlrc_s starts from."""
    pytest.importorskip('segmentation_models_pytorch', reason='U-Net is there')
    from uhr_seg_ros.networks.backbones.efficientnet_lite import published_name, timm_name

    unet, ours = build_network('unet', 5), build_network('semantic_s', 5)
    encoder = unet.body.network.encoder
    torch.manual_seed(0)
    tensors = {timm_name(name): drawn(value) for name, value in encoder.state_dict().items()}
    assert {'_blocks.0._project_conv.weight', '_blocks.15._bn2.running_mean'} <= set(tensors)
    path = tmp_path / 'efficientnet.pth'
    torch.save(tensors | {'_fc.weight': torch.ones(2)}, path)
    load_pretrained(unet, 'encoder', path)
    load_pretrained(ours, 'semantic', path)
    theirs = {timm_name(name): value for name, value in encoder.state_dict().items()}
    own = ours.body.branch.backbone.state_dict()
    assert all(torch.equal(value, theirs[published_name(name)]) for name, value in own.items())
    resnet = build_network('unet', 5, encoder='resnet18')
    own = resnet.body.network.encoder.state_dict()
    tensors = {name: drawn(value) for name, value in own.items()}
    torch.save(tensors | {'fc.weight': torch.ones(2)}, path)
    load_pretrained(resnet, 'encoder', path)
    assert torch.equal(resnet.body.network.encoder.conv1.weight, tensors['conv1.weight'])
    with pytest.raises(CheckpointError, match='ResNet of torchvision, but the encoder part'):
        load_pretrained(unet, 'encoder', path)


@pytest.mark.slow
def test_start_of_segformer(tmp_path: Path) -> None:
    """Slow: to import transformers takes seconds."""
    pytest.importorskip('transformers', reason='SegFormer needs it')
    network = build_network('segformer_b0', 5)
    encoder = network.body.network.segformer.encoder
    torch.manual_seed(0)
    given = {name: drawn(value) for name, value in encoder.state_dict().items()}
    authors: dict[str, torch.Tensor] = {}
    for name, value in given.items():  # keys come before values, and are one layer with them
        theirs = mit.authors_name(name)
        authors[theirs] = torch.cat([authors[theirs], value]) if theirs in authors else value
    for tensors in (
        {f'segformer.encoder.{name}': value for name, value in given.items()},
        authors,
    ):
        path = tmp_path / 'mit_b0.pth'
        torch.save(tensors, path)
        fresh = build_network('segformer_b0', 5)
        load_pretrained(fresh, 'encoder', path)
        found = fresh.body.network.segformer.encoder.state_dict()
        assert all(torch.equal(found[name], given[name]) for name in given)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'segmentation_models_pytorch', None)
    with pytest.raises(ConfigError, match='pip install segmentation-models-pytorch'):
        build_network('unet', 5)
