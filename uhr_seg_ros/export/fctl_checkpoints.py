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

"""
Released FCtL checkpoints: one file for the network, one for the extractor of each context.

The two networks name their attention differently, and the one of the Inria data set fuses in
another order; here both are ``ContextFusion``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import re

import torch

from uhr_seg_ros.core.errors import CheckpointError
from uhr_seg_ros.export.checkpoints import load_state, state_of_parts
from uhr_seg_ros.networks.fctl.context_attention import SOURCES
from uhr_seg_ros.networks.fctl.decoders import bilinear_kernel
from uhr_seg_ros.networks.fctl.released import ReleasedFCtL

#: Layers of each of the first two stages of VGG16.
FIRST_LAYERS = 5
#: Layer of the head -> released name.
HEAD = {'classify': 'output', 'score_pool4': 'adj_pool4', 'score_pool3': 'adj_pool3'}
#: Layer of an attention -> released name.
ATTENTION = {'query': 'conv_query', 'key': 'conv_key', 'value': 'conv_value', 'gamma': 'gamma'}
#: The Inria network: what the names of its attentions end with, in the order of its fusion.
INRIA_SUFFIXES = {'medium': '', 'large': '_1', 'local': '_2'}
#: Released names that do not count: every VGG tensor is there twice, with a classifier that is
#: never called, and the enlarging kernels are constants.
KERNELS = re.compile(r'^up_(output|pool4_out|final)\.weight$')
UNUSED = re.compile(rf'^vgg\.|{KERNELS.pattern}')
#: What the extractor of a whole image brings along: it was trained as a network of its own.
WHOLE_UNUSED = re.compile(r'^(vgg\.|up_|adj_pool|output\.)')


def released_state(
    network: ReleasedFCtL, parts: Mapping[str, Mapping[str, torch.Tensor]]
) -> dict[str, torch.Tensor]:
    """
    Return released weights under our names.

    Args:
        network: Of the data set that the weights are of.
        parts: ``patch`` and the name of every context -> tensors by released names.

    Raises:
        CheckpointError: A part is missing, or its names are missing, unexpected or of another
            shape; lists them.
    """
    unused = {
        name: WHOLE_UNUSED if context.is_whole else UNUSED
        for name, context in network.contexts.items()
    }
    state = state_of_parts(network, released_names(network), parts, {'patch': UNUSED, **unused})
    for tensors in parts.values():
        _check_kernels(tensors)
    if not network.centered:
        state |= {
            name: _in_our_order(state[name]) for name in ('fusion.mix.weight', 'fusion.mix.bias')
        }
    return state


def load_released(network: ReleasedFCtL, parts: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
    """
    Load released weights, all of them or none.

    Raises:
        CheckpointError: As ``released_state`` and ``load_state``.
    """
    load_state(network, released_state(network, parts))


def released_names(network: ReleasedFCtL) -> dict[str, dict[str, str]]:
    """Return for ``patch`` and every context: our name -> released name."""
    found: dict[str, dict[str, str]] = {'patch': {}, **{name: {} for name in network.contexts}}
    fused = _centered_name if network.centered else _inria_name
    for name in network.state_dict():
        room, _, rest = name.partition('.')
        if room == 'extractors':
            context, _, rest = rest.partition('.')
            prefix = '' if network.contexts[context].is_whole else 'big_'
            found[context][name] = prefix + _vgg_name(rest)
        elif room == 'backbone':
            found['patch'][name] = _vgg_name(rest)
        elif room == 'head':
            layer, _, leaf = rest.partition('.')
            found['patch'][name] = f'{HEAD[layer]}.{leaf}'
        else:
            found['patch'][name] = fused(*rest.split('.'))
    return found


def _vgg_name(name: str) -> str:
    """Translate ``stages.S.I.leaf``: the first three stages are one released list."""
    _, stage, index, leaf = name.split('.')
    pool, before = (max(int(stage) + 1, 3), FIRST_LAYERS * min(int(stage), 2))
    return f'pool{pool}.{int(index) + (before if pool == 3 else 0)}.{leaf}'


def _centered_name(layer: str, *rest: str) -> str:
    """Translate a layer of the fusion of the DeepGlobe network."""
    if layer == 'attend':
        source, part, *leaf = rest
        return '.'.join([source, ATTENTION[part], *leaf])
    return _mixing_name(layer, rest, SOURCES)


def _inria_name(layer: str, *rest: str) -> str:
    """Translate a layer of the fusion of the Inria network."""
    if layer == 'attend':
        source, part, *leaf = rest
        name = '.'.join([ATTENTION[part] + INRIA_SUFFIXES[source], *leaf])
    else:
        name = _mixing_name(layer, rest, tuple(INRIA_SUFFIXES))
    return f'big_attention.{name}'


def _mixing_name(layer: str, rest: Sequence[str], order: Sequence[str]) -> str:
    if layer == 'mix':
        return '.'.join(['trans', *rest])
    source, leaf = rest
    side = {'enter': 'in', 'leave': 'out'}[layer]
    return f'{side}_{order.index(source) + 1}.{leaf}'


def _in_our_order(values: torch.Tensor) -> torch.Tensor:
    """Move the blocks of channels of the Inria network's mixing into the order of ``SOURCES``."""
    blocks = [tuple(INRIA_SUFFIXES).index(name) for name in SOURCES]
    for axis in range(min(values.ndim, 2)):
        parts = values.chunk(len(SOURCES), axis)
        values = torch.cat([parts[block] for block in blocks], axis)
    return values


def _check_kernels(tensors: Mapping[str, torch.Tensor]) -> None:
    """Refuse enlarging kernels that were trained: here they are constants."""
    for name, found in tensors.items():
        if not KERNELS.match(name):
            continue
        classes, side = found.shape[0], found.shape[-1]
        expected = bilinear_kernel(side) * torch.eye(classes)[..., None, None]
        if found.shape != expected.shape or not torch.allclose(found, expected, atol=1e-4):
            msg = f'{name} is not a bilinear kernel: this network cannot enlarge by it'
            raise CheckpointError(msg)
