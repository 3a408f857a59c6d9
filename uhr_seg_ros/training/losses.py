# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""
The losses of HLRC.

Cross entropies of the fused, the semantic and the auxiliary logits, and the balance of the
experts. Each is a plain number; the total is their sum.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from uhr_seg_ros.classes import UNLABELLED

WEIGHTS = {'refine': 1.0, 'decode': 1.0, 'auxiliary': 0.4}
BALANCE_WEIGHT = 0.01
EPSILON = 1e-10


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """
    Cross entropy of resized logits, mean over *all* pixels, ignored ones counting as zero.

    Args:
        logits: (N, C, h, w), resized bilinearly to the labels.
        labels: (N, H, W) int64 class ids, 255 ignored.
    """
    logits = functional.interpolate(logits.float(), size=labels.shape[1:], mode='bilinear')
    losses = functional.cross_entropy(logits, labels, ignore_index=UNLABELLED, reduction='none')
    return losses.mean()


def expert_balance(probabilities: torch.Tensor) -> torch.Tensor:
    """
    Squared coefficient of variation of the experts' load.

    Args:
        probabilities: (tokens, E) softmax of the gate over all experts, before top-k.
    """
    load = probabilities.sum(0)
    return load.var() / (load.mean() ** 2 + EPSILON)


def losses(outputs: dict[str, torch.Tensor], labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """
    Weighted losses of ``HLRC.forward_train``, by name; their sum is minimised.

    Args:
        outputs: What ``forward_train`` returns.
        labels: (N, H, W) int64 class ids, 255 ignored.
    """
    terms = {
        name: weight * cross_entropy(outputs[name], labels) for name, weight in WEIGHTS.items()
    }
    terms['balance'] = BALANCE_WEIGHT * expert_balance(outputs['gate_probabilities'])
    return terms
