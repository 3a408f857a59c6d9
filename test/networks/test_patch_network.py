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

"""Cutting in torch: what a network of patches is shown in training and of whole images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='the networks need torch')

from uhr_seg_ros.core.bundle import Patches
from uhr_seg_ros.core.classes import CLASS_SETS
from uhr_seg_ros.core.patch_grid import PatchGrid, reduced, WHOLE
from uhr_seg_ros.export.export import export_bundle
from uhr_seg_ros.networks.backbones.normalization import normalized, unit_range
from uhr_seg_ros.networks.fctl import decoders, patch_network
from uhr_seg_ros.networks.fctl import network as fctl
from uhr_seg_ros.networks.fctl.patch_network import PatchNetwork
from uhr_seg_ros.networks.fctl.released import fctl_deepglobe, fctl_inria
from uhr_seg_ros.networks.presets import build_network

SIDE = 64


class Mirror(PatchNetwork):
    """Return as logits what it is shown: patch, contexts, and its place."""

    def __init__(self, contexts: Mapping[str, float | str]) -> None:
        super().__init__(3 * (1 + len(contexts)), SIDE, contexts)
        self.places: list[torch.Tensor] = []

    def encode(self, name: str, image: torch.Tensor) -> torch.Tensor:
        return image

    def segment(
        self, patch: torch.Tensor, maps: Mapping[str, torch.Tensor], place: torch.Tensor
    ) -> torch.Tensor:
        self.places.append(place)
        assert list(maps) == list(self.contexts)
        return torch.cat([patch, *maps.values()], 1)


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def grey_levels(planes: torch.Tensor) -> np.ndarray:
    """Turn normalised planes (3, h, w) back to (h, w, 3) uint8 BGR."""
    return (255 * unit_range(planes)).round().byte().permute(1, 2, 0).numpy()[..., ::-1]


@pytest.mark.parametrize('contexts', [{'medium': 2, 'large': 3}, {'medium': 1.5, 'large': WHOLE}])
def test_one_patch_of_an_image(contexts: dict[str, float | str]) -> None:
    """An image of one patch: the contexts are it, reduced, in black."""
    network, image = Mirror(contexts), picture(SIDE, SIDE)
    shown = network(normalized(image[None]))[0]
    assert np.array_equal(grey_levels(shown[:3]), image)
    size = (SIDE, SIDE)
    for index, context in enumerate(network.contexts.values(), 1):
        cutting = PatchGrid.of(size, SIDE, network.contexts)
        expected = reduced(image, *context.of_frame(size, cutting.size))
        found = grey_levels(shown[3 * index : 3 * index + 3])
        assert np.abs(found.astype(int) - expected).max() <= 1  # sums in another order
        assert (found == expected).mean() > 0.99
    assert torch.equal(network.places[0], torch.tensor([[0.0, 0.0, 1.0, 1.0]]))


def test_a_place_in_training_is_the_one_of_the_window() -> None:
    torch.manual_seed(0)
    network = Mirror({'medium': 2, 'large': 3})
    image = normalized(picture(3 * SIDE + 40, 3 * SIDE + 40)[None])
    seen = set()
    for _ in range(20):
        outputs = network.forward_train(image)
        rows, columns = outputs['rows'], outputs['columns']
        assert torch.equal(outputs['refine'][:, :3], image[..., rows, columns])
        # Contexts of 3 sides end inside.
        assert SIDE <= rows.start <= SIDE + 40 and rows.stop - rows.start == SIDE
        seen.add((rows.start, columns.start))
        top, left, height, _ = network.places[-1][0]
        assert (top * (3 * SIDE + 40)).round() == rows.start
        assert (left * (3 * SIDE + 40)).round() == columns.start
        assert height == pytest.approx(SIDE / (3 * SIDE + 40))
    assert len(seen) > 10


def test_contexts_of_training_are_those_of_whole_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patch_network, 'AT_BORDER', 0.0)
    torch.manual_seed(0)
    image = normalized(picture(3 * SIDE, 3 * SIDE)[None])
    network = Mirror({'medium': 2, 'large': 3})
    outputs = network.forward_train(image)  # in the middle: there is no other place
    assert (outputs['rows'].start, outputs['columns'].start) == (SIDE, SIDE)
    center = image[..., SIDE : 2 * SIDE, SIDE : 2 * SIDE]
    shown = outputs['refine'][0]
    assert torch.equal(shown[:3], center[0])
    large = network.contexts['large']
    rows, columns = (large.reduction(3 * SIDE, SIDE) for _ in range(2))
    expected = reduced(picture(3 * SIDE, 3 * SIDE), rows, columns)
    assert np.abs(grey_levels(shown[6:]).astype(int) - expected).max() <= 1


def test_patches_at_borders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some patches get black beside them, but never in them."""
    monkeypatch.setattr(patch_network, 'AT_BORDER', 1.0)
    torch.manual_seed(0)
    image = normalized(np.full((1, 3 * SIDE, 3 * SIDE, 3), 200, np.uint8))
    network = Mirror({'large': 3})
    sides = set()
    for _ in range(40):
        patch, large = network.forward_train(image)['refine'][0].split(3)
        assert np.array_equal(np.unique(grey_levels(patch)), [200])
        context = grey_levels(large)[..., 0]
        assert (context[24:40, 24:40] == 200).all()  # where the patch is
        black = context == 0
        sides |= {
            name
            for name, part in (
                ('above', black[0]),
                ('below', black[-1]),
                ('left', black[:, 0]),
                ('right', black[:, -1]),
            )
            if part.all()
        }
    assert sides == {'above', 'below', 'left', 'right'}


