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

"""Tensors that no network can hold, prefixes of names, several sets of weights in one file."""

from __future__ import annotations

from pathlib import Path
import re
from typing import Any
import warnings

import pytest

torch = pytest.importorskip('torch', reason='checkpoints are read by torch')

from logged import logged
from torch import nn

from uhr_seg_ros.core.errors import CheckpointError
from uhr_seg_ros.export.checkpoints import read_checkpoint
from uhr_seg_ros.export.pretrained import load_pretrained
from uhr_seg_ros.export.released import load_checkpoint

ONES = torch.ones(3, 3)


def _quantized() -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return torch.quantize_per_tensor(ONES, 0.1, 0, torch.qint8)


def _nested(layout: torch.layout) -> torch.Tensor:
    return torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=layout)


HOSTILE = {
    'sparse': (lambda: ONES.to_sparse(), r'is sparse \(sparse_coo\): .*to_dense\(\)'),
    'csr': (lambda: ONES.to_sparse_csr(), r'is sparse \(sparse_csr\)'),
    'quantised': (_quantized, r'is quantized \(qint8\): give the checkpoint from before'),
    'meta': (lambda: ONES.to('meta'), 'is on the device meta, without values'),
    'nested': (lambda: _nested(torch.strided), 'is nested'),
    'jagged': (lambda: _nested(torch.jagged), 'is nested'),
    'bool': (lambda: ONES.bool(), 'is bool: expected weights of float32'),
    'int8': (lambda: ONES.to(torch.int8), 'is int8'),
    'uint8': (lambda: ONES.to(torch.uint8), 'is uint8'),
    'int16': (lambda: ONES.to(torch.int16), 'is int16'),
    'complex': (lambda: ONES.to(torch.cfloat), 'is complex64'),
    'float8': (lambda: ONES.to(torch.float8_e4m3fn), 'is float8_e4m3fn'),
    # 4 bytes in the file, 4 TB as an array.
    'expanded': (lambda: torch.ones(1).expand(10**6, 10**6), r'overlaps itself.*\(0, 0\)'),
    'windows': (lambda: torch.ones(9).as_strided((4, 4), (1, 1)), 'overlaps itself'),
    'nan': (lambda: ONES * torch.tensor([1, float('nan'), 1]), r'is not finite .*in 3 of 9'),
    'inf': (lambda: ONES / 0, 'is not finite as float32 in 9 of 9'),
    'too large': (lambda: ONES.double() * 1e300, 'is not finite as float32'),
}


@pytest.mark.parametrize('kind', HOSTILE)
def test_what_no_network_can_hold(kind: str, tmp_path: Path) -> None:
    make, text = HOSTILE[kind]
    path = tmp_path / 'last.pth'
    torch.save({'state_dict': {'fine.weight': ONES, 'odd.weight': make()}}, path)
    with pytest.raises(CheckpointError, match=rf'tensor odd\.weight {text}') as error:
        read_checkpoint(path)
    assert str(path) in str(error.value)
    with pytest.raises(CheckpointError, match=r'odd\.weight'):
        load_pretrained(nn.Module(), 'semantic', path)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_converted_and_told(dtype: torch.dtype, tmp_path: Path) -> None:
    path = tmp_path / 'half.pth'
    torch.save({'a': ONES.to(dtype), 'b': ONES.to(dtype) / 2, 'n': torch.tensor(7)}, path)
    with logged() as lines:
        found = read_checkpoint(path)
    assert {value.dtype for value in found.values()} == {torch.float32, torch.int64}
    assert torch.equal(found['b'], ONES / 2)
    title = str(dtype).removeprefix('torch.')
    assert lines == [f'{path}: 2 tensors of {title} are converted to float32']


def test_views_and_parameters_are_plain(tmp_path: Path) -> None:
    path = tmp_path / 'views.pth'
    base = torch.arange(12.0).reshape(3, 4)
    images = torch.ones(2, 3, 4, 4).to(memory_format=torch.channels_last)
    torch.save(
        {'t': base.T, 's': base[:, ::2], 'p': nn.Parameter(base), 'i': images, 'e': base[:0]},
        path,
    )
    found = read_checkpoint(path)
    assert torch.equal(found['t'], base.T)
    assert torch.equal(found['s'], base[:, ::2])
    assert not found['p'].requires_grad


A, B = torch.zeros(2), torch.ones(2)


