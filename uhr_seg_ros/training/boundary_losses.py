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
The losses of PIDNet about boundaries.

Source: Xu, Xiong and Bhattacharyya, "PIDNet", CVPR 2023, https://arxiv.org/abs/2206.02066: the
weighted binary cross entropy of its branch of boundaries, and the cross entropy of the pixels that
this branch takes for boundaries. They count 20 and 1 there, the auxiliary cross entropy 0.4.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from uhr_seg_ros.core.classes import UNLABELED

#: What the branch of boundaries has to be surer of than this, 0 to 1.
THRESHOLD = 0.8
#: How far a boundary reaches to either side, px.
REACH = 2


def boundaries_of(labels: torch.Tensor, reach: int = REACH) -> torch.Tensor:
    """
    Draw the pixels near a change of labels.

    Args:
        labels: (N, H, W) class ids; what is unlabeled has no boundary.
        reach: In px, to either side.

    Returns:
        (N, H, W) bool.
    """
    found = torch.zeros_like(labels, dtype=torch.bool)
    for axis in (1, 2):
        length = labels.shape[axis] - 1
        before, after = labels.narrow(axis, 0, length), labels.narrow(axis, 1, length)
        changes = (before != after) & (before != UNLABELED) & (after != UNLABELED)
        found.narrow(axis, 0, length).logical_or_(changes)
        found.narrow(axis, 1, length).logical_or_(changes)
    if reach > 1:
        side = 2 * reach - 1
        found = functional.max_pool2d(found[:, None].float(), side, 1, reach - 1)[:, 0] > 0
    return found


def boundary(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """
    Binary cross entropy of boundaries, which count as much as all other pixels of an image.

    Mean over all pixels, ignored ones counting as zero.

    Args:
        logits: (N, 1, h, w), resized bilinearly to the labels.
        labels: (N, H, W) int64 class ids, 255 ignored.
    """
    logits = functional.interpolate(logits, size=labels.shape[1:], mode='bilinear')[:, 0]
    target, labeled = boundaries_of(labels), labels != UNLABELED
    count = labeled.sum((1, 2), keepdim=True).clamp(min=1)
    share = (target & labeled).sum((1, 2), keepdim=True) / count
    weights = torch.where(target, 1 - share, share) * labeled
    return functional.binary_cross_entropy_with_logits(
        logits, target.to(logits.dtype), weights.to(logits.dtype)
    )


def labels_at_boundaries(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """
    Keep the labels where the branch of boundaries finds one, as far as it is sure.

    Args:
        logits: As of ``boundary``.
        labels: As of ``boundary``.

    Returns:
        (N, H, W) int64, 255 elsewhere.
    """
    logits = functional.interpolate(logits, size=labels.shape[1:], mode='bilinear')[:, 0]
    return labels.where(logits.sigmoid() > THRESHOLD, UNLABELED)
