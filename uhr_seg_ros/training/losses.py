# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""
The losses of HLRC.

Cross entropies of the fused, the semantic and the auxiliary logits, the balance of the experts
and, where the network rebuilds the Laplacian residuals, the error of that and the affinity
between the semantic feature and the rebuilt one. Each is a plain number; the total is their sum.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from uhr_seg_ros.classes import UNLABELLED
from uhr_seg_ros.networks.layers import resize_like

WEIGHTS = {'refine': 1.0, 'decode': 1.0, 'auxiliary': 0.4}
BALANCE_WEIGHT = 0.01
RECONSTRUCTION_WEIGHT = 0.1
EPSILON = 1e-10
NORM_EPSILON = 1e-6


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


def reconstruction_error(found: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """
    Mean squared error of the rebuilt Laplacian residuals.

    Args:
        found: (N, 3, h, w), resized bilinearly to the target.
        target: (N, 3, H, W), fine residual plus the enlarged coarse one.
    """
    return functional.mse_loss(resize_like(found, target), target)


def feature_affinity(reduced: torch.Tensor, rebuilt: torch.Tensor) -> torch.Tensor:
    """
    Mean absolute difference of how alike any two places are in two features.

    It trains ``reduced`` only: the similarities of ``rebuilt`` are the target.

    Args:
        reduced: (N, C, h, w).
        rebuilt: (N, C, H, W), resized bilinearly to (h, w).
    """
    target = _similarities(resize_like(rebuilt.detach(), reduced))
    return (_similarities(reduced) - target).abs().mean()


def _similarities(feature: torch.Tensor) -> torch.Tensor:
    """Give (N, h w, h w) scalar products of places, every channel scaled to length one."""
    flat = feature.float().flatten(2)
    unit = flat / (flat.norm(dim=2, keepdim=True) + NORM_EPSILON)
    return unit.transpose(1, 2) @ unit


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
    if 'reconstruction' in outputs:
        error = reconstruction_error(outputs['reconstruction'], outputs['residual_target'])
        terms['reconstruction'] = RECONSTRUCTION_WEIGHT * error
        terms['affinity'] = feature_affinity(outputs['reduced'], outputs['rebuilt_feature'])
    return terms
