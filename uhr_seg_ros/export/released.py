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
What is known of weights that others have published: families of formats, by network.

A family with one file per part is one entry of ``RELEASED``; that of HLRC is one file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import reprlib
from typing import Any

import torch
from torch import nn

from uhr_seg_ros.core.entry_points import is_entry_point
from uhr_seg_ros.core.errors import CheckpointError, ConfigError
from uhr_seg_ros.export import deformed_checkpoints, fctl_checkpoints
from uhr_seg_ros.export.checkpoints import check_names, Checkpoint, is_own, load_state
from uhr_seg_ros.export.hlrc_checkpoints import published_name, published_state
from uhr_seg_ros.networks.hlrc.network import HLRC
from uhr_seg_ros.networks.presets import build_network, SegmentationNetwork

#: Network whose released weights are one file per part -> what knows the parts and their names.
RELEASED = {
    'fctl_inria': fctl_checkpoints,
    'fctl_deepglobe': fctl_checkpoints,
    'deform_cityscapes': deformed_checkpoints,
    'deform_deepglobe': deformed_checkpoints,
}

#: One checkpoint, or one per part of a network that is released so.
Weights = Checkpoint | dict[str, Checkpoint]


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


def load_checkpoint(network: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """
    Load weights with our own names or the published ones of HLRC, all of them or none.

    Raises:
        CheckpointError: As ``state_from`` and ``load_state``.
    """
    load_state(network, state_from(network, tensors))


def blank_network(network: str, options: Mapping[str, Any], classes: int) -> SegmentationNetwork:
    """Build a network without values, which costs neither time nor memory; a user's in full."""
    with torch.device('cpu' if is_entry_point(network) else 'meta'):
        return build_checked(network, options, classes)


def build_checked(network: str, options: Mapping[str, Any], classes: int) -> SegmentationNetwork:
    """
    Build a network with options that come from a file or a command line.

    Raises:
        CheckpointError: It cannot be built with them.
    """
    try:
        return build_network(network, classes, **options)
    except (ConfigError, ModuleNotFoundError):
        raise
    # Options of another type or size fail in as many ways as there are layers.
    except Exception as err:
        msg = f'network {network} cannot be built with {reprlib.repr(dict(options))}: {err}'
        raise CheckpointError(msg) from err


def last_layers(
    blank: SegmentationNetwork, network: str, options: Mapping[str, Any], weights: Weights
) -> Iterator[torch.Tensor]:
    """Find the tensors of a file whose first axis is the classes."""
    wider = blank_network(network, options, blank.classes + 1).state_dict()
    own = blank.state_dict()
    names = [name for name, value in own.items() if value.shape != wider[name].shape]
    if not isinstance(weights, Checkpoint):
        for part, translated in RELEASED[network].released_names(blank).items():
            tensors = weights[part].tensors if part in weights else {}
            found = (translated[name] for name in names if name in translated)
            yield from (tensors[name] for name in found if name in tensors and tensors[name].ndim)
        return
    for name in names:
        for source in {name, published_name(name)} if isinstance(blank, HLRC) else {name}:
            if source in weights.tensors and weights.tensors[source].ndim:
                yield weights.tensors[source]


def part_names(network: str | None) -> tuple[str, ...]:
    """Name the parts that a network is released in; none where it is released whole."""
    if network not in RELEASED:
        return ()
    blank = blank_network(network, {}, 2)
    return tuple(RELEASED[network].released_names(blank))


def own_state_dict(
    blank: SegmentationNetwork, network: str, weights: Weights
) -> dict[str, torch.Tensor]:
    """
    Return weights under our names.

    Args:
        blank: The network that they are for; its own weights do not count.
        network: Its key of ``NETWORKS``.
        weights: What was read.

    Raises:
        CheckpointError: They do not fit; lists the names.
    """
    if isinstance(weights, Checkpoint):
        if network in RELEASED and not is_own(blank, weights.tensors):
            parts = ' '.join(f'--part {name}=FILE' for name in part_names(network))
            msg = (
                f'{weights.path} does not hold a whole {network} as `uhr_seg train` writes it: '
                f'give released weights by {parts}'
            )
            raise CheckpointError(msg)
        try:
            return state_from(blank, weights.tensors)
        except CheckpointError as err:
            msg = f'{weights.path}: {err}'
            raise CheckpointError(msg) from err
    tensors = {name: checkpoint.tensors for name, checkpoint in weights.items()}
    return RELEASED[network].released_state(blank, tensors)
