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

"""What FCtL starts from: the stages that are trained before it."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip('torch', reason='the networks need torch')

from torch.nn import functional

from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.core.errors import CheckpointError, ConfigError
from uhr_seg_ros.export.export import export_bundle
from uhr_seg_ros.export.pretrained import load_pretrained
from uhr_seg_ros.networks.backbones.vgg import VGG16
from uhr_seg_ros.networks.fctl import decoders
from uhr_seg_ros.networks.fctl.patch_network import PatchNetwork
from uhr_seg_ros.networks.presets import build_network

SIDE = 92


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks with a few percent of the weights."""
    widths = (64, 128, 256, 512, 512)
    stages = tuple((1, width // 16) for width in widths)
    monkeypatch.setattr('uhr_seg_ros.networks.backbones.vgg.STAGES', stages)
    monkeypatch.setattr(VGG16, 'widths', tuple(width for _, width in stages[2:]))
    monkeypatch.setattr(decoders, 'HIDDEN', 16)
    torch.manual_seed(0)


def stage(name: str, dataset: str = 'inria') -> PatchNetwork:
    return build_network(f'fctl_{dataset}', 3, side=SIDE, stage=name)


def saved(network: torch.nn.Module, path: Path) -> Path:
    torch.save({'state_dict': network.state_dict()}, path)
    return path


def test_the_full_network_starts_from_its_stages(tmp_path: Path) -> None:
    medium, large, full = (stage(name) for name in ('medium', 'large', 'full'))
    new = {name: value.clone() for name, value in full.state_dict().items()}
    path = saved(medium, tmp_path / 'medium.pth')
    load_pretrained(full, 'patch', path)
    load_pretrained(full, 'medium', path)
    load_pretrained(full, 'large', saved(large, tmp_path / 'large.pth'))
    theirs = {'medium': medium.state_dict(), 'large': large.state_dict()}
    for name, value in full.state_dict().items():
        room, _, rest = name.partition('.')
        if room == 'extractors':
            context, _, rest = rest.partition('.')
            expected = theirs[context][f'backbone.{rest}']
        elif name.startswith('fusion.attend.medium.'):
            expected = theirs['medium'][rest]
        elif room == 'fusion':
            expected = new[name]
        else:
            expected = theirs['medium'][name]
        assert torch.equal(value, expected), name


def test_a_stage_starts_from_the_one_before(tmp_path: Path) -> None:
    plain = stage('plain')
    path = saved(plain, tmp_path / 'plain.pth')
    for dataset, name in (('inria', 'medium'), ('deepglobe', 'large'), ('deepglobe', 'full')):
        network = stage(name, dataset)
        load_pretrained(network, 'patch', path)
        found = network.state_dict()
        assert all(torch.equal(found[key], value) for key, value in plain.state_dict().items())


def test_checkpoints_that_do_not_fit(tmp_path: Path) -> None:
    path = saved(stage('plain'), tmp_path / 'plain.pth')
    with pytest.raises(CheckpointError, match='the large part, which this network does not have'):
        load_pretrained(stage('medium'), 'large', path)
    with pytest.raises(CheckpointError, match='of another shape: head.classify.6.weight'):
        load_pretrained(build_network('fctl_inria', 5, side=SIDE), 'patch', path)
    other = saved(build_network('fast_scnn', 3), tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match='has not the encoder of this network, 10 of its'):
        load_pretrained(stage('full'), 'patch', other)


@pytest.mark.parametrize(
    ('dataset', 'name', 'trained'),
    [
        ('inria', 'plain', {'backbone', 'head'}),
        ('inria', 'large', {'backbone', 'head', 'attend'}),
        ('deepglobe', 'large', {'backbone', 'head'}),
        ('deepglobe', 'full', {'backbone', 'head', 'fusion'}),
    ],
)
def test_what_a_stage_trains_and_sees(dataset: str, name: str, trained: set[str]) -> None:
    network = stage(name, dataset).train()
    contexts = {'plain': {}, 'large': {'large': 3}, 'full': {'medium': 3, 'large': 'whole'}}[name]
    if dataset == 'deepglobe' and name == 'large':
        contexts = {'large': 'whole'}
    assert {key: context.factor for key, context in network.contexts.items()} == contexts
    image, labels = torch.randn(1, 3, 2 * SIDE, 2 * SIDE), torch.zeros(1, 2 * SIDE, 2 * SIDE)
    outputs = network.forward_train(image)
    assert outputs['refine'].shape == (1, 3, SIDE, SIDE)
    assert network.visible_labels(labels.long(), outputs).shape == (1, SIDE, SIDE)
    outputs['refine'].sum().backward()
    found = {key.partition('.')[0] for key, p in network.named_parameters() if p.grad is not None}
    assert found == trained
    with torch.no_grad():
        assert network.eval()(image).shape == (1, 3, 2 * SIDE, 2 * SIDE)


@torch.no_grad()
def test_whole_images_are_cut_where_their_patches_lie() -> None:
    """All patches together show the logits of the whole image, enlarged."""
    network = stage('large', 'deepglobe').eval()
    for parameter in network.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
    image, patch = torch.randn(1, 3, 150, 150), torch.zeros(1, 3, SIDE, SIDE)
    outputs = network.forward_train(image)['refine']
    found = network.segment(patch, {'large': outputs}, torch.tensor([[0, 0, 1.0, 1.0]]))
    assert torch.allclose(found, outputs, atol=1e-5)
    window = torch.tensor([[0.25, 0.5, 0.5, 0.5]])
    quarter = network.segment(patch, {'large': outputs}, window)
    part = outputs[..., SIDE // 4 : -SIDE // 4, SIDE // 2 :]
    enlarged = functional.interpolate(part, size=(SIDE, SIDE), mode='bilinear')
    assert torch.allclose(quarter[..., 1:-1, 1:], enlarged[..., 1:-1, 1:], atol=1e-5)


def test_an_unknown_stage() -> None:
    known = 'plain, medium, large, full'
    with pytest.raises(ConfigError, match=f"stage 'half' is unknown, known: {known}"):
        stage('half')


@pytest.mark.slow  # an export takes seconds
@pytest.mark.parametrize(('dataset', 'name'), [('inria', 'medium'), ('deepglobe', 'large')])
def test_stages_become_bundles(tmp_path: Path, dataset: str, name: str) -> None:
    """Export compares with torch."""
    network = stage(name, dataset)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.3 * torch.randn_like(parameter) if parameter.ndim > 1 else 0.1)
    classes = ClassSet(('a', 'b', 'c'), ((0, 0, 0),) * 3)
    bundle = export_bundle(network, tmp_path, name='s', preset=f'fctl_{dataset}', classes=classes)
    assert set(bundle.graphs) == {name, 'patch'}
