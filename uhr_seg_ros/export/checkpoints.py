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

"""Checkpoints: reading them, and fitting their tensors to a network, all of them or none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
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

LISTED = 12
#: Counts the batches of a batch norm; it differs from checkpoint to checkpoint.
COUNTER = 'num_batches_tracked'


@dataclass(frozen=True)
class Checkpoint:
    """
    A checkpoint that was read.

    Attributes:
        path: Its file.
        tensors: By name, dense and finite, float32 or int64.
        description: What it says that it is for; None where it does not.
        decisive: What training wrote before there were descriptions: the recipe and the number
            of classes; of a bundle, which bands were trained on. None where it did not.
    """

    path: Path
    tensors: dict[str, torch.Tensor]
    description: Description | None
    decisive: Mapping[str, Any] | None


def open_checkpoint(path: str | Path) -> Checkpoint:
    """
    Read a checkpoint: its tensors, bare or wrapped, and what they are for.

    Args:
        path: The file.

    Raises:
        CheckpointError: As ``load_plain``, ``tensors_of`` and ``read_description``.
    """
    content = load_plain(path)
    tensors = tensors_of(content, path)
    decisive = content.get('decisive')
    return Checkpoint(
        Path(path),
        tensors,
        read_description(content, path),
        decisive if isinstance(decisive, dict) else None,
    )


def read_checkpoint(path: str | Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a checkpoint, as ``open_checkpoint``."""
    return open_checkpoint(path).tensors


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


def load_state(network: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """
    Load weights under our names, all of them or none.

    Raises:
        CheckpointError: A tensor holds other numbers than the network can compute with; names it.
    """
    for name, own in network.state_dict().items():
        if (flaw := value_fault(name, own, state[name])) is not None:
            msg = f'the checkpoint does not fit the network: {name} {flaw}'
            raise CheckpointError(msg)
    network.load_state_dict(dict(state))


def value_fault(name: str, own: torch.Tensor, value: torch.Tensor) -> str | None:
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
