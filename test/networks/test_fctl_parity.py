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

"""The released FCtL networks against numbers of their implementation."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from parity import DATA, Fixture, SHARED, weight
import pytest

torch = pytest.importorskip('torch', reason='the networks need torch')

from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from uhr_seg_ros.core.errors import CheckpointError
from uhr_seg_ros.core.patch_grid import PatchGrid
from uhr_seg_ros.export.fctl_checkpoints import load_released, released_names
from uhr_seg_ros.networks.backbones.normalization import normalized
from uhr_seg_ros.networks.fctl.decoders import bilinear_kernel, enlarge
from uhr_seg_ros.networks.fctl.released import (
    fctl_deepglobe,
    fctl_inria,
    PATCH,
    ReleasedFCtL,
)
from uhr_seg_ros.networks.fctl.vgg_windowed import WindowedVGG16

#: Largest difference, relative to the largest value of a tensor.
TOLERANCE = 2e-5
AGREEMENT = 0.9999
#: Of the fixture: what the random weights of each part are made from.
SALTS = {
    'fctl_mode3_2c_508': {'patch': 'fcn8', 'medium': 'mini_medium', 'large': 'mini_large'},
    'fctl_mode3_7c_508': {'patch': 'fcn8', 'medium': 'mini_medium', 'large': 'mini_large'},
    'fctl_deepglobe_mode4_7c_508': {'patch': 'fcn8', 'medium': 'medium', 'large': 'glob'},
}
BUILDERS = {'mode3': fctl_inria, 'deepglobe': fctl_deepglobe}


ROOMS = (DATA, SHARED)


def path_of(name: str) -> Path | None:
    """Find a fixture in the repository or, where it lies beside the clone, the shared folder."""
    paths = (room / f'{name}.npz' for room in ROOMS)
    return next((path for path in paths if path.is_file()), None)


@lru_cache
def fixture(name: str) -> Fixture:
    return Fixture(path_of(name))


@lru_cache(maxsize=1)
def network_of(name: str) -> ReleasedFCtL:
    """Build the network with the weights of a fixture, through the reading of checkpoints."""
    salts = fixture(name).meta['salts']
    network = BUILDERS[name.split('_')[1]](2 if '_2c_' in name else 7).eval()
    shapes = network.state_dict()
    parts = {
        part: {
            released: torch.from_numpy(weight(released, tuple(shapes[ours].shape), salts[salt]))
            for ours, released in released_names(network)[part].items()
        }
        for part, salt in SALTS[name].items()
    }
    load_released(network, parts)
    return network


def inputs_of(name: str) -> dict[str, torch.Tensor]:
    """Return patch and contexts as the network takes them."""
    arrays = fixture(name).arrays
    if 'context_medium_u8' not in arrays:  # it shows the same patch as this one
        arrays = fixture('fctl_mode3_2c_508').arrays
    large = 'context_large_u8' if 'context_large_u8' in arrays else 'global_u8'
    keys = {'patch': 'patch_u8', 'medium': 'context_medium_u8', 'large': large}
    return {
        part: normalized(np.ascontiguousarray(arrays[key][None, ..., ::-1]))
        for part, key in keys.items()
    }


@lru_cache(maxsize=1)
@torch.no_grad()
def contexts_of(name: str) -> dict[str, torch.Tensor]:
    """Encode the contexts of a fixture."""
    inputs = inputs_of(name)
    inputs.pop('patch')
    return {context: network_of(name).encode(context, image) for context, image in inputs.items()}


@torch.no_grad()
def tensors_of(name: str) -> dict[str, np.ndarray]:
    """Run the network on the patch of a fixture: every stored tensor by its name there."""
    network, patch, contexts = network_of(name), inputs_of(name)['patch'], contexts_of(name)
    parts = {'backbone': network.backbone, 'fusion': network.fusion, **network.fusion.attend}
    seen: dict[str, Any] = {}

    def record(part: str, _: nn.Module, __: object, output: Any) -> None:
        seen[part] = output

    hooks = [each.register_forward_hook(partial(record, part)) for part, each in parts.items()]
    logits = network.segment(patch, contexts, torch.zeros(1, 4))
    for hook in hooks:
        hook.remove()
    pool3, pool4, pool5 = seen['backbone']
    fused, head = seen['fusion'], network.head
    found = {
        'pool3': pool3,
        'pool4': pool4,
        'pool5': pool5,
        'pool5_10': contexts['medium'],
        'pool5_15': contexts['large'],
        'pool5_medium': contexts['medium'],
        'pool5_global': contexts['large'],
        'attention_out': fused,
        'fused_pool5': fused,
        'score_pool5': head.classify(fused),
        'score_pool4': head.score_pool4(0.01 * pool4),
        'score_pool3': head.score_pool3(0.0001 * pool3),
        'logits': logits,
    }
    found |= {f'attention_{source}': seen[source] for source in network.fusion.attend}
    found['up_output'] = enlarge(found['score_pool5'], 2)
    half = found['up_output'] + found['score_pool4'][..., 5:41, 5:41]
    found['up_pool4_out'] = enlarge(half, 2)
    whole = found['up_pool4_out'] + found['score_pool3'][..., 9:83, 9:83]
    found['up_final'] = enlarge(whole, 8)
    return {name: value.numpy() for name, value in found.items()}


@pytest.mark.slow  # the small networks below always
@torch.no_grad()
def test_a_context() -> None:
    """One encoder of three, without the layers of 4096 channels: a tenth of the whole."""
    name = 'fctl_deepglobe_mode4_7c_508'
    if path_of(name) is None:
        pytest.skip('this fixture lies in the shared folder only')
    with torch.device('meta'):
        network = fctl_deepglobe(7).eval()
    encoder, salt = network.extractors['large'], fixture(name).meta['salts']['glob']
    encoder.to_empty(device='cpu')
    state = network.state_dict()
    encoded = {key for key in state if key.startswith('extractors.large.')}
    names = released_names(network)['large']
    assert encoded <= set(names)
    for ours in encoded:
        value = weight(names[ours], tuple(state[ours].shape), salt)
        state[ours].copy_(torch.from_numpy(value))
    found = network.encode('large', inputs_of(name)['large'])
    assert fixture(name).error('pool5_global', found.numpy()) < TOLERANCE


@pytest.mark.slow  # half a minute each; test_vgg_windowed.py and test_patches.py run always
@pytest.mark.parametrize(
    'name', ['fctl_mode3_2c_508', 'fctl_mode3_7c_508', 'fctl_deepglobe_mode4_7c_508']
)
def test_every_tensor_and_the_mask(name: str) -> None:
    if path_of(name) is None:
        pytest.skip('this fixture lies in the shared folder only')
    found = tensors_of(name)
    stored = fixture(name).tensors()
    assert {'pool5', 'logits'} <= set(stored)
    errors = {tensor: fixture(name).error(tensor, found[tensor]) for tensor in stored}
    wrong = {tensor: error for tensor, error in errors.items() if not error < TOLERANCE}
    assert not wrong
    mask = found['logits'][0].argmax(0)
    assert (mask == fixture(name).arrays['argmax_u8']).mean() >= AGREEMENT


@pytest.mark.slow  # test_patches.py compares bundles with their networks always
@torch.no_grad()
def test_the_exported_form_gives_the_same() -> None:
    name = 'fctl_deepglobe_mode4_7c_508'
    network, patch = network_of(name).exported(), inputs_of(name)['patch']
    # Contexts have encoders of the same kind, see test_vgg_windowed.py.
    kinds = {type(each) for each in (network.backbone, *network.extractors.values())}
    assert kinds == {WindowedVGG16}
    contexts = contexts_of(name)
    logits = network.segment(patch, contexts, torch.zeros(1, 4)).numpy()
    assert fixture(name).error('logits', logits) < 1e-4


def test_a_whole_image_of_deepglobe_takes_half(monkeypatch: pytest.MonkeyPatch) -> None:
    """The context of the whole image is encoded once, and borders of zeros are not computed."""
    monkeypatch.setattr(WindowedVGG16, '_check', lambda *_: None)  # there are no values
    with torch.device('meta'):
        network = fctl_deepglobe(7).eval()
        exported = network.exported()
    patches = len(PatchGrid.of((2448, 2448), PATCH, network.contexts).rows) ** 2
    assert patches == 36
    plain = costs_of(network)
    every_patch = patches * sum(plain.values())
    ours = costs_of(exported)
    shared = ours.pop('large')
    assert every_patch / (patches * sum(ours.values()) + shared) > 2


def costs_of(network: ReleasedFCtL) -> dict[str, int]:
    """Count floating-point operations of a patch, and of the encoding of each context."""
    costs, maps = {}, {}
    image = torch.zeros(1, 3, PATCH, PATCH, device='meta')
    with torch.no_grad():
        for name in network.contexts:
            with FlopCounterMode(display=False) as counter:
                maps[name] = network.encode(name, image)
            costs[name] = counter.get_total_flops()
        with FlopCounterMode(display=False) as counter:
            network.segment(image, maps, torch.zeros(1, 4, device='meta'))
        costs['patch'] = counter.get_total_flops()
    return costs


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        (lambda parts: parts.pop('large'), 'the weights of large are missing'),
        (lambda parts: parts['patch'].pop('trans.bias'), '1 missing:\n    trans.bias'),
        (lambda parts: parts['patch'].update(odd=torch.ones(1)), '1 unexpected:\n    odd'),
        (
            lambda parts: parts['patch'].update({'up_output.weight': torch.ones(7, 7, 4, 4)}),
            'up_output.weight is not a bilinear kernel',
        ),
    ],
)
def test_checkpoints_that_do_not_fit(
    change: Callable[[dict[str, dict[str, torch.Tensor]]], object], text: str
) -> None:
    with torch.device('meta'):
        network = fctl_deepglobe(7)
    shapes = network.state_dict()
    parts = {
        part: {released: shapes[ours] for ours, released in names.items()}
        for part, names in released_names(network).items()
    }
    parts['patch'] |= {
        'vgg.classifier.0.bias': torch.ones(4096),  # not used
        'up_final.weight': bilinear_kernel(16) * torch.eye(7)[..., None, None],
    }
    load_released(network, parts)
    change(parts)
    with pytest.raises(CheckpointError, match=text):
        load_released(network, parts)
