# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""The released FCtL networks against numbers of their implementation."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from parity import DATA, Fixture, SHARED, weight
import pytest

torch = pytest.importorskip('torch', reason='the networks need torch')

from uhr_seg_ros.networks.fcn8 import enlarge  # noqa: E402
from uhr_seg_ros.networks.fctl import fctl_deepglobe, fctl_inria, ReleasedFCtL  # noqa: E402
from uhr_seg_ros.networks.fctl_checkpoints import load_released, released_names  # noqa: E402
from uhr_seg_ros.networks.normalising import normalised, unit_range  # noqa: E402

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
    """Give patch and contexts as the network takes them."""
    arrays = fixture(name).arrays
    if 'context_medium_u8' not in arrays:  # it shows the same patch as this one
        arrays = fixture('fctl_mode3_2c_508').arrays
    large = 'context_large_u8' if 'context_large_u8' in arrays else 'global_u8'
    keys = {'patch': 'patch_u8', 'medium': 'context_medium_u8', 'large': large}
    return {
        part: normalised(np.ascontiguousarray(arrays[key][None, ..., ::-1]))
        for part, key in keys.items()
    }


@lru_cache(maxsize=1)
@torch.no_grad()
def tensors_of(name: str) -> dict[str, np.ndarray]:
    """Run the network on the patch of a fixture: every stored tensor by its name there."""
    network, inputs = network_of(name), inputs_of(name)
    patch = inputs.pop('patch')
    contexts = {context: network.encode(context, image) for context, image in inputs.items()}
    pool3, pool4, pool5 = network.backbone(unit_range(patch))
    fused = network.fusion(pool5, contexts)
    head = network.head
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
        'logits': network.segment(patch, contexts),
    }
    found |= {
        f'attention_{source}': attend(pool5, {'local': pool5, **contexts}[source])
        for source, attend in network.fusion.attend.items()
    }
    found['up_output'] = enlarge(found['score_pool5'], 2)
    half = found['up_output'] + found['score_pool4'][..., 5:41, 5:41]
    found['up_pool4_out'] = enlarge(half, 2)
    whole = found['up_pool4_out'] + found['score_pool3'][..., 9:83, 9:83]
    found['up_final'] = enlarge(whole, 8)
    return {name: value.numpy() for name, value in found.items()}


@pytest.mark.parametrize('name', SALTS)
def test_every_tensor(name: str) -> None:
    if path_of(name) is None:
        pytest.skip('this fixture lies in the shared folder only')
    found = tensors_of(name)
    stored = fixture(name).tensors()
    assert {'pool5', 'logits'} <= set(stored)
    errors = {tensor: fixture(name).error(tensor, found[tensor]) for tensor in stored}
    wrong = {tensor: error for tensor, error in errors.items() if not error < TOLERANCE}
    assert not wrong


@pytest.mark.parametrize('name', SALTS)
def test_arg_max(name: str) -> None:
    if path_of(name) is None:
        pytest.skip('this fixture lies in the shared folder only')
    mask = tensors_of(name)['logits'][0].argmax(0)
    assert (mask == fixture(name).arrays['argmax_u8']).mean() >= AGREEMENT
