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

"""Losses and gradients of one batch against numbers of the published implementation."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

from _pytest.mark import ParameterSet
import numpy as np
from parity import DATA, Fixture, SHARED
import pytest

torch = pytest.importorskip('torch', reason='training needs torch')

from test_parity import network_of, preset_of

from uhr_seg_ros.export.hlrc_checkpoints import EXPERT_LAYERS, published_name
from uhr_seg_ros.networks.hlrc.network import HLRC
from uhr_seg_ros.training.losses import losses

NAMES = {
    'decode': 'decode.loss_ce',
    'refine': 'refine.loss_ce',
    'auxiliary': 'aux.loss_ce',
    'balance': 'cv.cv_loss',
    'reconstruction': 'aux_1.recon_losses',
    'affinity': 'aux_2.fa_loss',
}
#: Largest relative L2 error of a gradient, by the statistics that batch norm uses. Which side of a
#: kink of ReLU or hard swish a value falls on depends on how a processor adds: on one of several,
#: one tensor of DeepGlobe differs by 1.25e-3, all others stay below 1e-3.
GRADIENT_TOLERANCE = {'eval_bn': 2e-3, 'train_bn': 3e-2}


def fixtures() -> list[ParameterSet]:
    found = {path.name: path for path in SHARED.glob('hlrc_*_train.npz')}
    found |= {path.name: path for path in DATA.glob('hlrc_*_train.npz')}
    # The shared ones are other presets: with `--all`.
    return [
        pytest.param(path, id=path.stem, marks=[] if path.parent == DATA else pytest.mark.slow)
        for _, path in sorted(found.items())
    ]


def gradients(network: HLRC) -> dict[str, np.ndarray]:
    """Gradients with published names and layouts."""
    found = {}
    for name, parameter in network.named_parameters():
        if parameter.grad is None:
            continue
        room, _, layer = name.rpartition('.')
        if room != 'region.experts':
            found[published_name(name)] = parameter.grad.numpy()
            continue
        for expert, gradient in enumerate(parameter.grad):
            if layer == 'last':  # (sub-pixel, neighbour) rows here, the other way round there
                gradient = gradient.reshape(16, 9, -1).transpose(0, 1).reshape(144, -1)
            prefix = f'refine_head.region.rpae.experts.{expert}.w'
            found[f'{prefix}.{EXPERT_LAYERS[layer]}.weight'] = gradient.numpy()
    return found


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    """Add in the order in which the limits were found: a single thread adds in another."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    'statistics', [pytest.param('eval_bn', marks=pytest.mark.slow), 'train_bn']
)
@pytest.mark.parametrize('path', fixtures())
def test_losses_and_gradients(path: Path, statistics: str) -> None:
    fixture = Fixture(path)
    network = deepcopy(network_of(preset_of(path))).requires_grad_()
    if statistics == 'train_bn':
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.train()
    labels = torch.from_numpy(fixture.arrays['label_u8'].astype(np.int64))
    terms = losses(network.forward_train(torch.from_numpy(fixture.image)), labels)
    recorded = fixture.meta['results'][statistics]['float64']
    in_total = {name for name in recorded if '.' in name and 'loss' in name}
    assert {NAMES[name] for name in terms} == in_total
    for name, value in terms.items():
        assert value.item() == pytest.approx(recorded[NAMES[name]], abs=1e-5), name
    sum(terms.values()).backward()
    found = gradients(network)
    prefix = f'grad.{statistics}.'
    watched = [key for key in fixture.arrays if key.startswith(prefix)]
    assert len(watched) > 10
    for key in watched:
        name, step = key.removeprefix(prefix).split('@')
        expected = fixture.arrays[key].astype(np.float64)
        error = np.linalg.norm(found[name].reshape(-1)[:: int(step)] - expected)
        assert error <= GRADIENT_TOLERANCE[statistics] * np.linalg.norm(expected), name
