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
Weights between those of a fine-tuned network and those that it started from.

Fine-tuning learns the new images and forgets some of the old ones; the weights on the line between
both often keep most of either (WiSE-FT: Wortsman et al., "Robust fine-tuning of zero-shot models",
CVPR 2022, equation 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from uhr_seg_ros.core.bundle import file_sha256
from uhr_seg_ros.core.errors import CheckpointError
from uhr_seg_ros.core.text import shown
from uhr_seg_ros.export.checkpoints import Checkpoint
from uhr_seg_ros.export.description import Description, other_classes, other_options
from uhr_seg_ros.export.pretrained import open_start


class Average(NamedTuple):
    """
    What weights are averaged with.

    Attributes:
        checkpoint: Of the same network.
        share: Of its weights in the mean, between 0 and 1.
    """

    checkpoint: Checkpoint
    share: float

    def provenance(self) -> dict[str, Any]:
        """Return what model.yaml says of it."""
        path = self.checkpoint.path
        entry = {'checkpoint': path.name, 'sha256': file_sha256(path), 'share': self.share}
        return {'averaged_with': entry}


def parse_average(text: str) -> Average:
    """
    Read ``PATH=SHARE``, a checkpoint or a bundle.

    Raises:
        CheckpointError: It is something else, or as ``open_start``.
    """
    path, _, number = text.rpartition('=')
    try:
        share = float(number)
    except ValueError:
        share = 0.0
    if not path or not 0 < share < 1:
        msg = f'--average {shown(text)}: expected PATH=SHARE with a share between 0 and 1'
        raise CheckpointError(msg)
    return Average(open_start(path), share)


def check_alike(ours: Description, theirs: Description | None, path: Path) -> None:
    """
    Refuse another network, other options or other classes; nothing where a file tells none.

    Raises:
        CheckpointError: Names what differs.
    """
    if theirs is None:
        return
    differ = [('network', ours.network, theirs.network)]
    options = other_options(ours.options, theirs.options)
    differ += [(name, ours.options[name], theirs.options[name]) for name in options]
    if classes := other_classes(ours.classes, theirs.classes):
        differ.append(('classes', *classes))
    for name, mine, other in differ:
        if mine != other:
            msg = f'--average {path}: {name} {shown(other)}, expected {shown(mine)}'
            raise CheckpointError(msg)


def averaged(
    ours: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor], share: float
) -> dict[str, torch.Tensor]:
    """
    Compute ``(1 - share) * ours + share * theirs``; counters are ours.

    Args:
        ours: A state dict, name -> tensor.
        theirs: Of the same names and shapes.
        share: Of theirs.
    """
    return {
        name: torch.lerp(value, theirs[name], share) if value.is_floating_point() else value
        for name, value in ours.items()
    }
