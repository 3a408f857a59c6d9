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

"""Checkpoints: published names in, or a refusal that lists what is wrong."""

from __future__ import annotations

from pathlib import Path

from parity import SALTS, weight
import pytest

torch = pytest.importorskip('torch', reason='the networks need torch')

from uhr_seg_ros.core.errors import CheckpointError, ConfigError
from uhr_seg_ros.export.checkpoints import read_checkpoint
from uhr_seg_ros.export.hlrc_checkpoints import published_name, published_shapes
from uhr_seg_ros.export.released import load_checkpoint
from uhr_seg_ros.networks.hlrc.network import HLRC
from uhr_seg_ros.networks.presets import build_network

# Published names that are in the checkpoint but not used, with their shapes for two classes.
UNUSED = {
    'haar.haar_weights': (12, 1, 2, 2),
    'refine_head.region.conv_seg.weight': (2, 192, 1, 1),
    'refine_head.region.conv_seg.bias': (2,),
}
NAMES = (
    (
        'semantic.backbone.stages.2.3.attention.qkv.weight',
        'backbone.stages.2.blocks.3.attn.w_msa.qkv.weight',
    ),
    ('semantic.decoder.pools.1.norm.running_var', 'decode_head.psp_modules.1.1.bn.running_var'),
    (
        'region.trunk.stages.2.3.block.proj.norm.weight',
        'refine_head.efficientvit.stages.2.op_list.2.context_module.main.proj.norm.weight',
    ),
    (
        'local.trunk.stages.2.8.block.inverted.conv.bias',
        'refine_head.spa_branch.stages.2.op_list.4.local_module.main.inverted_conv.conv.bias',
    ),
    ('decoder.fuse.norm.bias', 'refine_head.conv_seg.conv_bn_relu.bn.bias'),
)


@pytest.fixture(scope='module')
def network() -> HLRC:
    return build_network('hlrc_inria')


@pytest.fixture(scope='module')
def state(network: HLRC) -> dict[str, torch.Tensor]:
    state = {
        name: torch.from_numpy(weight(name, tuple(shape), SALTS['hlrc_inria']))
        for name, shape in published_shapes(network).items()
        if not name.endswith(('num_batches_tracked', 'relative_position_index'))
    }
    constants = {published_name(name): value for name, value in network.state_dict().items()}
    for name in published_shapes(network):
        state.setdefault(name, constants.get(name))
    return state | {name: torch.zeros(shape) for name, shape in UNUSED.items()}


@pytest.mark.parametrize(('ours', 'published'), NAMES)
def test_names(ours: str, published: str) -> None:
    assert published_name(ours) == published


@pytest.mark.parametrize('wrapper', [None, 'state_dict'])
def test_reads_bare_and_wrapped(
    network: HLRC, state: dict[str, torch.Tensor], wrapper: str | None, tmp_path: Path
) -> None:
    path = tmp_path / 'ia.pth'
    torch.save({wrapper: state, 'meta': {'epoch': 3}} if wrapper else state, path)
    load_checkpoint(network, read_checkpoint(path))
    stem = network.region.trunk.stem[0].conv.weight
    expected = state['refine_head.efficientvit.input_stem.op_list.0.conv.weight']
    assert torch.equal(stem, expected)


def test_an_expert_row_moves_to_its_place(network: HLRC, state: dict[str, torch.Tensor]) -> None:
    load_checkpoint(network, state)
    published = state['refine_head.region.rpae.experts.5.w.4.weight']
    neighbor, subpixel = 7, 11
    ours = network.region.experts.last[5, subpixel * 9 + neighbor]
    assert torch.equal(ours, published[neighbor * 16 + subpixel])


def test_lists_missing_unexpected_and_misshapen(
    network: HLRC, state: dict[str, torch.Tensor]
) -> None:
    broken = dict(state)
    del broken['backbone.norm3.weight']
    broken['backbone.norm9.weight'] = torch.zeros(3)
    broken['decode_head.conv_seg.bias'] = torch.zeros(19)
    before = network.state_dict()['decoder.classify.bias'].clone()
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(network, broken)
    text = str(caught.value)
    assert '1 missing:\n    backbone.norm3.weight' in text
    assert '1 unexpected:\n    backbone.norm9.weight' in text
    assert 'decode_head.conv_seg.bias (19,) instead of (2,)' in text
    assert '--network' in text
    assert torch.equal(network.state_dict()['decoder.classify.bias'], before)


def test_own_names_load_back(network: HLRC) -> None:
    other = build_network('hlrc_inria')
    load_checkpoint(other, network.state_dict())
    assert torch.equal(other.region.experts.last, network.region.experts.last)


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (b'', 'cannot be read'),
        (b'not a checkpoint at all', 'cannot be read'),
        (b'\x80\x02X\x02\x00\x00\x00\xff\xfe.', 'damaged or not a PyTorch file'),
        (b'\x80\x02q', 'cannot be read'),
        (None, 'not exist'),
    ],
)
def test_unreadable_files(content: bytes | None, reason: str, tmp_path: Path) -> None:
    path = tmp_path / 'broken.pth'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=reason):
        read_checkpoint(path)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    marker = tmp_path / 'ran'
    path = tmp_path / 'evil.pth'
    torch.save({'state_dict': _Touches(str(marker))}, path)
    with pytest.raises(CheckpointError, match='cannot be read as plain weights'):
        read_checkpoint(path)
    assert not marker.exists()


class _Touches:
    """Would create a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path(self.path),)


def test_truncated_file(tmp_path: Path) -> None:
    path = tmp_path / 'half.pth'
    torch.save({'a': torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(CheckpointError, match='cannot be read'):
        read_checkpoint(path)


def test_only_named_tensors_count(tmp_path: Path) -> None:
    path = tmp_path / 'numbered.pth'
    torch.save({1: torch.zeros(3)}, path)
    with pytest.raises(CheckpointError, match='does not hold tensors'):
        read_checkpoint(path)


def test_unknown_network() -> None:
    with pytest.raises(ConfigError, match='hlrc_s'):
        build_network('hlrc_moon')


def test_objects_beside_the_weights_are_named(tmp_path: Path) -> None:
    path = tmp_path / 'objects.pth'
    torch.save({'state_dict': {}, 'meta': Path('x')}, path)
    with pytest.raises(CheckpointError, match=r'an object of pathlib\S*.*save its state_dict'):
        read_checkpoint(path)
