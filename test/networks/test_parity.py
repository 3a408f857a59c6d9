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

"""HLRC against numbers of the published implementation."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from _pytest.mark import ParameterSet
import numpy as np
from parity import DATA, Fixture, SALTS, SHARED, weight
import pytest

torch = pytest.importorskip('torch', reason='the networks need torch')

from uhr_seg_ros.evaluation.resize import resized_rows
from uhr_seg_ros.evaluation.sliding_window import arg_max, slide
from uhr_seg_ros.export import hlrc_checkpoints
from uhr_seg_ros.networks.hlrc.assignment import assign
from uhr_seg_ros.networks.hlrc.network import HLRC
from uhr_seg_ros.networks.presets import build_network

INTERMEDIATE_TOLERANCE = 2e-5
LOGIT_TOLERANCE = 1e-4
PRESETS = tuple(SALTS)
CONSTANTS = ('relative_position_index', 'num_batches_tracked')


def fixtures(kind: str) -> list[ParameterSet]:
    """Fixtures in the repository and, where it lies beside the clone, the shared folder."""
    found = {path.name: path for path in SHARED.glob('hlrc_*.npz')}
    found |= {path.name: path for path in DATA.glob('hlrc_*.npz')}
    slides = kind == 'slide'
    names = [n for n in sorted(found) if 'train' not in n and ('slide' in n) == slides]
    # Of the shared ones the sizes and windows that the repository has not: with `--all`.
    return [
        pytest.param(path, id=path.stem, marks=[] if path.parent == DATA else pytest.mark.slow)
        for path in map(found.get, names)
    ]


@lru_cache  # of three; tests come in any order
def network_of(preset: str) -> HLRC:
    """Build the preset with the weights of the fixtures, through the checkpoint converter."""
    network = build_network(preset).eval()
    state = published_state(network, preset)
    hlrc_checkpoints.load_published(network, state)
    return network


def published_state(network: HLRC, preset: str) -> dict[str, torch.Tensor]:
    """Make a state dict with published names."""
    own = {
        hlrc_checkpoints.published_name(name): value
        for name, value in network.state_dict().items()
    }
    state = {}
    for name, shape in hlrc_checkpoints.published_shapes(network).items():
        if name.endswith(CONSTANTS):
            state[name] = own[name]
        else:
            state[name] = torch.from_numpy(weight(name, tuple(shape), SALTS[preset]))
    return state


def preset_of(path: Path) -> str:
    return '_'.join(path.stem.split('_')[:2])


@pytest.fixture(autouse=True)
def _no_grad() -> Iterator[None]:
    with torch.no_grad():
        yield


def routing(network: HLRC, gate: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    weights = network.region.experts.route(gate)
    top = weights.topk(network.region.experts.top_k, -1)
    return top.values.flatten(0, 2), top.indices.flatten(0, 2)


def tensors_along(network: HLRC, image: torch.Tensor) -> dict[str, torch.Tensor]:
    """Run the network step by step and collect what the fixtures recorded."""
    kept: dict[str, torch.Tensor] = {}
    hooks = [
        module.register_forward_hook(lambda _m, _i, output, name=name: kept.update({name: output}))
        for name, module in {
            'psp_out': network.semantic.decoder.bottleneck,
            'eff_stage0': network.region.trunk.stem,
            'affinity_feat': network.region.affinity_head,
            'felc16': network.local.felc_16,
            'felc8': network.local.felc_8,
            'experts': network.region.experts,
            'spa': network.local.trunk,
        }.items()
    ]
    kept['haar_lowres'] = network.low_pass(image)
    maps, feature = network.semantic(kept['haar_lowres'])
    kept |= {f'swin{stage}': value for stage, value in enumerate(maps)}
    kept['uper_feat'], kept['uper_logits'] = feature, network.semantic.logits(feature)
    kept['lap1'], kept['lap2'] = network.region.residuals(image)
    kept['effvit_in9'] = network.region.trunk_input(image)
    affinity, gate, trunk_maps = network.region(image)
    kept |= {f'eff_stage{stage + 1}': value for stage, value in enumerate(trunk_maps)}
    kept['gate_logits'] = gate.flatten(0, 2)
    kept['route_weight'], kept['route_index_u8'] = routing(network, gate)
    kept['moe_out'] = published_layout(kept.pop('experts')[0])
    batch, height, width = affinity.shape[:3]
    kept['affinity'] = published_layout(affinity).reshape(batch, 9, 4, 4, height, width)
    local = network.local(image, trunk_maps)
    kept['spa_stage2'], kept['spa_stage3'] = kept.pop('spa')[1:]
    kept['compression'] = local[0]
    kept['region_out'] = assign(feature, affinity)
    size = kept['region_out'].shape[2:]
    kept['spa_up'] = torch.nn.functional.interpolate(local[0], size=size, mode='bilinear')
    kept['seg_quarter'] = network.fuse(feature, affinity, local)
    kept['final'] = network(image)
    for hook in hooks:
        hook.remove()
    return kept


def published_layout(affinity: torch.Tensor) -> torch.Tensor:
    """(N, h, w, sub-pixel x neighbour) -> (N, neighbour x sub-pixel, h, w)."""
    batch, height, width, _ = affinity.shape
    cells = affinity.reshape(batch, height, width, 16, 9).permute(0, 4, 3, 1, 2)
    return cells.reshape(batch, 144, height, width)


def without_border_terms(affinity: np.ndarray) -> np.ndarray:
    """Zero the affinities to neighbours outside the map, which only ever meet zero tokens."""
    affinity = affinity.copy()
    affinity[:, 0:3, ..., 0, :] = 0
    affinity[:, 6:9, ..., -1, :] = 0
    affinity[:, 0::3, ..., 0] = 0
    affinity[:, 2::3, ..., -1] = 0
    return affinity


@pytest.mark.parametrize('path', fixtures('whole'))
def test_every_recorded_tensor(path: Path) -> None:
    fixture = Fixture(path)
    found = tensors_along(network_of(preset_of(path)), torch.from_numpy(fixture.image))
    for name in fixture.tensors():
        value = found[name].numpy()
        if name == 'affinity':
            value = without_border_terms(value)
        limit = LOGIT_TOLERANCE if name == 'final' else INTERMEDIATE_TOLERANCE
        assert fixture.error(name, value) <= limit, name
    mask = found['final'].argmax(1)[0].numpy()
    assert (mask == fixture.arrays['argmax_u8']).mean() >= 0.9999
    assert np.array_equal(found['route_index_u8'].numpy(), fixture.arrays['route_index_u8'])


@pytest.mark.parametrize('path', fixtures('slide'))
def test_sliding_window(path: Path) -> None:
    fixture, network = Fixture(path), network_of(preset_of(path))
    crop, stride = fixture.meta['crop'][0], fixture.meta['stride'][0]
    size, original = fixture.image.shape[2:], fixture.meta['ori_shape']

    def predict(window: tuple[int, int, int, int]) -> np.ndarray:
        top, left, height, width = window
        part = fixture.image[:, :, top : top + height, left : left + width]
        return network(torch.from_numpy(part))[0].numpy()

    bands = [band.scores for band in slide(size, crop, stride, predict)]
    logits = np.concatenate(bands, 1)
    assert fixture.error('slide_logits', logits[None]) <= LOGIT_TOLERANCE
    rescaled = np.concatenate(list(resized_rows(bands, size, original)), 1)
    assert fixture.error('slide_logits_rescaled', rescaled[None]) <= LOGIT_TOLERANCE
    assert (arg_max(rescaled) == fixture.arrays['argmax_u8']).mean() >= 0.9999


def test_a_wrong_network_would_be_noticed() -> None:
    path = DATA / 'hlrc_cityscapes_128x256.npz'
    fixture, network = Fixture(path), network_of('hlrc_cityscapes')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network.region.experts, 'top_k', 1)
        logits = network(torch.from_numpy(fixture.image))
    assert fixture.error('final', logits.numpy()) > 0.1
