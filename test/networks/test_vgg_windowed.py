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

"""Windows around the image: the same maps for fewer multiply-adds."""

from __future__ import annotations

import pytest

torch = pytest.importorskip('torch', reason='the networks need torch')

from torch.utils.flop_counter import FlopCounterMode

from uhr_seg_ros.networks.backbones.vgg import VGG16
from uhr_seg_ros.networks.fctl.vgg_windowed import WindowedVGG16


@pytest.fixture(scope='module')
def network() -> VGG16:
    torch.manual_seed(0)
    network = VGG16().eval()
    with torch.no_grad():
        for parameter in network.parameters():  # borders that are not zero
            scale = 0.1 if parameter.ndim == 1 else 1.4 * parameter[0].numel() ** -0.5
            parameter.copy_(scale * torch.randn_like(parameter))
    return network


SLOW = [pytest.param(side, marks=pytest.mark.slow) for side in (61, 63, 76, 124)]


@pytest.mark.parametrize('side', [60, *SLOW])
@torch.no_grad()
def test_the_same_maps(network: VGG16, side: int) -> None:
    image = torch.rand(2, 3, side, side)
    expected = network(image)
    found = WindowedVGG16(network, side)(image)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


@torch.no_grad()
def test_fewer_multiply_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WindowedVGG16, '_check', lambda *_: None)  # there are no values
    with torch.device('meta'):
        network, image = VGG16().eval(), torch.rand(1, 3, 508, 508)
        windowed = WindowedVGG16(network, 508)
    costs = []
    for each in (network, windowed):
        counter = FlopCounterMode(display=False)
        with counter:
            each(image)
        costs.append(counter.get_total_flops())
    assert costs[0] / costs[1] > 1.5


def test_another_border(network: VGG16) -> None:
    with pytest.raises(ValueError, match='not constant from'):
        WindowedVGG16(VGG16(border=1), 124)
