# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Published HLRC checkpoints: their state-dict names, and how they become ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
import re
from typing import Any

import torch
from torch import nn

from uhr_seg_ros.core.errors import CheckpointError
from uhr_seg_ros.export.checkpoint_files import load_plain
from uhr_seg_ros.export.description import Description, read_description
from uhr_seg_ros.export.state_dicts import tensors_of
from uhr_seg_ros.networks.hlrc.network import HLRC
from uhr_seg_ros.networks.hlrc.region import NEIGHBORS, SUBPIXELS

# In a published checkpoint but without influence on the result: a constant, and a classifier
# that is never called.
UNUSED = re.compile(r'^(haar\.haar_weights|refine_head\.region\.conv_seg\.(weight|bias))$')
LISTED = 12
#: Counts the batches of a batch norm; it differs from checkpoint to checkpoint.
COUNTER = 'num_batches_tracked'

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


@dataclass(frozen=True)
class Checkpoint:
    """
    A checkpoint that was read.

    Attributes:
        path: Its file.
        tensors: By name, dense and finite, float32 or int64.
        description: What it says that it is for; None where it does not.
        decisive: What training wrote before there were descriptions: the recipe and the number
            of classes; None where it did not.
    """

    path: Path
    tensors: dict[str, torch.Tensor]
    description: Description | None
    decisive: Mapping[str, Any] | None


def open_checkpoint(path: str | Path, report: Callable[[str], None] = print) -> Checkpoint:
    """
    Read a checkpoint: its tensors, bare or wrapped, and what they are for.

    Args:
        path: The file.
        report: Gets a line about everything that was chosen or converted.

    Raises:
        CheckpointError: As ``load_plain``, ``tensors_of`` and ``read_description``.
    """
    content = load_plain(path)
    tensors = tensors_of(content, path, report)
    decisive = content.get('decisive')
    return Checkpoint(
        Path(path),
        tensors,
        read_description(content, path),
        decisive if isinstance(decisive, dict) else None,
    )


def read_checkpoint(
    path: str | Path, report: Callable[[str], None] = print
) -> dict[str, torch.Tensor]:
    """Read the tensors of a checkpoint, as ``open_checkpoint``."""
    return open_checkpoint(path, report).tensors


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
    """Rows of an expert's last layer from (neighbour, sub-pixel) to (sub-pixel, neighbour)."""
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


def state_of_parts(
    network: nn.Module,
    names: Mapping[str, Mapping[str, str]],
    parts: Mapping[str, Mapping[str, torch.Tensor]],
    unused: Mapping[str, re.Pattern[str]],
) -> dict[str, torch.Tensor]:
    """
    Join the released tensors of all parts under our names.

    Args:
        network: What they are for.
        names: Part -> our name -> released name.
        parts: Part -> tensors by released names.
        unused: Part -> matches names that may be there and do not count.

    Raises:
        CheckpointError: A part is missing or does not fit; names the part.
    """
    ours = network.state_dict()
    state: dict[str, torch.Tensor] = {}
    for part, translated in names.items():
        if part not in parts:
            known = ', '.join(names)
            msg = f'the weights of {part} are missing: give all of {known} (convert: --part)'
            raise CheckpointError(msg)
        expected = {released: ours[name].shape for name, released in translated.items()}
        try:
            check_names(expected, parts[part], unused[part])
        except CheckpointError as err:
            msg = f'part {part}: {err}'
            raise CheckpointError(msg) from err
        state |= {name: parts[part][released] for name, released in translated.items()}
    return state


def check_names(
    expected: Mapping[str, torch.Size],
    tensors: Mapping[str, torch.Tensor],
    unused: re.Pattern[str] | None = None,
) -> None:
    """
    Compare the names and shapes of a checkpoint with those that are expected.

    Args:
        expected: Name -> shape.
        tensors: What the checkpoint holds.
        unused: Matches names that may be there and do not count.

    Raises:
        CheckpointError: Lists the names that are missing, unexpected or of another shape.
    """
    surplus = [name for name in tensors if name not in expected]
    problems = {
        'missing': [name for name in expected if name not in tensors],
        'unexpected': [name for name in surplus if not (unused and unused.match(name))],
        'of another shape': [
            f'{name} {tuple(tensors[name].shape)} instead of {tuple(shape)}'
            for name, shape in expected.items()
            if name in tensors and tensors[name].shape != shape
        ],
    }
    if any(problems.values()):
        raise CheckpointError(_describe(problems))


