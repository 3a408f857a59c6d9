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

"""Learned downsampling around networks: what goes in and out, and that the sampling learns."""

from __future__ import annotations

import pytest

torch = pytest.importorskip('torch', reason='the networks need torch')

from torch import nn
from torch.nn import functional

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.networks.baselines.single import SingleNetwork
from uhr_seg_ros.networks.deformation.grid import sample_image
from uhr_seg_ros.networks.deformation.inverse import inverse_grid, reverse
from uhr_seg_ros.networks.deformation.network import DeformedNetwork
from uhr_seg_ros.networks.presets import build_network
from uhr_seg_ros.training.boundaries import edge_target

SMALL = {'warped_size': [64, 96], 'size': [16, 24], 'radius': 3}


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize('inner', ['semantic_s', 'fast_scnn', 'hlrc_s'])
@pytest.mark.parametrize('sampling', ['learned', 'uniform'])
def test_networks_inside(inner: str, sampling: str) -> None:
    network = build_network('deform_s', 5, inner=inner, sampling=sampling, **SMALL)
    image = torch.randn(2, 3, 90, 121)
    outputs = network.train().forward_train(image)
    assert outputs['grid'].shape == (2, 64, 96, 2)
    assert ('saliency' in outputs) == (sampling == 'learned')
    with torch.no_grad():
        logits = network.eval()(image)
    assert logits.shape == (2, 5, 90, 121) and logits.isfinite().all()


@torch.no_grad()
def test_forward_is_what_it_is_made_of() -> None:
    network = build_network('deform_s', 5, **SMALL).eval()
    image = torch.randn(1, 3, 90, 120)
    saliency, grid = network.look(image)
    assert float(saliency.sum()) == pytest.approx(1, abs=1e-5)
    probabilities = network.inner(sample_image(image, grid)).softmax(1)
    inverse = inverse_grid(grid, (90, 120))
    exact = reverse(probabilities, inverse)
    found = network(image).exp()
    hit = ~inverse.isnan().any(3)[:, None].expand_as(exact)
    assert torch.allclose(found[hit], exact[hit], atol=1e-6)
    same = (found.argmax(1) == exact.argmax(1)).float().mean()
    assert same > 0.9  # the others are ties of equally near pixels


def test_the_inner_network_sees_the_bent_image_as_it_is() -> None:
    network = build_network('deform_s', 5, **SMALL)
    assert (network.inner.low_res_factor, network.inner.stride) == (1, 4)


@torch.no_grad()
def test_uniform_sampling_is_a_resize() -> None:
    network = build_network('deform_s', 5, sampling='uniform', **SMALL).eval()
    image = torch.randn(2, 3, 90, 121)
    small = functional.interpolate(image, size=(64, 96), mode='bilinear')
    grid = network.forward_train(image)['grid']
    assert torch.allclose(sample_image(image, grid), small, atol=1e-4)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(network.forward_train(image)['grid'], grid)
    logits = functional.interpolate(network.inner(small), size=(90, 121), mode='bilinear')
    assert torch.equal(network(image), logits)


class Copying(nn.Module):
    """Logits that are the channels of the image."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image


@torch.no_grad()
def test_what_is_bent_comes_back_to_its_place() -> None:
    inner = SingleNetwork(Copying(), 3, factor=1, stride=1)
    network = DeformedNetwork(inner, size=(32, 32), warped_size=(64, 64), radius=4).eval()
    rows, columns = torch.meshgrid(torch.arange(128), torch.arange(128), indexing='ij')
    labels = (rows >= 64).long() + (columns >= 80)
    image = 20.0 * functional.one_hot(labels, 3).permute(2, 0, 1)[None].float()
    assert (network(image).argmax(1)[0] == labels).float().mean() > 0.95


def test_the_border_of_an_image_is_no_edge_unless_asked_for() -> None:
    labels = torch.full((1, 64, 64), 3)
    labels[0, :32, :32] = 1
    for ignore_image_border in (True, False):
        network = build_network('deform_s', 5, ignore_image_border=ignore_image_border, **SMALL)
        edges = edge_target(labels, (32, 32), ignore_image_border=network.ignore_image_border)[
            0, 0
        ]
        assert edges[15:17, 4:12].any()
        assert edges[-1].any() != ignore_image_border


def test_saliency_learns_from_the_segmentation() -> None:
    network = build_network('deform_s', 5, **SMALL)
    network.forward_train(torch.randn(2, 3, 90, 120))['refine'].square().mean().backward()
    weights = network.saliency.features[0].conv.weight
    assert weights.grad is not None and weights.grad.isfinite().all() and weights.grad.any()


@pytest.mark.parametrize(
    ('options', 'text'),
    [
        ({'sampling': 'z'}, "sampling 'z' is unknown, known: learned, uniform"),
        ({'inner': 'z'}, "unknown network 'z'"),
        (
            {'inner': 'fast_scnn', 'warped_size': [250, 256]},
            r'\(250, 256\) is not a multiple of 32 px',
        ),
    ],
)
def test_options_that_cannot_be_built(options: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        build_network('deform_s', 5, **options)


def test_training_may_look_at_a_lower_resolution() -> None:
    """As released for the first epochs: averaged to a random square, and resized back."""
    network = build_network('deform_s', 5, inner='fast_scnn', **SMALL).eval()
    image = torch.randn(1, 3, 90, 120)
    seen, sides = [], set()
    network.saliency.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network.forward_train(image)
        small = seen.pop()
        for seed in range(30):
            torch.manual_seed(seed)
            network.low_res_saliency = True
            network.forward_train(image)
            torch.manual_seed(seed)
            side = int(torch.randint(16 // 3, 16 + 1, ()))
            sides.add(side)
            coarse = functional.adaptive_avg_pool2d(small, side)
            expected = functional.interpolate(coarse, size=(16, 24), mode='bilinear')
            assert torch.equal(seen.pop(), expected)
        # What is seen outside of training stays as it is.
        network.look(image)
        assert torch.equal(seen.pop(), small)
    assert min(sides) == 5 and max(sides) == 16
