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

"""The blocks of FCtL against slow readings of their equations, place by place."""

from __future__ import annotations

from collections.abc import Sequence
import math

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='the networks need torch')

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.networks.fctl.local_enhancement import (
    AlternatingLocalEnhancement,
    crop,
    local_enhancement,
    LocalFeatureInteraction,
    ROUNDS,
)
from uhr_seg_ros.networks.fctl.locality_aware import (
    FUSIONS,
    LocalityAwareCorrelation,
    LocalityAwareFusion,
    MultiContextFusion,
    relative_positions,
)
from uhr_seg_ros.networks.presets import build_network

CHANNELS = 8
Place = tuple[int, int]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def random_map(height: int = 4, width: int = 5, channels: int = CHANNELS) -> torch.Tensor:
    return torch.randn(2, channels, height, width)


def softmax(values: Sequence[float]) -> list[float]:
    powers = [math.exp(value) for value in values]
    return [power / sum(powers) for power in powers]


def places(height: int, width: int) -> list[Place]:
    return [(row, column) for row in range(height) for column in range(width)]


def at(values: torch.Tensor, place: Place) -> np.ndarray:
    """Channels of the first sample at a place."""
    return values[0, :, place[0], place[1]].detach().double().numpy()


@pytest.mark.parametrize('spacing', [1.0, 2.0])
@torch.no_grad()
def test_equation_2(spacing: float) -> None:
    patch, context = random_map(), random_map(3, 4)
    block = LocalityAwareCorrelation(CHANNELS, spacing)
    block.gate.fill_(0.3)
    block.position.weight.copy_(torch.tensor([[0.2, -0.1, -0.4]]))
    queries, keys, values = block.query(patch), block.key(context), block.value(context)
    found = block(patch, context)
    share = 1 / (1 + math.exp(-0.3))
    for here in places(4, 5):
        content, position = [], []
        for there in places(3, 4):
            content.append(float(at(queries, here) @ at(keys, there)))
            row = spacing * (there[0] - 1.0) - (here[0] - 1.5)
            column = spacing * (there[1] - 1.5) - (here[1] - 2.0)
            position.append(0.2 * row - 0.1 * column - 0.4 * (row**2 + column**2))
        both = zip(softmax(content), softmax(position), strict=True)
        weights = [share * a + (1 - share) * b for a, b in both]
        assert sum(weights) == pytest.approx(1)  # the norm of the equation
        expected = sum(
            weight * at(values, there) for weight, there in zip(weights, places(3, 4), strict=True)
        )
        np.testing.assert_allclose(at(found, here), expected, atol=1e-5)


@torch.no_grad()
def test_equation_1_has_no_positions() -> None:
    """Without positions it does not matter where in a context something is."""
    patch, context = random_map(), random_map()
    mixed = context.flatten(2)[..., torch.randperm(20)].reshape(context.shape)
    plain = LocalityAwareCorrelation(CHANNELS, 1.0, positions=False)
    assert torch.allclose(plain(patch, context), plain(patch, mixed), atol=1e-6)
    placed = LocalityAwareCorrelation(CHANNELS, 1.0)
    assert not torch.allclose(placed(patch, context), placed(patch, mixed), atol=1e-3)


def test_positions_look_at_what_is_near_before_training() -> None:
    block = LocalityAwareCorrelation(CHANNELS, 1.0)
    relative = relative_positions((5, 5), (5, 5), 1.0)
    near = block.position(relative).squeeze(2).argmax(1)
    assert torch.equal(near, torch.arange(25))


def test_one_context_for_all_patches() -> None:
    patch, context = random_map(), random_map()[:1]
    block = LocalityAwareCorrelation(CHANNELS, 1.0)
    expected = block(patch, context.expand(2, -1, -1, -1))
    assert torch.allclose(block(patch, context), expected, atol=1e-6)


