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

"""``uhr_seg convert``: checkpoints in one file, and released ones in parts."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='the bundle is exported')

from torch import nn

from uhr_seg_ros.cli.convert import files_of, read_weights
from uhr_seg_ros.cli.main import main
from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.core.domain import Domain
from uhr_seg_ros.core.program import FAILED, OK
from uhr_seg_ros.export.checkpoints import load_state
from uhr_seg_ros.export.released import own_state_dict, RELEASED
from uhr_seg_ros.networks.backbones.normalization import normalized
from uhr_seg_ros.networks.deformation.inverse import inverse_grid
from uhr_seg_ros.networks.presets import build_network, SegmentationNetwork
from uhr_seg_ros.pipelines.segmenter import Segmenter

PARTS = {
    'fctl_inria': ('patch', 'medium', 'large'),
    'fctl_deepglobe': ('patch', 'medium', 'large'),
    'deform_cityscapes': ('saliency', 'compress', 'encoder', 'decoder'),
    'deform_deepglobe': ('saliency', 'compress', 'encoder', 'decoder'),
}


def source_of(preset: str) -> SegmentationNetwork:
    """Build a network whose every tensor differs from those of a new one."""
    torch.manual_seed(0)
    network = build_network(preset).eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(std=0.1)
                module.running_var.uniform_(0.9, 1.1)
                module.num_batches_tracked.fill_(7)
                module.weight.uniform_(0.9, 1.1)
                module.bias.normal_(std=0.1)
            elif isinstance(module, nn.Conv2d) and module.bias is not None:
                module.bias.normal_(std=0.1)
    return network


def blank(preset: str) -> SegmentationNetwork:
    """Build a network of zeros, which takes less than one with weights of its own."""
    with torch.device('meta'):
        network = build_network(preset)
    network.to_empty(device='cpu')
    for value in network.state_dict().values():
        value.zero_()
    return network


def released_files(network: SegmentationNetwork, preset: str, folder: Path) -> dict[str, Path]:
    """Write the weights of a network as they are released: part -> file."""
    state, released = network.state_dict(), RELEASED[preset]
    tensors = {
        part: {name: state[ours].clone() for ours, name in names.items()}
        for part, names in released.released_names(network).items()
    }
    files = {part: folder / f'{part}.pth' for part in tensors}
    for part, path in files.items():
        torch.save(tensors[part], path)
    if preset == 'fctl_inria':  # it mixes in another order than ours
        released.load_released(network, tensors)
    return files


def options(files: dict[str, Path]) -> list[str]:
    return [f'{part}={path}' for part, path in files.items()]


def command(preset: str, parts: Sequence[str], output: Path) -> list[str]:
    given = [word for part in parts for word in ('--part', part)]
    return ['convert', '--network', preset, *given, '--output', str(output)]


def same(one: nn.Module, other: nn.Module) -> bool:
    states = one.state_dict(), other.state_dict()
    return all(torch.equal(states[0][name], value) for name, value in states[1].items())


def load(
    network: SegmentationNetwork, preset: str, checkpoint: Path | None, parts: Sequence[str]
) -> dict:
    """Load weights as the command does, and give what the bundle tells of their files."""
    weights = read_weights(preset, checkpoint, parts)
    load_state(network, own_state_dict(network, preset, weights))
    return files_of(weights)


@pytest.mark.parametrize('preset', PARTS)
def test_parts_hold_every_tensor(preset: str) -> None:
    with torch.device('meta'):
        network = build_network(preset)
    names = RELEASED[preset].released_names(network)
    assert tuple(names) == PARTS[preset]
    assert sorted(ours for part in names.values() for ours in part) == sorted(network.state_dict())


#: One is really written and read; `test_fctl_parity.py` reads the parts of FCtL from memory.
SLOW = [
    pytest.param(name, marks=pytest.mark.slow)
    for name in ('fctl_inria', 'fctl_deepglobe', 'deform_deepglobe')
]


@pytest.mark.parametrize('preset', ['deform_cityscapes', *SLOW])
def test_parts(preset: str, tmp_path: Path) -> None:
    source, network = source_of(preset), blank(preset)
    assert not same(network, source)
    files = released_files(source, preset, tmp_path)
    assert tuple(files) == PARTS[preset]
    found = load(network, preset, None, options(files)[::-1])
    assert same(network, source)
    assert found['checkpoint'] == {part: f'{part}.pth' for part in files}
    hashes = {part: sha256(path.read_bytes()).hexdigest() for part, path in files.items()}
    assert found['checkpoint_sha256'] == hashes


@pytest.mark.parametrize(
    'preset',
    [
        *(pytest.param(p, marks=pytest.mark.slow) for p in ('deform_cityscapes', 'fctl_inria')),
        'fast_scnn',
    ],
)
def test_our_own_checkpoint_is_one_file(preset: str, tmp_path: Path) -> None:
    source, network = source_of(preset), blank(preset)
    path = tmp_path / 'last.pth'
    torch.save({'model': source.state_dict()}, path)
    found = load(network, preset, path, [])
    assert same(network, source)
    hashed = sha256(path.read_bytes()).hexdigest()
    assert found == {'checkpoint': 'last.pth', 'checkpoint_sha256': hashed}


@pytest.mark.slow
@torch.no_grad()
def test_the_bundle_computes_what_the_released_network_does(tmp_path: Path) -> None:
    preset = 'deform_cityscapes'
    source, output = source_of(preset), tmp_path / 'city'
    files = released_files(source, preset, tmp_path)
    words = command(preset, options(files), output)
    subprocess.run([sys.executable, '-m', 'uhr_seg_ros.cli', *words], check=True)
    bundle = load_bundle(output)
    assert (bundle.name, bundle.network, len(bundle.classes)) == ('city', preset, 19)
    assert set(bundle.provenance['checkpoint_sha256']) == set(PARTS[preset])
    image = np.random.default_rng(0).integers(0, 256, (256, 512, 3), np.uint8)
    planes = normalized(image[None])
    expected = source(planes)[0].numpy()
    hit = ~inverse_grid(source.look(planes)[1], image.shape[:2])[0].isnan().any(2).numpy()
    with Segmenter(bundle, 'onnxruntime') as segmenter:
        found = segmenter(image, logits=True)
    close = np.abs(found.logits - expected).max(0) <= 1e-3 * np.abs(expected).max()
    assert close[hit].mean() > 0.99  # a point at the border of two pixels may be on either


def test_one_file_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, output = tmp_path / 'last.pth', tmp_path / 'scnn'
    torch.save(source_of('fast_scnn').state_dict(), path)
    words = ['convert', '--network', 'fast_scnn', str(path), '--classes', 'aerial']
    words += ['--domain', 'view=oblique', '--domain', 'trained_on=villages']
    assert main([*words, '--output', str(output)]) == OK
    bundle = load_bundle(output)
    assert bundle.provenance['checkpoint'] == 'last.pth'
    assert bundle.domain == Domain(('oblique',), trained_on='villages')
    assert 'scnn is for: oblique, trained on villages\n' in capsys.readouterr().out


@pytest.fixture(scope='module')
def empty_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of files that are named like the parts, each with tensors of no network."""
    folder = tmp_path_factory.mktemp('parts')
    for part in PARTS['deform_cityscapes']:
        torch.save({'strange': torch.zeros(1)}, folder / f'{part}.pth')
    return folder