def test_any_place_of_a_whole_image() -> None:
    torch.manual_seed(0)
    network = Mirror({'medium': 2, 'large': WHOLE})
    image = normalized(picture(2 * SIDE, 2 * SIDE)[None])
    starts = {network.forward_train(image)['rows'].start for _ in range(200)}
    assert min(starts) <= 2 and max(starts) >= SIDE - 2


def test_a_crop_as_small_as_a_patch() -> None:
    outputs = Mirror({'large': 3}).forward_train(torch.zeros(1, 3, SIDE, SIDE))
    assert (outputs['rows'], outputs['columns']) == (slice(0, SIDE), slice(0, SIDE))


@pytest.mark.parametrize('large', [3, 'whole'])
def test_gradients_reach_everything_that_runs(large: float | str) -> None:
    torch.manual_seed(0)
    network = build_network('fctl_s', side=SIDE, large=large).train()
    outputs = network.forward_train(torch.randn(2, 3, 3 * SIDE, 3 * SIDE))
    assert outputs['refine'].shape == (2, 5, SIDE, SIDE)
    outputs['refine'].square().mean().backward()
    without = {name for name, weight in network.named_parameters() if weight.grad is None}
    # Finer maps of the contexts are not used, but they are on the way to the coarsest one.
    assert not without


def test_released_extractors_stay_as_they_are() -> None:
    with torch.device('meta'):
        network = build_network('fctl_inria')
    frozen = {name for name, weight in network.named_parameters() if not weight.requires_grad}
    assert frozen == {name for name in network.state_dict() if name.startswith('extractors.')}


@pytest.mark.slow
@pytest.mark.parametrize('build', [fctl_inria, fctl_deepglobe])
def test_released_networks_become_bundles(
    build: Callable[..., PatchNetwork], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Export compares with torch; a narrow classifier saves most of the weights."""
    monkeypatch.setattr(decoders, 'HIDDEN', 16)
    torch.manual_seed(0)
    network = build(2, side=92)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:  # keeps the size of what goes through
                parameter.copy_(1.4 * parameter[0].numel() ** -0.5 * torch.randn_like(parameter))
            else:
                parameter.copy_(0.3 + 0.1 * torch.randn_like(parameter))
    classes = CLASS_SETS['inria']
    bundle = export_bundle(network, tmp_path, name='r', preset='fctl_inria', classes=classes)
    factors = {name: context.factor for name, context in network.contexts.items()}
    assert bundle.patches == Patches(92, factors)
    assert set(bundle.graphs) == {'medium', 'large', 'patch'}


@pytest.mark.slow
@pytest.mark.parametrize('backbone', ['vgg16', 'mit_b2'])
def test_backbones_of_the_extended_network(
    backbone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is trained a step and exported, which compares with torch."""
    if backbone.startswith('mit'):
        pytest.importorskip('transformers', reason='MiT needs transformers')
    monkeypatch.setattr(fctl, 'HIDDEN', 16)
    torch.manual_seed(0)
    network = build_network('fctl', backbone=backbone, side=64, large=WHOLE)
    outputs = network.forward_train(torch.randn(2, 3, 192, 192))
    assert outputs['refine'].shape == (2, 2, 64, 64)
    outputs['refine'].square().mean().backward()
    classes = CLASS_SETS['inria']
    bundle = export_bundle(network, tmp_path, name='f', preset='fctl', classes=classes)
    assert bundle.patches == Patches(64, {'medium': 2, 'large': WHOLE})


@pytest.mark.slow  # it only counts; mit_b2 is built always
def test_mit_b5_is_deeper() -> None:
    pytest.importorskip('transformers', reason='MiT needs transformers')
    with torch.device('meta'):
        networks = [build_network('fctl', backbone=name) for name in ('mit_b2', 'mit_b5')]
    sizes = [sum(weight.numel() for weight in each.backbone.parameters()) for each in networks]
    # As published: 24.2 and 81.4 million (SegFormer, table 6: encoders).
    assert [round(size / 1e5) / 10 for size in sizes] == [24.2, 81.4]
