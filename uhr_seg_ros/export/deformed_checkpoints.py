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

#: What is left of our name -> released name, first match of each rule in turn.
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
    'encoder': (
        (r'^first\.', 'layer1.'),
        (r'^stages\.0\.enter\.0\.', 'transition1.0.'),
        # What a stage adds is listed after what it takes over, and is nested once more.
        (r'^stages\.0\.add\.', 'transition1.1.0.'),
        (r'^stages\.1\.add\.', 'transition2.2.0.'),
        (r'^stages\.2\.add\.', 'transition3.3.0.'),
        (r'^stages\.0\.exchanges\.', 'stage2.'),
        (r'^stages\.1\.exchanges\.', 'stage3.'),
        (r'^stages\.2\.exchanges\.', 'stage4.'),
        (r'\.paths\.', '.fuse_layers.'),
        # Layers in a row are numbered from zero, those of a residual unit from one.
        (r'\.shortcut\.', '.downsample.'),
        (r'(stem|body)\.0\.conv\.', 'conv1.'),
        (r'(stem|body)\.1\.conv\.', 'conv2.'),
        (r'(stem|body)\.2\.conv\.', 'conv3.'),
        (r'(stem|body)\.0\.norm\.', 'bn1.'),
        (r'(stem|body)\.1\.norm\.', 'bn2.'),
        (r'(stem|body)\.2\.norm\.', 'bn3.'),
        (r'\.conv\.', '.0.'),
        (r'\.norm\.', '.1.'),
    ),
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
        released = name.removeprefix(ROOMS[part])
        for pattern, replacement in RULES[part]:
            released = re.sub(pattern, replacement, released, count=1)
        found[part][name] = released
    return found