CITY = 'deform_cityscapes'


@pytest.mark.parametrize(
    ('preset', 'words', 'text'),
    [
        (
            CITY,
            ['--part', 'backbone=x.pth'],
            '--part backbone=x.pth: expected NAME=FILE with NAME'
            ' one of saliency, compress, encoder, decoder',
        ),
        (CITY, ['--part', 'encoder'], '--part encoder: expected NAME=FILE'),
        (CITY, ['--part', 'encoder='], '--part encoder=: expected NAME=FILE'),
        (
            CITY,
            ['--part', 'encoder=a.pth', '--part', 'encoder=b.pth'],
            '--part encoder=b.pth: encoder is a.pth already, give every part once',
        ),
        (CITY, ['--part', 'encoder=a.pth'], 'checkpoint a.pth does not exist'),
        (
            CITY,
            ['--part', 'encoder=encoder.pth'],
            'the weights of saliency are missing: give all of saliency, compress, encoder, decoder'
            ' (convert: --part)',
        ),
        (
            CITY,
            ['encoder.pth'],
            'encoder.pth does not hold a whole deform_cityscapes as `uhr_seg train`'
            ' writes it: give released weights by --part saliency=FILE --part compress=FILE',
        ),
        (
            CITY,
            ['encoder.pth', '--part', 'decoder=decoder.pth'],
            'encoder.pth beside --part decoder=decoder.pth: give one file, '
            'or --part saliency=FILE',
        ),
        (
            CITY,
            [],
            'no weights for deform_cityscapes: give the file of a checkpoint, or the'
            ' released ones by --part saliency=FILE',
        ),
        ('fctl_inria', ['--part', 'whole=x.pth'], 'NAME one of patch, medium, large'),
        ('hlrc_s', [], 'no weights for hlrc_s: give the file of a checkpoint\n'),
        (
            'hlrc_s',
            ['--part', 'patch=x.pth'],
            '--part patch=x.pth: hlrc_s has no parts, give its checkpoint as one file',
        ),
        ('deform_s', ['--part', 'encoder=x.pth'], 'deform_s has no parts'),
    ],
)
def test_what_does_not_go(
    preset: str,
    words: list[str],
    text: str,
    empty_files: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(empty_files)
    code = main(['convert', '--network', preset, *words, '--output', str(tmp_path / 'b')])
    assert code == FAILED
    assert text in capsys.readouterr().err
    assert not (tmp_path / 'b').exists()


def test_a_file_of_another_part_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with torch.device('meta'):
        network = build_network(CITY)
    state = network.state_dict()
    tensors = {
        # The encoder is large, and not looked at.
        part: {}
        if part == 'encoder'
        else {
            name: torch.zeros(state[ours].shape, dtype=state[ours].dtype)
            for ours, name in names.items()
        }
        for part, names in RELEASED[CITY].released_names(network).items()
    }
    tensors['encoder'], tensors['decoder'] = tensors['decoder'], {'strange': torch.zeros(1)}
    files = {part: tmp_path / f'{part}.pth' for part in tensors}
    for part, path in files.items():
        torch.save(tensors[part], path)
    assert main(command(CITY, options(files), tmp_path / 'b')) == FAILED
    error = capsys.readouterr().err
    assert 'part encoder: the checkpoint does not fit the network' in error
    assert 'unexpected:\n    cbr.0.weight' in error
