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

"""EfficientNet-Lite0 against a direct reading of its published form."""

from __future__ import annotations

import pytest

torch = pytest.importorskip('torch', reason='the networks need torch')

from torch.nn import functional

from uhr_seg_ros.core.bundle import IMAGENET_MEAN, IMAGENET_STD
from uhr_seg_ros.networks.backbones.efficientnet_lite import (
    EfficientNetLite,
    EPSILON,
    from_published,
    GROUPS,
    published_name,
)

Tensors = dict[str, torch.Tensor]


def published_checkpoint() -> Tensors:
    """Random weights with the names and shapes of the published file."""
    generator = torch.Generator().manual_seed(1)
    tensors = {}
    for name, value in EfficientNetLite().state_dict().items():
        drawn = torch.randn(value.shape, generator=generator)
        drawn = drawn.abs() + 0.5 if 'running_var' in name else 0.2 * drawn
        tensors[published_name(name)] = drawn if value.dtype.is_floating_point else value
    return tensors


def direct_maps(image: torch.Tensor, tensors: Tensors) -> list[torch.Tensor]:
    """Run the blocks one after another from the published names: (value - 127) / 128 goes in."""

    def norm(x: torch.Tensor, prefix: str) -> torch.Tensor:
        names = ('running_mean', 'running_var', 'weight', 'bias')
        return functional.batch_norm(x, *(tensors[f'{prefix}.{n}'] for n in names), eps=EPSILON)

    def depth(x: torch.Tensor, block: str, kernel: int, stride: int) -> torch.Tensor:
        weight = tensors[f'{block}._depthwise_conv.weight']
        x = functional.conv2d(x, weight, None, stride, kernel // 2, groups=len(weight))
        return norm(x, f'{block}._bn1').relu()

    def one(x: torch.Tensor, block: str, layer: str, after: str) -> torch.Tensor:
        return norm(functional.conv2d(x, tensors[f'{block}.{layer}.weight']), f'{block}.{after}')

    def point(x: torch.Tensor, block: str) -> torch.Tensor:
        return one(x, block, '_project_conv', '_bn2')

    x = functional.conv2d((image - 127) / 128, tensors['_conv_stem.weight'], None, 2, 1)
    x = norm(x, '_bn0').relu()
    x = point(depth(x, '_blocks.0', 3, 1), '_blocks.0')
    ends, number = [], 1
    for kernel, stride, _, count in GROUPS:
        for place in range(count):
            block = f'_blocks.{number}'
            wide = one(x, block, '_expand_conv', '_bn0').relu()
            y = point(depth(wide, block, kernel, stride if place == 0 else 1), block)
            x = x + y if place else y
            number += 1
        ends.append(x)
    return [ends[0], ends[1], ends[3], ends[4]]


@pytest.fixture
def network() -> tuple[EfficientNetLite, Tensors]:
    tensors = published_checkpoint()
    backbone = EfficientNetLite()
    backbone.load_state_dict(from_published(tensors))
    return backbone.eval(), tensors


def test_published_weights_give_the_published_maps(
    network: tuple[EfficientNetLite, Tensors],
) -> None:
    backbone, tensors = network
    image = torch.rand(1, 3, 352, 320) * 255
    mean, std = (torch.tensor(each)[:, None, None] for each in (IMAGENET_MEAN, IMAGENET_STD))
    with torch.no_grad():
        found = backbone((image - mean) / std)
        expected = direct_maps(image, tensors)
    assert [x.shape[1] for x in found] == list(backbone.widths) == [24, 40, 112, 192]
    for ours, theirs, stride in zip(found, expected, (4, 8, 16, 32), strict=True):
        assert ours.shape == theirs.shape == (1, ours.shape[1], 352 // stride, 320 // stride)
    # Zero is another colour in the two normalisations, so the border differs; inside of it the
    # first maps do not.
    for ours, theirs, rim in ((found[0], expected[0], 6), (found[1], expected[1], 10)):
        inside = (slice(None), slice(None), slice(rim, -rim), slice(rim, -rim))
        assert torch.allclose(ours[inside], theirs[inside], atol=1e-3 * float(theirs.abs().max()))


def test_names_are_those_of_the_published_file() -> None:
    names = {published_name(name) for name in EfficientNetLite().state_dict()}
    assert len(names) == len(EfficientNetLite().state_dict())
    for known in (
        '_conv_stem.weight',
        '_bn0.running_mean',
        '_blocks.0._depthwise_conv.weight',
        '_blocks.0._bn2.bias',
        '_blocks.5._expand_conv.weight',
        '_blocks.11._project_conv.weight',
    ):
        assert known in names
