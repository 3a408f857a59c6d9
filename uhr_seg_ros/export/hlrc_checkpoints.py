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

"""Published checkpoints of HLRC: one file, and how its names become ours."""

from __future__ import annotations

from collections.abc import Mapping
import re

import torch

from uhr_seg_ros.export.checkpoints import check_names, load_state
from uhr_seg_ros.networks.hlrc.network import HLRC
from uhr_seg_ros.networks.hlrc.region import NEIGHBORS, SUBPIXELS

#: In a published checkpoint but without influence on the result: a constant, and a classifier
#: that is never called.
UNUSED = re.compile(r'^(haar\.haar_weights|refine_head\.region\.conv_seg\.(weight|bias))$')
# Our name -> published name, first match of each rule in turn.
RULES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r'^semantic\.backbone\.stages\.(\d+)\.(\d+)\.', r'backbone.stages.\1.blocks.\2.'),
        (r'^semantic\.backbone\.merges\.(\d+)\.', r'backbone.stages.\1.downsample.'),
        (r'^semantic\.backbone\.norms\.(\d+)\.', r'backbone.norm\1.'),
        (r'^semantic\.backbone\.', 'backbone.'),
        (r'\.attention\.position_bias$', '.attn.w_msa.relative_position_bias_table'),
        (r'\.attention\.position_index$', '.attn.w_msa.relative_position_index'),
        (r'\.attention\.', '.attn.w_msa.'),
        (r'\.ffn\.0\.', '.ffn.layers.0.0.'),
        (r'\.ffn\.2\.', '.ffn.layers.1.'),
        (r'^semantic\.classify\.', 'decode_head.conv_seg.'),
        (r'^semantic\.decoder\.pools\.(\d+)\.', r'decode_head.psp_modules.\1.1.'),
        (r'^semantic\.decoder\.laterals\.', 'decode_head.lateral_convs.'),
        (r'^semantic\.decoder\.fpn\.', 'decode_head.fpn_convs.'),
        (r'^semantic\.decoder\.', 'decode_head.'),
        (r'^(decode_head|auxiliary)\.(.*)\.norm\.', r'\1.\2.bn.'),
        (r'^auxiliary\.classify\.', 'auxiliary_head.conv_seg.'),
        (r'^auxiliary\.conv\.norm\.', 'auxiliary_head.convs.0.bn.'),
        (r'^auxiliary\.conv\.', 'auxiliary_head.convs.0.'),
        (r'^region\.trunk\.', 'refine_head.efficientvit.'),
        (r'^local\.trunk\.', 'refine_head.spa_branch.'),
        (r'\.stem\.0\.', '.input_stem.op_list.0.'),
        (r'\.stem\.(\d+)\.block\.', r'.input_stem.op_list.\1.main.'),
        (r'\.stages\.([01])\.0\.(?=inverted|depth|point)', r'.stages.\1.op_list.0.main.'),
        (r'\.stages\.2\.0\.(?=inverted|depth|point)', '.stages.2.op_list.0.main.'),
        (r'\.stages\.([01])\.(\d+)\.block\.', r'.stages.\1.op_list.\2.main.'),
        (r'(op_list.*main)\.(inverted|depth|point)\.', r'\1.\2_conv.'),
        (r'^region\.affinity_head\.out\.', 'refine_head.region.affinity_head.1.conv.'),
        (
            r'^region\.affinity_head\.(depth|point)\.(conv|norm)\.',
            r'refine_head.region.affinity_head.0.\1wise_conv.\2.',
        ),
        (r'(affinity_head.*)\.norm\.', r'\1.bn.'),
        (r'^region\.experts\.', 'refine_head.region.rpae.'),
        (r'^reconstruction\.reduce\.conv\.', 'refine_head.reduce.conv1.'),
        (r'^reconstruction\.reduce\.norm\.', 'refine_head.reduce.bn1.'),
        (r'^reconstruction\.ups\.0\.', 'refine_head.sr_decoder.conv1.'),
        (r'^reconstruction\.ups\.1\.', 'refine_head.sr_decoder.conv2.'),
        (r'^reconstruction\.ups\.2\.', 'refine_head.sr_decoder.conv3.'),
        (r'^reconstruction\.fuse\.', 'refine_head.sr_decoder.conv_sr.conv_bn_relu.'),
        (r'^reconstruction\.out\.', 'refine_head.sr_decoder.conv_sr.conv_out.'),
        (r'^local\.compression\.', 'refine_head.compression.'),
        (r'^local\.(felc_\d+)\.fields\.0\.', r'refine_head.\1.dwconv.dwconv1.'),
        (r'^local\.(felc_\d+)\.fields\.1\.', r'refine_head.\1.dwconv.dwconv2.'),
        (r'^local\.(felc_\d+)\.fields\.2\.', r'refine_head.\1.dwconv.dwconv3.'),
        (r'^local\.(felc_\d+)\.norm\.', r'refine_head.\1.dwconv.bn.'),
        (r'^local\.', 'refine_head.'),
        (r'^decoder\.fuse\.', 'refine_head.conv_seg.conv_bn_relu.'),
        (r'^decoder\.classify\.', 'refine_head.conv_seg.conv_out.'),
        (r'(sr_decoder.*|conv_seg\.conv_bn_relu)\.norm\.', r'\1.bn.'),
    )
)
ATTENTION_BLOCK = re.compile(r'\.stages\.2\.(\d+)\.block\.(.*)$')
EXPERT_LAYERS = {'first': 0, 'second': 2, 'last': 4}


