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
FCtL starts from what was trained before it: patches alone, or with one context.

The networks of all stages name their layers alike, so a start takes what both have.
"""

from __future__ import annotations

from collections.abc import Mapping
import logging
from pathlib import Path

import torch
from torch import nn

from uhr_seg_ros.core.errors import CheckpointError
from uhr_seg_ros.core.text import listed
from uhr_seg_ros.export.checkpoints import load_state, read_checkpoint

logger = logging.getLogger(__name__)

#: The encoder of the patch, and those of the contexts.
BACKBONE, EXTRACTORS = 'backbone.', 'extractors.'
#: Where the full network has the attention that a stage has by itself.
ATTEND, FUSION = 'attend.', 'fusion.'


def load_stage(network: nn.Module, part: str, path: str | Path) -> None:
    """
    Start a part from a checkpoint of an earlier stage.

    Args:
        network: The whole network; only the part changes.
        part: ``patch``: everything but the extractors, as far as the checkpoint has it. Or the
            name of a context: its extractor, which becomes the encoder of the checkpoint.
        path: Written by a training of a network with the same encoder.

    Raises:
        CheckpointError: The network has no such part, the checkpoint no such encoder, or tensors
            of another shape; lists them.
    """
    own = network.state_dict()
    room = BACKBONE if part == 'patch' else f'{EXTRACTORS}{part}.'
    encoder = [name for name in own if name.startswith(room)]
    if not encoder:
        msg = f'{path} is for the {part} part, which this network does not have'
        raise CheckpointError(msg)
    tensors = read_checkpoint(path)
    if part == 'patch':
        sources = {
            name: name.removeprefix(FUSION) if name.startswith(FUSION + ATTEND) else name
            for name in own
            if not name.startswith(EXTRACTORS)
        }
    else:
        sources = {name: BACKBONE + name.removeprefix(room) for name in encoder}
    _check(own, {name: sources[name] for name in encoder}, tensors, path)
    # What both have under one name, such as the attention of the medium context, fits or is wrong.
    found = {name: source for name, source in sources.items() if source in tensors}
    _check(own, found, tensors, path)
    load_state(network, own | {name: tensors[source] for name, source in found.items()})
    if left := sorted({name.partition('.')[0] for name in sources if name not in found}):
        logger.info('%s: not in it, with new weights: %s', path, listed(left))


def _check(
    own: Mapping[str, torch.Tensor],
    sources: Mapping[str, str],
    tensors: Mapping[str, torch.Tensor],
    path: str | Path,
) -> None:
    if missing := [source for source in sources.values() if source not in tensors]:
        msg = (
            f'{path} has not the encoder of this network, {len(missing)} of its tensors are '
            f'missing: {listed(missing)}'
        )
        raise CheckpointError(msg)
    shapes = [
        f'{source} {tuple(tensors[source].shape)} for {tuple(own[name].shape)}'
        for name, source in sources.items()
        if tensors[source].shape != own[name].shape
    ]
    if shapes:
        msg = f'{path} does not fit this network, {len(shapes)} of another shape: {listed(shapes)}'
        raise CheckpointError(msg)
