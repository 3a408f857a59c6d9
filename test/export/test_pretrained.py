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

"""Starts: files with the published names and shapes, own checkpoints, and what follows."""

from __future__ import annotations

from collections.abc import Callable
import json
from pathlib import Path

from parity import SHARED
import pytest

torch = pytest.importorskip('torch', reason='the networks need torch')

from logged import logged
from torch.nn import functional

from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.core.errors import CheckpointError
from uhr_seg_ros.export.description import Description, KEY
from uhr_seg_ros.export.hlrc_checkpoints import published_name
from uhr_seg_ros.export.pretrained import load_pretrained
from uhr_seg_ros.networks.backbones import efficientnet_lite, hrnet, mit
from uhr_seg_ros.networks.backbones.efficientnet_lite import EfficientNetLite
from uhr_seg_ros.networks.backbones.efficientvit import EfficientViTTrunk
from uhr_seg_ros.networks.backbones.hrnet import HRNet, hrnet_segmenter
from uhr_seg_ros.networks.backbones.swin import Swin
from uhr_seg_ros.networks.backbones.vgg import VGG16
from uhr_seg_ros.networks.baselines.single import SingleNetwork
from uhr_seg_ros.networks.deformation.network import DeformedNetwork
from uhr_seg_ros.networks.hlrc.network import HLRC
from uhr_seg_ros.networks.presets import build_network, options_of

Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope='module')
def network() -> HLRC:
    torch.manual_seed(0)
    return build_network('hlrc_inria').eval()


@pytest.fixture(scope='module')
def swin() -> Swin:
    torch.manual_seed(1)
    return randomised(Swin())


@pytest.fixture(scope='module')
def trunk() -> EfficientViTTrunk:
    torch.manual_seed(2)
    return randomised(EfficientViTTrunk(3))


def randomised(module: torch.nn.Module) -> torch.nn.Module:
    """Move every tensor away from ones and zeros, so that a mix-up shows."""
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            low = 0.5 if 'norm' in name and name.endswith(('weight', 'var')) else -0.1
            value.uniform_(low, low + 0.2)
    return module.eval()


def mmseg_file(swin: Swin) -> Tensors:
    """Name tensors as the file of mmsegmentation does; the norms of the outputs are not in it."""
    found = {
        published_name(f'semantic.backbone.{name}'): value
        for name, value in swin.state_dict().items()
        if not name.startswith('norms.')
    }
    return found | {'backbone.norm.weight': torch.ones(768), 'backbone.norm.bias': torch.ones(768)}


def original_file(swin: Swin) -> Tensors:
    """Name and order tensors as the file of Swin's authors does."""
    renamed = {}
    for name, value in mmseg_file(swin).items():
        name = name.removeprefix('backbone.').replace('stages.', 'layers.')
        name = name.replace('projection', 'proj').replace('attn.w_msa.', 'attn.')
        name = name.replace('ffn.layers.0.0', 'mlp.fc1').replace('ffn.layers.1', 'mlp.fc2')
        if 'downsample' in name:
            value = in_blocks(value)
        renamed[name] = value
    renamed['layers.0.blocks.1.attn_mask'] = torch.zeros(64, 49, 49)
    return renamed | {'head.weight': torch.ones(1000, 768), 'head.bias': torch.ones(1000)}