def is_own(network: nn.Module, tensors: Mapping[str, torch.Tensor]) -> bool:
    """Tell if a checkpoint has our names: those that training writes."""
    own = network.state_dict()
    return any(name in own for name in tensors)


def state_from(network: nn.Module, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """
    Return weights with our own names or the published ones of HLRC under our own.

    Args:
        network: What they are for; its own weights do not count, only their shapes.
        tensors: By name.

    Raises:
        CheckpointError: As ``published_state``, about the kind of names that was found.
    """
    if isinstance(network, HLRC) and not is_own(network, tensors):
        return published_state(network, tensors)
    check_names({name: value.shape for name, value in network.state_dict().items()}, tensors)
    return dict(tensors)


def load_state(network: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """
    Load weights under our names, all of them or none.

    Raises:
        CheckpointError: A tensor holds other numbers than the network can compute with; names it.
    """
    for name, own in network.state_dict().items():
        if (flaw := wrong_values(name, own, state[name])) is not None:
            msg = f'the checkpoint does not fit the network: {name} {flaw}'
            raise CheckpointError(msg)
    network.load_state_dict(dict(state))


def load_checkpoint(network: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """
    Load weights with our own names or the published ones of HLRC, all of them or none.

    Raises:
        CheckpointError: As ``state_from`` and ``load_state``.
    """
    load_state(network, state_from(network, tensors))


def wrong_values(name: str, own: torch.Tensor, value: torch.Tensor) -> str | None:
    """
    Return what is wrong with a tensor of the right shape.

    Args:
        name: Of the tensor in the network.
        own: What the network has.
        value: What it would get.

    Returns:
        None: nothing; of a tensor without values, such as a network that is only described has,
            nothing is known but its type.
    """
    if own.is_floating_point() != value.is_floating_point():
        title, expected = (str(t.dtype).removeprefix('torch.') for t in (value, own))
        return f'is {title}, expected {expected}: it belongs to something else'
    if value.is_meta or own.is_meta:
        return None
    if name.endswith(COUNTER) and bool((value < 0).any()):
        return 'counts less than no batch: the file is damaged'
    if name.endswith('running_var') and bool((value < 0).any()):
        return 'is a variance below zero: the file is damaged'
    if not own.is_floating_point() and not name.endswith(COUNTER) and not torch.equal(own, value):
        return 'is a constant and another one here: it belongs to another network'
    return None


def _describe(problems: Mapping[str, list[str]]) -> str:
    lines = ['the checkpoint does not fit the network:']
    for what, names in problems.items():
        if names:
            shown = ''.join(f'\n    {name}' for name in names[:LISTED])
            rest = f'\n    ... and {len(names) - LISTED} more' if len(names) > LISTED else ''
            lines.append(f'  {len(names)} {what}:{shown}{rest}')
    if hint := _hint(problems):
        lines.append(hint)
    lines.append(
        'choose what the checkpoint was trained as (convert: --network, --options, --classes)'
    )
    return '\n'.join(lines)


def _hint(problems: Mapping[str, list[str]]) -> str | None:
    """Tell if it is a beginning of the names that keeps most of them from fitting."""
    missing = set(problems['missing'])
    beginnings = Counter(
        name[: -len(end)]
        for name in problems['unexpected']
        for end in _ends(name)
        if end in missing
    )
    for beginning, count in beginnings.most_common(1):
        if 2 * count > len(missing):
            return f'{count} fit without the beginning {beginning!r}: save these alone, without it'
    return None


def _ends(name: str) -> Iterator[str]:
    """Return what is left of a name without its first parts."""
    while name := name.partition('.')[2]:
        yield name