@torch.no_grad()
def test_equations_3_and_4() -> None:
    features = [random_map() for _ in range(3)]
    block = MultiContextFusion(CHANNELS, 3)
    found, weights = block(features), block.weights(features)
    squeeze, _, split = block.estimate
    first = squeeze.weight[:, :, 0, 0].double().numpy(), squeeze.bias.double().numpy()
    second = split.weight[:, :, 0, 0].double().numpy(), split.bias.double().numpy()
    for place in places(4, 5):
        joined = np.concatenate([at(feature, place) for feature in features])
        squeezed = np.maximum(first[0] @ joined + first[1], 0)
        estimated = (second[0] @ squeezed + second[1]).reshape(3, CHANNELS)
        expected = np.exp(estimated) / np.exp(estimated).sum(0)
        for index in range(3):
            np.testing.assert_allclose(at(weights[index], place), expected[index], atol=1e-6)
        total = sum(expected[index] * at(features[index], place) for index in range(3))
        np.testing.assert_allclose(at(found, place), total, atol=1e-5)
    assert torch.allclose(weights.sum(0), torch.ones_like(found), atol=1e-6)


@torch.no_grad()
def test_other_fusions() -> None:
    features = [random_map() for _ in range(3)]
    mean = torch.stack(features).mean(0)
    assert torch.allclose(MultiContextFusion(CHANNELS, 3, 'average')(features), mean)
    weighted = MultiContextFusion(CHANNELS, 3, 'weighted')
    weighted.to(memory_format=torch.channels_last)  # as training does
    assert torch.allclose(weighted(features), mean, atol=1e-6)  # before training
    weighted.constant[1] += 100.0
    assert torch.allclose(weighted(features), features[1], atol=1e-5)
    with pytest.raises(ValueError, match=rf"'sum' is unknown, known: {', '.join(FUSIONS)}"):
        MultiContextFusion(CHANNELS, 3, 'sum')


def test_equation_5_takes_the_sources_that_it_is_given() -> None:
    patch, context = random_map(), random_map()
    block = LocalityAwareFusion(CHANNELS, {'local': 1.0, 'large': 3.0})
    found = block(patch, {'medium': torch.full_like(context, torch.nan), 'large': context})
    assert found.shape == patch.shape and found.isfinite().all()


@torch.no_grad()
def test_equations_6_and_7() -> None:
    target, *references = (random_map() for _ in range(3))
    windows = (1, 3)
    block = LocalFeatureInteraction(CHANNELS, 2, windows)
    found = block(target, references)
    tokens = torch.cat([c(x) for c, x in zip(block.references, references, strict=True)], 1)
    tokenised = block.target(target)
    half = CHANNELS // 2
    for row, column in places(4, 5):
        attention = np.zeros(CHANNELS)
        for channel in range(CHANNELS):
            group, inner = divmod(channel, half)
            side, conv = windows[group], block.groups[group]
            total = float(conv.bias[inner])
            for i in range(side):
                for j in range(side):
                    y, x = row + i - side // 2, column + j - side // 2
                    if 0 <= y < 4 and 0 <= x < 5:
                        weight = float(conv.weight[inner, 0, i, j])
                        total += weight * float(tokens[0, channel, y, x])
            attention[channel] = total
        own = at(tokenised, (row, column))
        np.testing.assert_allclose(at(found, (row, column)), own + attention * own, atol=1e-5)


def test_channels_that_do_not_divide() -> None:
    with pytest.raises(ValueError, match='10 channels do not divide into 4 windows and 2'):
        LocalFeatureInteraction(10, 2)


@torch.no_grad()
def test_algorithm_1() -> None:
    patch, medium, large = (random_map() for _ in range(3))
    block = AlternatingLocalEnhancement(CHANNELS, ['medium', 'large'])
    (first,) = block.rounds
    found = block(patch, {'medium': medium, 'large': large})
    line_1 = first['local'](patch, [medium, large])
    line_2 = first['medium'](medium, [patch, large])
    line_3 = first['large'](large, [patch, medium])
    assert torch.equal(found, block.last(line_1, [line_2, line_3]))


@pytest.mark.parametrize(
    ('structure', 'blocks'), [('a', 1), ('b', 3), ('c', 1), ('d', 4), ('e', 7)]
)
@torch.no_grad()
def test_structures_of_figure_13(structure: str, blocks: int) -> None:
    patch, medium, large = (random_map() for _ in range(3))
    block = AlternatingLocalEnhancement(CHANNELS, ['medium', 'large'], structure)
    count = sum(isinstance(each, LocalFeatureInteraction) for each in block.modules())
    assert count == blocks
    found = block(patch, {'medium': medium, 'large': large})
    other = block(patch, {'medium': medium, 'large': large + 1})
    assert torch.equal(found, other) == (structure in 'ab')  # one reference: the first