def in_blocks(merging: torch.Tensor) -> torch.Tensor:
    """Return inputs of a patch merging in the order of the original: four blocks of channels."""
    channels = range(merging.shape[-1] // 4)
    blocks = ((0, 0), (1, 0), (0, 1), (1, 1))
    order = [channel * 4 + 2 * dy + dx for dy, dx in blocks for channel in channels]
    return merging[..., order]


def efficientvit_file(trunk: EfficientViTTrunk) -> Tensors:
    """Name tensors as the file of EfficientViT-B2 does, which also has a last stage and a head."""
    found = {
        published_name(f'region.trunk.{name}').replace('refine_head.efficientvit.', 'backbone.'): v
        for name, v in trunk.state_dict().items()
    }
    last = 'backbone.stages.3.op_list.0.main.inverted_conv.conv.weight'
    head = 'head.op_list.0.conv.weight'
    return found | {last: torch.ones(768, 192, 1, 1), head: torch.ones(2304, 384, 1, 1)}


@pytest.mark.parametrize(
    ('make', 'wrapper'),
    [(mmseg_file, 'state_dict'), (mmseg_file, None), (original_file, 'model')],
)
def test_swin(
    network: HLRC, swin: Swin, tmp_path: Path, make: Callable, wrapper: str | None
) -> None:
    path = tmp_path / 'swin.pth'
    tensors = make(swin)
    torch.save(tensors if wrapper is None else {wrapper: tensors, 'meta': {}}, path)
    untouched = network.region.trunk.stem[0].conv.weight.clone()
    load_pretrained(network, 'semantic', path)
    backbone = network.semantic.backbone
    image = torch.randn(1, 3, 60, 92)
    with torch.no_grad():
        pairs = zip(backbone(image), swin(image), backbone.norms, swin.norms, strict=True)
        for found, expected, own, other in pairs:
            # The norms of the outputs are new: the maps agree before them.
            size = (found.shape[1],)
            plain = [
                functional.layer_norm((m.permute(0, 2, 3, 1) - n.bias) / n.weight, size)
                for m, n in ((found, own), (expected, other))
            ]
            assert torch.allclose(*plain, atol=1e-4)
            assert (own.weight == 1).all()
    assert torch.equal(network.region.trunk.stem[0].conv.weight, untouched)


def test_the_merging_is_that_of_the_original(swin: Swin) -> None:
    """Compare with the original's own four slices of a map."""
    merge, x = swin.merges[0], torch.randn(2, 6, 8, 96)
    slices = [x[:, dy::2, dx::2] for dy, dx in ((0, 0), (1, 0), (0, 1), (1, 1))]
    weight, bias = in_blocks(merge.norm.weight), in_blocks(merge.norm.bias)
    normed = functional.layer_norm(torch.cat(slices, -1), (384,), weight, bias)
    expected = functional.linear(normed, in_blocks(merge.reduction.weight))
    assert torch.allclose(merge(x), expected, atol=1e-5)


@pytest.mark.parametrize('module_prefix', ['', 'module.'])
def test_efficientvit(
    network: HLRC, trunk: EfficientViTTrunk, tmp_path: Path, module_prefix: str
) -> None:
    path = tmp_path / 'b2.pt'
    tensors = {module_prefix + name: value for name, value in efficientvit_file(trunk).items()}
    torch.save({'state_dict': tensors}, path)
    load_pretrained(network, 'detail', path)
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        for found, expected in zip(network.local.trunk(image), trunk(image), strict=True):
            assert torch.equal(found, expected)
        # Each third of the nine channels meets the whole kernel: the sum of three images.
        nine = torch.randn(1, 9, 64, 96)
        thirds = nine[:, :3] + nine[:, 3:6] + nine[:, 6:]
        for found, expected in zip(network.region.trunk(nine), trunk(thirds), strict=True):
            assert torch.allclose(found, expected, atol=1e-4)


def test_efficientnet_lite(tmp_path: Path) -> None:
    path = tmp_path / 'efficientnet-lite0.pth'
    given = EfficientNetLite()
    tensors = {efficientnet_lite.published_name(n): v for n, v in given.state_dict().items()}
    others = ('_blocks.15._expand_conv.weight', '_conv_head.weight', '_bn1.bias', '_fc.weight')
    torch.save(tensors | {name: torch.ones(2) for name in others}, path)
    places = {
        'hlrc_s': 'semantic.backbone',
        'semantic_s': 'body.branch.backbone',
        'deform_s': 'inner.body.branch.backbone',
    }
    for preset, place in places.items():
        network = build_network(preset)
        load_pretrained(network, 'semantic', path)
        found = network.get_submodule(place).groups[2][1].block.depth.conv.weight
        assert torch.equal(found, given.groups[2][1].block.depth.conv.weight)


def test_hrnet(tmp_path: Path) -> None:
    """The names of its authors, with what a classifier has on top of it."""
    torch.manual_seed(0)
    narrow = SingleNetwork(hrnet_segmenter(3, 4), 3, factor=1, stride=1)
    network = DeformedNetwork(narrow, size=(8, 8), warped_size=(8, 8), radius=2)
    donor = randomised(HRNet(4))
    tensors = {hrnet.published_name(name): value for name, value in donor.state_dict().items()}
    assert {
        'conv1.weight',
        'bn2.running_var',
        'layer1.0.downsample.1.weight',
        'transition1.0.0.weight',
        'transition3.3.0.1.bias',
        'stage2.0.branches.1.3.bn2.weight',
        'stage3.3.fuse_layers.2.0.0.0.weight',
        'stage4.2.fuse_layers.0.3.1.bias',
    } <= set(tensors)
    others = ('incre_modules.0.0.conv1.weight', 'final_layer.0.bias', 'classifier.weight')
    path = tmp_path / 'hrnet.pth'
    torch.save(tensors | {name: torch.ones(2) for name in others}, path)
    load_pretrained(network, 'encoder', path)
    found, image = network.inner.body[0].eval(), torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(found(image), donor(image))
    with pytest.raises(CheckpointError, match='the encoder part, which this network does not'):
        load_pretrained(build_network('fast_scnn'), 'encoder', path)


#: Of a stage: the name in transformers, and that in the authors' file.
MIT_NAMES = {
    'patch_embeddings.1.proj.weight': 'patch_embed2.proj.weight',
    'patch_embeddings.1.layer_norm.bias': 'patch_embed2.norm.bias',
    'block.1.0.layer_norm_1.weight': 'block2.0.norm1.weight',
    'block.1.0.attention.self.query.bias': 'block2.0.attn.q.bias',
    'block.1.0.attention.self.key.weight': 'block2.0.attn.kv.weight',
    'block.1.0.attention.self.value.weight': 'block2.0.attn.kv.weight',
    'block.1.0.attention.self.sr.weight': 'block2.0.attn.sr.weight',
    'block.1.0.attention.self.layer_norm.weight': 'block2.0.attn.norm.weight',
    'block.1.0.attention.output.dense.weight': 'block2.0.attn.proj.weight',
    'block.1.0.layer_norm_2.weight': 'block2.0.norm2.weight',
    'block.1.0.mlp.dense1.weight': 'block2.0.mlp.fc1.weight',
    'block.1.0.mlp.dwconv.dwconv.weight': 'block2.0.mlp.dwconv.dwconv.weight',
    'block.1.0.mlp.dense2.weight': 'block2.0.mlp.fc2.weight',
    'layer_norm.1.weight': 'norm2.weight',
}


@pytest.mark.parametrize(('ours', 'authors'), MIT_NAMES.items())
def test_names_of_mit(ours: str, authors: str) -> None:
    assert mit.authors_name(f'encoder.encoder.{ours}') == authors
    assert mit.published_name(f'encoder.encoder.{ours}') == f'segformer.encoder.{ours}'


@pytest.mark.slow  # transformers takes seconds to import
def test_mit_in_both_namings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip('transformers', reason='MiT needs transformers')
    monkeypatch.setattr(mit, 'DEPTHS', {'mit_b2': (1, 1, 2, 1)})
    monkeypatch.setattr(mit, 'WIDTHS', (8, 16, 40, 64))
    torch.manual_seed(0)
    donor = randomised(mit.MixTransformer('mit_b2'))
    state = donor.state_dict()
    authors = {}
    for name, value in state.items():
        there = mit.authors_name(name)
        # Keys come before values in the module.
        authors[there] = torch.cat([authors[there], value]) if there in authors else value
    files = {
        'authors.pth': authors | {'head.weight': torch.ones(1000, 64)},
        'transformers.bin': {mit.published_name(name): value for name, value in state.items()}
        | {'classifier.bias': torch.ones(1000)},
    }
    image = torch.randn(1, 3, 64, 64)
    for file, tensors in files.items():
        torch.save(tensors, tmp_path / file)
        network = torch.nn.Module()
        network.backbone = mit.MixTransformer('mit_b2').eval()
        load_pretrained(network, 'patches', tmp_path / file)
        with torch.no_grad():
            for found, expected in zip(network.backbone(image), donor(image), strict=True):
                assert torch.equal(found, expected)


def test_vgg(tmp_path: Path) -> None:
    """The names of torchvision: 13 convolutions in one list, and a classifier."""
    layers = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    torch.manual_seed(0)
    donor = [layer for layer in VGG16().modules() if isinstance(layer, torch.nn.Conv2d)]
    tensors = {
        f'features.{index}.{leaf}': value
        for index, layer in zip(layers, donor, strict=True)
        for leaf, value in layer.state_dict().items()
    }
    path = tmp_path / 'vgg16.pth'
    torch.save(tensors | {'classifier.0.weight': torch.zeros(1)}, path)
    network = torch.nn.Module()  # the rest of an FCtL has 120 million weights
    network.backbone = VGG16(border=1)
    network.extractors = torch.nn.ModuleDict({'medium': VGG16(border=1)})
    load_pretrained(network, 'patches', path)
    for part in (network.backbone, network.extractors['medium']):
        assert torch.equal(part.stages[4][4].weight, tensors['features.28.weight'])
        assert torch.equal(part.stages[2][0].bias, tensors['features.10.bias'])


def test_names_and_shapes_are_the_published_ones(swin: Swin, trunk: EfficientViTTrunk) -> None:
    path = SHARED / 'hlrc_state_dict_keys.json'
    if not path.is_file():
        pytest.skip('the published names are not here')
    published = json.loads(path.read_text(encoding='utf-8'))['cityscapes']['tensors']
    shapes = {name: tuple(value['shape']) for name, value in published.items()}
    ours = {name: tuple(value.shape) for name, value in mmseg_file(swin).items()}
    # The norm of the classifier's end; the network has one per output instead.
    expected = {
        name: shape
        for name, shape in shapes.items()
        if name.startswith('backbone.') and not name.startswith('backbone.norm')
    }
    assert {n: s for n, s in ours.items() if not n.startswith('backbone.norm.')} == expected
    prefix = 'refine_head.spa_branch.'
    expected = {
        name.replace(prefix, 'backbone.'): shape
        for name, shape in shapes.items()
        if name.startswith(prefix)
    }
    ours = {name: tuple(value.shape) for name, value in efficientvit_file(trunk).items()}
    assert {n: s for n, s in ours.items() if '.stages.3.' not in n and 'head' not in n} == expected


@pytest.mark.parametrize(
    'preset', ['hlrc_s', 'fast_scnn', pytest.param('segformer_b0', marks=pytest.mark.slow)]
)
def test_the_whole_network(tmp_path: Path, preset: str) -> None:
    if preset.startswith('segformer'):
        pytest.importorskip('transformers', reason='SegFormer needs transformers')
    path = tmp_path / 'best.pth'
    given = build_network(preset).state_dict()
    torch.save({'step': 3, 'state_dict': given}, path)
    network = build_network(preset)
    load_pretrained(network, 'network', path)
    assert all(torch.equal(given[name], value) for name, value in network.state_dict().items())


def test_the_whole_network_for_other_classes(tmp_path: Path) -> None:
    path = tmp_path / 'best.pth'
    given = build_network('hlrc_s').state_dict()
    torch.save(given, path)
    network = build_network('hlrc_s', 7)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    load_pretrained(network, 'network', path)
    for name, value in network.state_dict().items():
        source = before if 'classify' in name else given
        assert torch.equal(source[name], value), name


def of_classes(names: str) -> Description:
    colors = ((0, 0, 0),) * len(names)
    return Description('fast_scnn', {}, ClassSet(tuple(names), colors))


@pytest.mark.parametrize(
    ('theirs', 'ours', 'told', 'anew'),
    [
        ('abc', 'abc', '', False),
        (
            'abc',
            'acb',
            "layers start with new weights (class 1 'b' there, class 1 'c' here)",
            True,
        ),
        (
            'abc',
            'abcd',
            'new weights (3 classes (a, b, c) there, 4 classes (a, b, c, d) here)',
            True,
        ),
        (None, 'abc', 'does not name its classes: the last layers are taken as they are', False),
        (None, 'abcd', 'the last layers start with new weights (another number of classes)', True),
    ],
)
def test_last_layers_are_for_the_same_classes(
    tmp_path: Path, theirs: str | None, ours: str, told: str, anew: bool
) -> None:
    path = tmp_path / 'best.pth'
    given = build_network('fast_scnn', 3).state_dict()
    described = {KEY: of_classes(theirs).plain()} if theirs else {}
    torch.save({'state_dict': given} | described, path)
    network = build_network('fast_scnn', len(ours))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with logged() as lines:
        load_pretrained(network, 'network', path, of_classes(ours))
    for name, value in network.state_dict().items():
        source = before if anew and name.startswith('body.classify.3.') else given
        assert torch.equal(source[name], value), name
    assert told in ''.join(lines)
    assert len(lines) == bool(told)


def test_a_start_with_other_options_is_told(tmp_path: Path) -> None:
    small, large = (
        {'inner': 'fast_scnn', 'warped_size': [n, n], 'size': [16, 16]} for n in (32, 64)
    )
    classes, path = of_classes('abc').classes, tmp_path / 'best.pth'
    said, ours = (
        Description('deform_s', options_of('deform_s', options), classes)
        for options in (small, large)
    )
    given = build_network('deform_s', 3, **small).state_dict()
    torch.save({'state_dict': given, KEY: said.plain()}, path)
    with logged() as lines:
        load_pretrained(build_network('deform_s', 3, **large), 'network', path, ours)
    assert lines == [
        f'{path} was trained with warped_size [32, 32] and starts a network with [64, 64]'
    ]


def test_a_checkpoint_of_another_network(tmp_path: Path) -> None:
    path = tmp_path / 'best.pth'
    torch.save(build_network('hlrc_s', experts=8).state_dict(), path)
    with pytest.raises(CheckpointError, match='experts') as error:
        load_pretrained(build_network('hlrc_s'), 'network', path)
    assert str(path) in str(error.value)


def without(tensors: Tensors, part: str) -> Tensors:
    return {name: value for name, value in tensors.items() if part not in name}


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        (
            lambda t: without(t, 'stages.2.blocks.5.norm2'),
            r'2 missing: stages\.2\.blocks\.5\.norm2\.weight, stages\.2\.blocks\.5\.norm2\.bias',
        ),
        (lambda t: t | {'backbone.neck.weight': torch.ones(3)}, r'1 unexpected: neck\.weight'),
        (
            lambda t: t | {'backbone.patch_embed.norm.bias': torch.ones(3)},
            r'1 of another shape: patch_embed\.norm\.bias \(3,\) for \(96,\)',
        ),
        (
            lambda t: (
                t
                | {
                    'backbone.stages.0.blocks.0.attn.w_msa.relative_position_index': torch.zeros(
                        49, 49, dtype=torch.int64
                    )
                }
            ),
            r'1 with other values: stages\.0\.blocks\.0\S+_index is a constant',
        ),
        (
            lambda t: t | {'backbone.patch_embed.norm.bias': torch.ones(96, dtype=torch.int64)},
            r'patch_embed\.norm\.bias is int64, expected float32',
        ),
        (lambda t: without(t, 'stages.'), r'missing: (\S+, ){11}\S+ and \d+ more'),
        (lambda t: without(t, 'patch_embed.'), 'is not a known pre-trained file'),
    ],
)
def test_a_file_that_does_not_fit(
    network: HLRC, swin: Swin, tmp_path: Path, change: Callable, text: str
) -> None:
    path = tmp_path / 'swin.pth'
    torch.save(change(mmseg_file(swin)), path)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(CheckpointError, match=text) as error:
        load_pretrained(network, 'semantic', path)
    assert str(path) in str(error.value)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_a_file_of_another_backbone(network: HLRC, swin: Swin, tmp_path: Path) -> None:
    path = tmp_path / 'swin.pth'
    torch.save(mmseg_file(swin), path)
    with pytest.raises(CheckpointError, match='the detail part of this network is EfficientViT'):
        load_pretrained(network, 'detail', path)
    with pytest.raises(CheckpointError, match='the detail part, which this network does not have'):
        load_pretrained(build_network('fast_scnn'), 'detail', path)


def test_no_file(network: HLRC, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match='does not exist'):
        load_pretrained(network, 'semantic', tmp_path / 'none.pth')
