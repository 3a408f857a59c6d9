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

"""A network of the user's: named as module:attribute, trained, converted, segmented with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='networks are PyTorch')

from tiny import CLASSES, write_mosaics, write_recipe

from uhr_seg_ros.cli.main import main
from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.export.checkpoints import open_checkpoint
from uhr_seg_ros.networks.backbones.normalization import normalized
from uhr_seg_ros.networks.presets import build_network, options_of
from uhr_seg_ros.pipelines.segmenter import Segmenter

MODULE = """
from torch import nn

from uhr_seg_ros.networks.presets import SegmentationNetwork, SingleNetwork


def build(classes, *, width=4, kernel=3):
    body = nn.Sequential(
        nn.Conv2d(3, width, kernel, 2, kernel // 2), nn.ReLU(), nn.Conv2d(width, classes, 1)
    )
    return SingleNetwork(body, classes, factor=2, stride=4)


def needs(classes, *, width):
    return build(classes, width=width)


def anything(classes, **options):
    return build(classes, **options)


def bare(classes):
    return nn.Conv2d(3, classes, 1)


def miscounted(classes):
    return build(classes + 1)


def unknown_kind(classes):
    network = build(classes)
    network.kind = 'mine'
    return network


def unaligned(classes):
    network = build(classes)
    network.stride = 0
    return network


def nothing():
    pass


class Other(SegmentationNetwork):
    kind = 'single'

    def __init__(self, classes):
        super().__init__()
        self.classes = classes
        self.layer = nn.Conv2d(3, classes, 1)


not_callable = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write a module, and return its name."""
    name = f'own_network_{tmp_path.name.replace("-", "_")}'
    (tmp_path / f'{name}.py').write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def train(tmp_path: Path, network: str, *options: str, **fields: object) -> int:
    root = tmp_path / 'mosaics'
    if not root.exists():
        write_mosaics(root)
    recipe = write_recipe(
        tmp_path / 'r.yaml', network=network, steps=2, validate_every=2, **fields
    )
    command = ['train', '--config', str(recipe), '--root', str(root), '--device', 'cpu']
    return main([*command, '--output', str(tmp_path / 'run'), *options])


def test_from_a_module_to_a_mask(
    module: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path, f'{module}:build', options={'width': 6}) == 0
    trained = load_bundle(tmp_path / 'run/bundle')
    assert (trained.kind.name, trained.network) == ('single', f'{module}:build')
    assert (trained.multiple, trained.low_res_factor, trained.classes) == (4, 2, CLASSES)
    path = tmp_path / 'run/last.pth'
    checkpoint = open_checkpoint(path)
    assert checkpoint.description is not None
    assert checkpoint.description.options == {'width': 6, 'kernel': 3}
    network = build_network(f'{module}:build', 5, width=6).eval()
    network.load_state_dict(checkpoint.tensors)
    image = np.random.default_rng(0).integers(0, 256, (37, 50, 3), np.uint8)
    padded = np.pad(image, [(0, 3), (0, 2), (0, 0)], 'edge')
    with torch.no_grad():
        expected = network(normalized(padded[None]))[0, :, :37, :50].argmax(0).numpy()
    with Segmenter(trained) as segmenter:
        assert (segmenter(image).mask == expected).mean() > 0.999
    # The code that a file names runs only if the user names it too.
    convert = ['convert', str(path), '--output', str(tmp_path / 'model')]
    assert main(convert) == 2
    assert f'name it by --network {module}:build' in capsys.readouterr().err
    assert main([*convert, '--network', f'{module}:anything']) == 2
    assert main([*convert, '--network', f'{module}:build']) == 0
    graphs = [load_bundle(each).graphs for each in (tmp_path / 'model', tmp_path / 'run/bundle')]
    assert graphs[0]['network'].sha256 == graphs[1]['network'].sha256


def test_options_are_those_of_the_function(module: str) -> None:
    assert options_of(f'{module}:build', {'kernel': 5}) == {'width': 4, 'kernel': 5}
    assert options_of(f'{module}:anything', {'width': 5}) == {'width': 5}
    assert options_of(f'{module}:needs', {'width': 2}) == {'width': 2}


@pytest.mark.parametrize(
    ('name', 'options', 'text'),
    [
        ('build', {'depth': 3}, 'has no option depth: width, kernel'),
        ('build', {'width': -1}, 'cannot be built with width -1'),
        ('needs', {}, 'needs a value for its option width'),
        ('bare', {}, 'which returned Conv2d.*expected .*SegmentationNetwork'),
        ('miscounted', {}, 'was built for 5 classes and has 6'),
        ('unknown_kind', {}, "has kind 'mine', expected one of two_branch, single"),
        ('unaligned', {}, 'has stride 0, expected a whole number from 1 on'),
        ('nothing', {}, r'takes no number of classes: expected build\(classes'),
        ('not_callable', {}, 'expected a function or a class'),
        ('missing', {}, 'has no missing'),
    ],
)
def test_what_cannot_be_built(
    module: str, name: str, options: dict[str, object], text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        build_network(f'{module}:{name}', 5, **options)


def test_a_class_that_is_not_exported_is_refused_before_training(
    module: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path, f'{module}:Other') == 2
    error = capsys.readouterr().err
    assert 'Other of kind single cannot be exported: expected ' in error
    assert not (tmp_path / 'run/last.pth').exists()


def test_a_module_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path, 'nowhere.at_all:build') == 2
    assert 'there is no module nowhere' in capsys.readouterr().err