@pytest.mark.parametrize('structure', ['a', 'b'])
@torch.no_grad()
def test_the_one_reference_may_be_the_large_context(structure: str) -> None:
    patch, medium, large = (random_map() for _ in range(3))
    block = local_enhancement(CHANNELS, ['medium', 'large'], structure, 'large')
    found = block(patch, {'medium': medium, 'large': large})
    assert torch.equal(found, block(patch, {'medium': medium + 1, 'large': large}))
    assert not torch.equal(found, block(patch, {'medium': medium, 'large': large + 1}))


@torch.no_grad()
def test_concatenation_in_place_of_ale() -> None:
    patch, medium, large = (random_map() for _ in range(3))
    block = local_enhancement(CHANNELS, ['medium', 'large'], 'concat')
    found = block(patch, {'large': large, 'medium': medium})
    place = (2, 3)
    joined = np.concatenate([at(each, place) for each in (patch, medium, large)])
    weight = block.mix.weight[:, :, 0, 0].double().numpy()
    expected = weight @ joined + block.mix.bias.double().numpy()
    np.testing.assert_allclose(at(found, place), expected, atol=1e-5)


@pytest.mark.parametrize(
    ('structure', 'reference'), [('d', 'large'), ('a', 'small'), ('concat', 'large')]
)
def test_a_reference_that_has_no_use(structure: str, reference: str) -> None:
    with pytest.raises(ValueError, match=f"reference '{reference}' with structure '{structure}'"):
        local_enhancement(CHANNELS, ['medium', 'large'], structure, reference)


def test_a_local_context_wider_than_the_patch() -> None:
    """Of table 5: it has an encoder of its own, and ALE leaves it alone."""
    with torch.device('meta'):
        network = build_network('fctl_s', 5, side=64, local=1.5)
    assert list(network.contexts) == ['local', 'medium', 'large']
    assert network.lcf.correlate['local'].spacing == 1.5
    assert set(network.extractors) == {'local', 'medium', 'large'}
    assert network.ale.contexts == ('medium', 'large')
    with pytest.raises(ConfigError, match='context local is used neither by'):
        build_network('fctl_s', 5, side=64, local=1.5, sources=['medium', 'large'])


def test_unknown_structure() -> None:
    with pytest.raises(ValueError, match=f"'f' is unknown, known: {', '.join(ROUNDS)}"):
        AlternatingLocalEnhancement(CHANNELS, ['medium'], 'f')


@torch.no_grad()
def test_crop() -> None:
    """The crop of a map is what it shows there, enlarged bilinearly."""
    context = random_map(6, 9)
    place = torch.tensor([[1 / 3, 1 / 3, 1 / 3, 1 / 3]])
    found = crop(context, place, (6, 9))
    for row, column in places(6, 9):
        y = 2 + (row + 0.5) / 3 - 0.5
        x = 3 + (column + 0.5) / 3 - 0.5
        top, left = math.floor(y), math.floor(x)
        down, right = y - top, x - left
        expected = (
            (1 - down) * (1 - right) * at(context, (top, left))
            + (1 - down) * right * at(context, (top, left + 1))
            + down * (1 - right) * at(context, (top + 1, left))
            + down * right * at(context, (top + 1, left + 1))
        )
        np.testing.assert_allclose(at(found, (row, column)), expected, atol=1e-5)


@torch.no_grad()
def test_crop_beyond_a_map_continues_its_border() -> None:
    context = random_map(4, 4)
    found = crop(context, torch.tensor([[0.75, 0.0, 0.5, 0.25]]), (2, 1))
    assert torch.allclose(found[:, :, 1, 0], context[:, :, 3, 0])
    two = crop(context[:1], torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.5, 0.5, 0.5, 0.5]]), (4, 4))
    assert two.shape == (2, CHANNELS, 4, 4)
    assert torch.allclose(two[0], context[0])


@pytest.mark.parametrize(
    ('options', 'text'),
    [
        ({'structure': 'z'}, "structure 'z' is unknown"),
        ({'sources': ['local', 'medium'], 'structure': ''}, 'set large to null'),
        ({'fusion': 'z'}, "fusion 'z' is unknown"),
        ({'backbone': 'z'}, "backbone 'z' is unknown, known: vgg16, mit_b2, mit_b5"),
        ({'medium': 0.5}, 'a context of factor 0.5'),
    ],
)
def test_options_that_cannot_be_built(options: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        build_network('fctl', **options)