@pytest.mark.parametrize(
    ('names', 'expected'),
    [
        (['module.a.weight', 'module.b'], ['a.weight', 'b']),
        (['_orig_mod.module.a', '_orig_mod.module.b'], ['a', 'b']),
        (['model._orig_mod.a', 'model._orig_mod.b'], ['a', 'b']),
        (['body._orig_mod.a', 'body.b'], ['body.a', 'body.b']),
        (['model.module.a', 'model.module.model.b'], ['a', 'model.b']),
        (['model.a', 'criterion.weight'], ['model.a', 'criterion.weight']),
        (['context_module.a', 'x.module.b'], ['context_module.a', 'x.module.b']),
    ],
)
def test_prefixes_of_wrappers(names: list[str], expected: list[str], tmp_path: Path) -> None:
    path = tmp_path / 'wrapped.pth'
    torch.save({'state_dict': dict.fromkeys(names, A)}, path)
    assert list(read_checkpoint(path)) == expected


def test_a_name_that_is_there_twice(tmp_path: Path) -> None:
    path = tmp_path / 'twice.pth'
    torch.save({'a.weight': A, 'module.a.weight': B}, path)
    with pytest.raises(CheckpointError, match=r'a\.weight twice, as a\.weight and as module\.a'):
        read_checkpoint(path)
    torch.save({'norm.bias': A, 'backbone.norm.bias': B}, path)
    with pytest.raises(CheckpointError, match=r'norm\.bias twice'):
        load_pretrained(nn.Module(), 'semantic', path)


TAKEN = {'a': A}


@pytest.mark.parametrize(
    ('content', 'told'),
    [
        ({'state_dict': TAKEN}, ''),
        ({'model': TAKEN, 'epoch': torch.tensor(3), 'optimizer': {'state': {0: {'x': B}}}}, ''),
        ({'model': {'state_dict': TAKEN}}, ''),
        ({'generator': TAKEN}, ''),
        (
            {'state_dict': TAKEN, 'ema': {'a': B}},
            "under 'state_dict' are taken, those under 'ema' are left out",
        ),
        ({'model_ema': {'a': B}, 'model': TAKEN}, "those under 'model_ema' are left out"),
        ({'model': {'a': B}, 'state_dict': TAKEN}, "those under 'model' are left out"),
        ({'state_dict': TAKEN, 'b': B}, "those under 'b' are left out"),
        (TAKEN | {'head': {'b': B}}, "those under 'head' are left out"),
    ],
)
def test_which_weights_are_taken(content: dict[str, Any], told: str, tmp_path: Path) -> None:
    path = tmp_path / 'many.pth'
    torch.save(content, path)
    with logged() as lines:
        assert torch.equal(read_checkpoint(path)['a'], A)
    assert len(lines) == bool(told)
    assert told in ''.join(lines)


def test_nothing_to_choose_by(tmp_path: Path) -> None:
    path = tmp_path / 'gan.pth'
    torch.save({'generator': TAKEN, 'discriminator': {'b': B}}, path)
    with pytest.raises(CheckpointError, match="under 'generator', 'discriminator', and none"):
        read_checkpoint(path)


@pytest.mark.parametrize('content', [7, [], {}, {'a': 1}, {'state_dict': {}}, {'x': {1: A}}])
def test_no_tensors(content: object, tmp_path: Path) -> None:
    path = tmp_path / 'none.pth'
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=r'does not hold (a state dict|tensors)'):
        read_checkpoint(path)


class Small(nn.Module):
    """Has one of everything that is compared by value."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(2)
        self.register_buffer('position_index', torch.arange(4))


@pytest.mark.parametrize(
    ('name', 'value', 'text'),
    [
        ('norm.weight', torch.ones(2, dtype=torch.int64), 'is int64, expected float32'),
        ('norm.num_batches_tracked', torch.tensor(1.0), 'is float32, expected int64'),
        ('norm.num_batches_tracked', torch.tensor(-1), 'counts less than no batch'),
        ('norm.running_var', torch.tensor([1.0, -1e-3]), 'is a variance below zero'),
        ('position_index', torch.tensor([0, 1, 3, 2]), 'is a constant and another one here'),
        ('position_index', torch.tensor([0, 1, 2, 10**9]), 'is a constant and another one here'),
    ],
)
def test_other_numbers_than_the_network_has(name: str, value: torch.Tensor, text: str) -> None:
    network = Small()
    before = network.norm.weight.clone()
    given = network.state_dict() | {'norm.weight': torch.zeros(2)} | {name: value}
    with pytest.raises(CheckpointError, match=f'{re.escape(name)} {text}'):
        load_checkpoint(network, given)
    assert torch.equal(network.norm.weight, before)


def test_a_part_of_a_larger_module_is_hinted_at() -> None:
    network = Small()
    given = {f'net.{name}': value for name, value in network.state_dict().items()}
    given |= {'position_index': network.position_index, 'loss.weight': A}
    with pytest.raises(CheckpointError, match=r"5 fit without the beginning 'net\.': save these"):
        load_checkpoint(network, given)