def _attention_name(match: re.Match[str]) -> str:
    """Blocks alternate in our list: 2k-1 is the context module of block k, 2k its local module."""
    index, rest = int(match[1]), match[2]
    block = (index + 1) // 2
    if index % 2 == 0:
        rest = re.sub(r'^(inverted|depth|point)\.', r'\1_conv.', rest)
        return f'.stages.2.op_list.{block}.local_module.main.{rest}'
    rest = re.sub(r'^qkv\.', 'qkv.conv.', re.sub(r'^aggregate\.', 'aggreg.0.', rest))
    return f'.stages.2.op_list.{block}.context_module.main.{rest}'


def published_name(name: str) -> str:
    """Translate one of our state-dict names into the published one."""
    name = ATTENTION_BLOCK.sub(_attention_name, name)
    for pattern, replacement in RULES:
        name = pattern.sub(replacement, name)
    return name


def _expert_names(layer: str, experts: int) -> list[str]:
    number = EXPERT_LAYERS[layer]
    prefix = 'refine_head.region.rpae.experts'
    return [f'{prefix}.{expert}.w.{number}.weight' for expert in range(experts)]


def _sources(network: HLRC) -> dict[str, list[tuple[str, torch.Size]]]:
    """For each of our tensors the published names and shapes that it is made of."""
    sources = {}
    for name, tensor in network.state_dict().items():
        room, _, layer = name.rpartition('.')
        if room == 'region.experts' and layer in EXPERT_LAYERS:
            names = _expert_names(layer, tensor.shape[0])
            sources[name] = [(source, tensor.shape[1:]) for source in names]
        else:
            sources[name] = [(published_name(name), tensor.shape)]
    return sources


def published_shapes(network: HLRC) -> dict[str, torch.Size]:
    """Names and shapes that a published checkpoint of this network holds and we use."""
    return {name: shape for parts in _sources(network).values() for name, shape in parts}


def _neighbors_last(weight: torch.Tensor) -> torch.Tensor:
    """Rows of an expert's last layer from (neighbor, sub-pixel) to (sub-pixel, neighbor)."""
    rows = weight.reshape(NEIGHBORS, SUBPIXELS, -1)
    return rows.transpose(0, 1).reshape(NEIGHBORS * SUBPIXELS, -1)


def published_state(network: HLRC, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """
    Return published weights under our names.

    Raises:
        CheckpointError: Lists the names that are missing, unexpected or of another shape.
    """
    check_names(published_shapes(network), tensors, UNUSED)
    state = {}
    for name, parts in _sources(network).items():
        values = [tensors[source] for source, _ in parts]
        if name == 'region.experts.last':
            values = [_neighbors_last(value) for value in values]
        stacked = name.startswith('region.experts.') and not name.endswith('gate.weight')
        state[name] = torch.stack(values) if stacked else values[0]
    return state


def load_published(network: HLRC, tensors: Mapping[str, torch.Tensor]) -> None:
    """
    Load published weights into ``network``, all of them or none.

    Raises:
        CheckpointError: As ``published_state`` and ``load_state``.
    """
    load_state(network, published_state(network, tensors))
