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

"""The published initial weights, layer by layer."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip('torch', reason='the networks need torch')

from uhr_seg_ros.networks.backbones.layers import ConvNorm
from uhr_seg_ros.networks.hlrc.init import init_published
from uhr_seg_ros.networks.hlrc.network import HLRC
from uhr_seg_ros.networks.presets import build_network, NETWORKS


@pytest.fixture(scope='module')
def network() -> HLRC:
    torch.manual_seed(0)
    network = build_network('hlrc_cityscapes')
    init_published(network)
    return network


def is_normal(weight: torch.Tensor, std: float) -> None:
    """Check mean, spread and tails within what so many samples can differ."""
    values = weight.detach().flatten().double()
    count = len(values)
    assert abs(values.mean()) < 5 * std / math.sqrt(count)
    assert values.std() == pytest.approx(std, rel=5 / math.sqrt(2 * count))
    within = (values.abs() < std).double().mean()
    assert within == pytest.approx(0.6827, abs=5 * 0.47 / math.sqrt(count))
    assert values.abs().max() > 2 * std or count < 100


def published_kaiming(network: HLRC) -> dict[str, torch.nn.Conv2d]:
    """Convolutions of the published ConvModules, by our names."""
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.Conv2d)
        and (
            name.startswith(('semantic.decoder.', 'auxiliary.conv.', 'region.affinity_head.'))
            or name.startswith(('reconstruction.ups.', 'reconstruction.fuse.'))
        )
    }


def test_conv_modules_are_kaiming_normal_by_fan_out(network: HLRC) -> None:
    found = published_kaiming(network)
    assert len(found) == 4 + 1 + 3 + 3 + 1 + 1 + 3 + 3 + 1
    for conv in found.values():
        fan_out = conv.out_channels * math.prod(conv.kernel_size)
        is_normal(conv.weight, math.sqrt(2 / fan_out))
        assert conv.bias is None or not conv.bias.any()


def test_their_batch_norms_are_one_and_zero(network: HLRC) -> None:
    for module in network.modules():
        if isinstance(module, ConvNorm) and module is not network.decoder.fuse:
            norm = module.norm
            if isinstance(norm, torch.nn.BatchNorm2d):
                assert (norm.weight == 1).all()
                assert not norm.bias.any()


@pytest.mark.parametrize('room', ['semantic', 'auxiliary'])
def test_classifiers(network: HLRC, room: str) -> None:
    classify = getattr(network, room).classify
    is_normal(classify.weight, 0.01)
    assert not classify.bias.any()


def test_everything_in_the_last_classifier(network: HLRC) -> None:
    decoder = network.decoder
    for layer in (decoder.fuse.conv, decoder.fuse.norm, decoder.classify):
        is_normal(layer.weight, 0.01)
    assert not decoder.fuse.norm.bias.any()
    assert not decoder.classify.bias.any()
    assert decoder.fuse.norm.weight.min() < 0  # around zero, not around one


def test_gate_and_experts_are_truncated_normal(network: HLRC) -> None:
    experts = network.region.experts
    for weight in (experts.gate.weight, experts.first, experts.second, experts.last):
        is_normal(weight, 0.02)


def test_position_biases_are_zero(network: HLRC) -> None:
    tables = [p for name, p in network.named_parameters() if name.endswith('position_bias')]
    assert len(tables) == 12
    assert not any(table.any() for table in tables)


@pytest.mark.parametrize(
    'name',
    [
        'local.compression',
        'local.felc_8.fc1',
        'local.felc_16.fields.2',
        'reconstruction.out',
        'reconstruction.reduce.conv',
    ],
)
def test_the_others_are_as_pytorch_makes_them(network: HLRC, name: str) -> None:
    conv = network.get_submodule(name)
    limit = 1 / math.sqrt(conv.weight[0].numel())  # uniform, by fan in
    values = conv.weight.detach().flatten()
    assert values.abs().max() <= limit
    assert values.std() == pytest.approx(limit / math.sqrt(3), rel=5 / math.sqrt(len(values)))
    if conv.bias is not None:
        assert conv.bias.any()
        assert conv.bias.abs().max() <= limit


def test_the_same_seed_gives_the_same_weights(network: HLRC) -> None:
    torch.manual_seed(0)
    again = build_network('hlrc_cityscapes')
    init_published(again)
    assert torch.equal(again.decoder.fuse.conv.weight, network.decoder.fuse.conv.weight)


@pytest.mark.parametrize('name', [name for name, each in NETWORKS.items() if each.init])
def test_every_published_network_takes_them(name: str) -> None:
    network = build_network(name)
    init_published(network)
    is_normal(network.decoder.fuse.norm.weight, 0.01)
