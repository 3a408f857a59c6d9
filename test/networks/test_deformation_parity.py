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

"""Learned downsampling against numbers of its released implementation."""

from __future__ import annotations

from functools import lru_cache
import json
from pathlib import Path

import numpy as np
from parity import DATA, Fixture, SHARED, weight
import pytest

torch = pytest.importorskip('torch', reason='the networks need torch')

from scipy.spatial import cKDTree
from torch.nn import functional

from uhr_seg_ros.core.errors import CheckpointError
from uhr_seg_ros.export.deformed_checkpoints import (
    load_released,
    released_names,
    ROOMS,
    UNUSED,
)
from uhr_seg_ros.networks.backbones.normalization import normalized
from uhr_seg_ros.networks.deformation.grid import (
    blend_labels,
    sample_image,
    sample_labels,
)
from uhr_seg_ros.networks.deformation.hole_filling import rim
from uhr_seg_ros.networks.deformation.inverse import (
    inverse_grid,
    reverse,
    whole_inverse_grid,
)
from uhr_seg_ros.networks.deformation.network import DeformedNetwork
from uhr_seg_ros.networks.deformation.saliency import saliency_map
from uhr_seg_ros.networks.presets import build_network
from uhr_seg_ros.training.boundaries import edge_loss, edge_target, stretched

#: Largest difference, relative to the largest value of a tensor.
TOLERANCE = 2e-5
#: Smallest share of equal labels.
AGREEMENT = 0.9999
#: What stands for NaN in fixtures and in what is compared with them.
MISSING = -9.0
EDGE_WEIGHT = 100.0
#: Given by the fixtures, not computed.
INPUTS = {'saliency_logits', 'decoder_matrix'}
LABELS = {'y_sampled_train', 'y_sampled_infer'}
IGNORED = {'cityscapes': 19, 'deepglobe': 6}
DATA_SETS = tuple(IGNORED)


def path_of(name: str) -> Path:
    """Find a fixture in the repository or in the shared folder beside it."""
    paths = [room / name for room in (DATA, SHARED)]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        pytest.skip('this fixture lies in the shared folder only')
    return path


@lru_cache
def fixture(name: str) -> Fixture:
    found = Fixture(path_of(f'ds_{name}.npz'))
    for key, values in found.arrays.items():
        if values.dtype == np.float32:
            found.arrays[key] = np.nan_to_num(values, nan=MISSING)
    return found


def tensor_of(name: str, key: str) -> torch.Tensor:
    return torch.from_numpy(fixture(name).arrays[key])


def bits_of(name: str, key: str, shape: tuple[int, ...]) -> np.ndarray:
    bits = np.unpackbits(fixture(name).arrays[key])
    return bits[: np.prod(shape)].reshape(shape).astype(bool)


@lru_cache
def network_of(name: str) -> DeformedNetwork:
    return build_network(f'deform_{name}').eval()


def image_of(name: str) -> torch.Tensor:
    """Return the image as the network takes it from ours, in the statistics of its data set."""
    bgr = np.ascontiguousarray(fixture(name).arrays['image_u8'][None, ..., ::-1])
    return network_of(name).normalize(normalized(bgr))


@lru_cache
@torch.no_grad()
def tensors_of(name: str) -> dict[str, torch.Tensor]:
    """Run everything around the network inside: every stored tensor by its name there."""
    deformation = network_of(name).deformation
    saliency = saliency_map(tensor_of(name, 'saliency_logits'))
    grid = deformation(saliency)
    # What follows is of the stored grid. Of a point at the border of two pixels the last bit of
    # the grid decides, which differs between CPUs.
    stored = tensor_of(name, 'grid')
    sampled = sample_image(image_of(name), stored)
    matrix = tensor_of(name, 'decoder_matrix')
    probabilities = torch.einsum('kc,nchw->nkhw', matrix, sampled).softmax(1)
    inverse = inverse_grid(stored, tuple(fixture(name).meta['seg_size']))
    target = edge_target(
        tensor_of(name, 'label_u8')[None],
        deformation.size,
        ignore_image_border=network_of(name).ignore_image_border,
    )
    return {
        'gaussian_kernel': deformation.kernel,
        'saliency_padded': deformation.padded(saliency),
        'grid': grid,
        'grid_label': grid,
        'grid_infer': grid,
        'x_sampled_train': sampled,
        'edge_normalised_saliency': stretched(saliency),
        'edge_normalised_target': stretched(target),
        'prediction_low': probabilities,
        'grid_inverse': inverse,
        'prediction_full': reverse(probabilities, inverse),
    }


# That of deepglobe takes four times as long; its labels are compared always.
@pytest.mark.parametrize('name', ['cityscapes', pytest.param('deepglobe', marks=pytest.mark.slow)])
def test_every_tensor(name: str) -> None:
    stored = set(fixture(name).tensors()) - INPUTS - LABELS
    found = tensors_of(name)
    assert stored == set(found)
    errors = {
        tensor: fixture(name).error(tensor, found[tensor].nan_to_num(MISSING).numpy())
        for tensor in stored
    }
    assert not {tensor: error for tensor, error in errors.items() if not error < TOLERANCE}


#: One always: labels of the other take five seconds.
LABELED = [
    pytest.param(name, marks=[pytest.mark.slow] if name == 'deepglobe' else [])
    for name in DATA_SETS
]


