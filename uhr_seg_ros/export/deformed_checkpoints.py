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
Released checkpoints of learned downsampling: four parts, and how their names become ours.

``saliency`` and ``compress`` are the saliency network, ``encoder`` is HRNetV2-W48 and ``decoder``
its classifier.
"""

from __future__ import annotations

from collections.abc import Mapping
import re

import torch

from uhr_seg_ros.export.checkpoints import load_state, state_of_parts
from uhr_seg_ros.networks.backbones import hrnet
from uhr_seg_ros.networks.deformation.network import DeformedNetwork

#: What the released batch norm of several GPUs keeps beside its statistics.
UNUSED = re.compile(r'.*\._(tmp_running_(mean|var)|running_iter)$')

#: Part -> beginning of our names.
ROOMS = {
    'saliency': 'saliency.features.',
    'compress': 'saliency.score.1.',
    'encoder': 'inner.body.0.',
    'decoder': 'inner.body.1.',
}

#: What is left of our name -> released name, first match of each rule in turn; ``encoder`` has the
#: names that HRNet has everywhere.
RULES = {
    'saliency': (
        (r'^2\.conv\.', 'fov_squeeze_1.'),
        (r'^0\.conv\.', 'fov_expand_1.'),
        (r'^1\.conv\.', 'fov_expand_2.'),
        (r'^0\.norm\.', 'norm1.'),
        (r'^1\.norm\.', 'norm2.'),
        (r'^2\.norm\.', 'norm3.'),
    ),
    'compress': ((r'^', 'conv_last.'),),
    'decoder': (
        (r'^hidden\.conv\.', 'cbr.0.'),
        (r'^hidden\.norm\.', 'cbr.1.'),
        (r'^classify\.', 'conv_last.'),
    ),
}


def released_state(
    network: DeformedNetwork, parts: Mapping[str, Mapping[str, torch.Tensor]]
) -> dict[str, torch.Tensor]:
    """
    Return released weights under our names.

    Args:
        network: ``deform_cityscapes`` or ``deform_deepglobe``, whichever the weights are of.
        parts: Each of ``ROOMS`` -> tensors by released names.

    Raises:
        CheckpointError: A part is missing, or its names are missing, unexpected or of another
            shape; lists them.
    """
    return state_of_parts(network, released_names(network), parts, dict.fromkeys(ROOMS, UNUSED))


def load_released(
    network: DeformedNetwork, parts: Mapping[str, Mapping[str, torch.Tensor]]
) -> None:
    """
    Load released weights, all of them or none.

    Raises:
        CheckpointError: As ``released_state`` and ``load_state``.
    """
    load_state(network, released_state(network, parts))


def released_names(network: DeformedNetwork) -> dict[str, dict[str, str]]:
    """Return for each of ``ROOMS``: our name -> released name."""
    found: dict[str, dict[str, str]] = {part: {} for part in ROOMS}
    for name in network.state_dict():
        part = next(part for part, room in ROOMS.items() if name.startswith(room))
        found[part][name] = _released_name(part, name.removeprefix(ROOMS[part]))
    return found


def _released_name(part: str, name: str) -> str:
    if part == 'encoder':
        return hrnet.published_name(name)
    for pattern, replacement in RULES[part]:
        name = re.sub(pattern, replacement, name, count=1)
    return name