@pytest.mark.parametrize('name', LABELED)
def test_labels(name: str) -> None:
    # The rounding of a grid decides about labels that are cut off: it is the stored one.
    grid = tensor_of(name, 'grid')
    seg_label = tensor_of(name, 'seg_label_u8')[None]
    inverse = inverse_grid(grid, seg_label.shape[1:])
    scored = sample_labels(seg_label, grid)
    found = {
        'y_sampled_train': blend_labels(tensor_of(name, 'label_u8')[None], grid),
        'y_sampled_infer': scored,
        'y_reversed_u8': reverse(scored[:, None].float(), inverse, 'nearest')[0, 0],
        'prediction_full_argmax_u8': tensors_of(name)['prediction_full'][0].argmax(0),
    }
    for key, labels in found.items():
        assert (labels == tensor_of(name, key)).float().mean() >= AGREEMENT, key
    valid = bits_of(name, 'inverse_valid_u8', tuple(seg_label.shape))
    assert np.array_equal(valid, ~inverse.isnan().any(3).numpy())


@pytest.mark.parametrize('name', LABELED)
def test_losses(name: str) -> None:
    stored = fixture(name).meta['train']
    network, grid = network_of(name), tensor_of(name, 'grid')
    labels = tensor_of(name, 'label_u8')[None]
    saliency = saliency_map(tensor_of(name, 'saliency_logits'))
    target = edge_target(
        labels, network.deformation.size, ignore_image_border=network.ignore_image_border
    )
    edge = EDGE_WEIGHT * float(edge_loss(saliency, target))
    matrix = tensor_of(name, 'decoder_matrix')
    logits = torch.einsum('kc,nchw->nkhw', matrix, tensors_of(name)['x_sampled_train'])
    entropy = functional.cross_entropy(
        logits, blend_labels(labels, grid), ignore_index=IGNORED[name]
    )
    assert edge == pytest.approx(stored['edge_loss_scaled'], rel=1e-5)
    assert float(entropy) == pytest.approx(stored['cross_entropy'], rel=1e-5)
    assert edge + float(entropy) == pytest.approx(stored['loss_total'], rel=1e-5)


@pytest.mark.parametrize('name', DATA_SETS)
def test_the_fast_way_back_differs_in_ties_only(name: str) -> None:
    grid = tensor_of(name, 'grid')
    exact = inverse_grid(grid, tuple(fixture(name).meta['seg_size']))
    fast = whole_inverse_grid(exact)
    missing = exact.isnan().any(3).numpy()[0]
    holes = np.argwhere(missing)
    distances, _ = cKDTree(np.argwhere(rim(missing))).query(holes, 2)
    alone = ~missing
    alone[tuple(holes.T)] = distances[:, 1] - distances[:, 0] > 1e-9
    scored = sample_labels(tensor_of(name, 'seg_label_u8')[None], grid).float()
    found = reverse(scored[:, None], fast, 'nearest')[0, 0]
    wrong = (found != tensor_of(name, 'y_reversed_u8')).numpy()
    assert not (wrong & alone).any()
    assert alone.mean() > 0.3 and wrong.mean() < 0.03


@lru_cache
def shapes_of_released() -> dict[str, dict[str, list[int]]]:
    return json.loads(path_of('ds_state_dict_keys.json').read_text(encoding='utf-8'))


def test_names_of_the_checkpoint() -> None:
    with torch.device('meta'):
        network = build_network('deform_cityscapes')
    ours = network.state_dict()
    names = released_names(network)
    assert set(names) == set(shapes_of_released()) == set(ROOMS)
    assert sum(len(part) for part in names.values()) == len(ours)
    for part, stored in shapes_of_released().items():
        found = {released: list(ours[name].shape) for name, released in names[part].items()}
        assert found == {key: shape for key, shape in stored.items() if not UNUSED.match(key)}


def released_parts() -> dict[str, dict[str, torch.Tensor]]:
    """Make the weights of the fixture."""
    return {
        part: {
            name: torch.from_numpy(weight(name, tuple(shape), ''))
            if not name.endswith('num_batches_tracked')
            else torch.tensor(0)
            for name, shape in stored.items()
            if not UNUSED.match(name)
        }
        for part, stored in shapes_of_released().items()
    }


@torch.no_grad()
def test_networks() -> None:
    network = network_of('cityscapes')
    load_released(network, released_parts())
    bgr = np.ascontiguousarray(fixture('networks').arrays['image_u8'][None, ..., ::-1])
    image = normalized(bgr)
    encoder, decoder = network.inner.body
    feature = encoder(image)
    logits = decoder(feature)
    large = functional.interpolate(logits, size=(128, 256), mode='bilinear')
    saliency_logits = network.saliency(image)
    found = {
        'saliency_features': network.saliency.features(image),
        'saliency_logits': saliency_logits,
        'saliency_map': saliency_map(saliency_logits),
        'hrnet_features': feature,
        'log_softmax': logits.log_softmax(1),
        'probabilities_128x256': large.softmax(1),
    }
    network_of.cache_clear()  # other tests are to find random weights
    assert set(fixture('networks').tensors()) == set(found)
    for name, value in found.items():
        assert fixture('networks').error(name, value.numpy()) < TOLERANCE, name


@pytest.mark.parametrize(
    ('part', 'name', 'text'),
    [
        ('decoder', None, 'the weights of decoder are missing: give all of saliency, compress'),
        ('compress', 'conv_last.bias', '1 missing:\n    conv_last.bias'),
    ],
)
def test_checkpoints_that_do_not_fit(part: str, name: str | None, text: str) -> None:
    with torch.device('meta'):
        network = build_network('deform_cityscapes')
        parts = {
            part: {
                key: torch.empty(shape, dtype=torch.int64 if key.endswith('tracked') else None)
                for key, shape in stored.items()
            }
            for part, stored in shapes_of_released().items()
        }
    load_released(network, parts)  # with what the released batch norm keeps beside
    if name is None:
        parts.pop(part)
    else:
        parts[part].pop(name)
    with pytest.raises(CheckpointError, match=text):
        load_released(network, parts)
