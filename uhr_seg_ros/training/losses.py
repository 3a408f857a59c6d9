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
The losses of all networks.

Of HLRC: cross entropies of the fused, the semantic and the auxiliary logits, the balance of the
experts and, where the network rebuilds the Laplacian residuals, the error of that and the affinity
between the semantic feature and the rebuilt one. Of FCtL: the focal loss. Of learned downsampling:
the edge loss, see ``boundaries``. Of PIDNet: those of ``boundary_losses``. Each is a plain
number; the total is their sum.

All but two are means over the images of a batch, so the gradient of a batch is the mean of those
of its equal parts. The balance of the experts is not: it is a ratio of sums over all tokens.
Processes therefore add up their sums; micro-batches cannot, each balances the experts by itself.
Nor is the edge loss: every process stretches the saliency of each of its micro-batches by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch.nn import functional

from uhr_seg_ros.core.classes import UNLABELED
from uhr_seg_ros.networks.backbones.layers import resize_like
from uhr_seg_ros.training.boundaries import edge_loss
from uhr_seg_ros.training.boundary_losses import boundary, labels_at_boundaries
from uhr_seg_ros.training.distributed import sum_over_processes

#: What each loss counts in the total, as published for HLRC, for learned downsampling (``edge``)
#: and for PIDNet (``boundary...``); FCtL has ``focal`` in the place of ``refine``.
WEIGHTS = {
    'refine': 1.0,
    'focal': 0.0,
    'decode': 1.0,
    'auxiliary': 0.4,
    'balance': 0.01,
    'reconstruction': 0.1,
    'affinity': 1.0,
    'edge': 100.0,
    'boundary': 20.0,
    'boundary_awareness': 1.0,
}
EPSILON = 1e-10
#: Exponent of the focal loss as published for FCtL.
FOCAL_GAMMA = 3.0
#: How far its probabilities stay off 0 and 1, as published for FCtL.
PROBABILITY_EPSILON = 1e-7
#: Pixels that losses of pixels are means over: all, ignored ones counting as zero, as published
#: for HLRC and FCtL; or those with a label whose class counts, as for learned downsampling.
MEANS = ('all', 'labeled')
#: Losses of pixels.
OF_PIXELS = ('refine', 'focal', 'decode', 'auxiliary', 'boundary_awareness')
NORM_EPSILON = 1e-6


def cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, class_weights: torch.Tensor | None = None
) -> torch.Tensor:
    """
    Cross entropy of resized logits, mean over *all* pixels, ignored ones counting as zero.

    Args:
        logits: (N, C, h, w), resized bilinearly to the labels.
        labels: (N, H, W) int64 class ids, 255 ignored.
        class_weights: (C,), what a pixel of each class counts; None: 1, as published.
    """
    # A CPU's softmax over channels is slow where they lie together: half the time for eleven.
    logits = logits.contiguous()
    logits = functional.interpolate(logits, size=labels.shape[1:], mode='bilinear')
    losses = functional.cross_entropy(
        logits, labels, class_weights, ignore_index=UNLABELED, reduction='none'
    )
    return losses.mean()


def focal(
    logits: torch.Tensor,
    labels: torch.Tensor,
    class_weights: torch.Tensor | None = None,
    gamma: float = FOCAL_GAMMA,
) -> torch.Tensor:
    """
    Focal loss of resized logits: what the network is sure of counts little.

    The mean of -(1 - p)^gamma log p over all pixels, ignored ones counting as zero; p is the
    probability of the label. Source: Lin et al., "Focal Loss for Dense Object Detection", ICCV
    2017.

    Args:
        logits: As of ``cross_entropy``.
        labels: As of ``cross_entropy``.
        class_weights: As of ``cross_entropy``.
        gamma: How little.
    """
    logits = functional.interpolate(logits.contiguous(), size=labels.shape[1:], mode='bilinear')
    inside = (labels != UNLABELED).to(logits.dtype)
    named = labels.where(labels != UNLABELED, 0)
    probability = logits.softmax(1).gather(1, named[:, None])[:, 0]
    probability = probability.clamp(PROBABILITY_EPSILON, 1 - PROBABILITY_EPSILON)
    if class_weights is not None:
        inside = inside * class_weights[named]
    return -(inside * (1 - probability) ** gamma * probability.log()).mean()


def expert_balance(probabilities: torch.Tensor) -> torch.Tensor:
    """
    Squared coefficient of variation of the experts' load, which all processes share.

    Args:
        probabilities: (tokens, E) softmax of the gate over all experts, before top-k.
    """
    load = sum_over_processes(probabilities.sum(0))
    if len(load) == 1:  # nothing to balance, and its sample variance is not defined
        return load.new_zeros(())
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
    """Return (N, h w, h w) scalar products of places, every channel scaled to length one."""
    flat = feature.flatten(2)
    unit = flat / (flat.norm(dim=2, keepdim=True) + NORM_EPSILON)
    return unit.transpose(1, 2) @ unit


#: Loss -> the outputs it looks at, and how they, labels and class weights become a number.
LOSSES: dict[str, tuple[tuple[str, ...], Callable[..., torch.Tensor]]] = {
    'refine': (('refine',), cross_entropy),
    'focal': (('refine',), focal),
    'decode': (('decode',), cross_entropy),
    'auxiliary': (('auxiliary',), cross_entropy),
    'balance': (('gate_probabilities',), lambda found, *_: expert_balance(found)),
    'reconstruction': (
        ('reconstruction', 'residual_target'),
        lambda found, target, *_: reconstruction_error(found, target),
    ),
    'affinity': (
        ('reduced', 'rebuilt_feature'),
        lambda reduced, rebuilt, *_: feature_affinity(reduced, rebuilt),
    ),
    'edge': (('saliency', 'edges'), lambda saliency, edges, *_: edge_loss(saliency, edges)),
    'boundary': (('boundary',), lambda found, labels, *_: boundary(found, labels)),
    'boundary_awareness': (
        ('refine', 'boundary'),
        lambda logits, found, labels, class_weights: cross_entropy(
            logits, labels_at_boundaries(found, labels), class_weights
        ),
    ),
}


def losses(
    outputs: Mapping[str, torch.Tensor],
    labels: torch.Tensor,
    weights: Mapping[str, float] = WEIGHTS,
    class_weights: torch.Tensor | None = None,
    *,
    gamma: float = FOCAL_GAMMA,
    mean_over: str = 'all',
) -> dict[str, torch.Tensor]:
    """
    Weighted losses of what ``forward_train`` returned, by name; their sum is minimized.

    Args:
        outputs: What ``forward_train`` returned: ``refine`` and whatever else the network has.
        labels: (N, H, W) int64 class ids, 255 ignored.
        weights: Loss -> weight; a loss of weight zero is left out.
        class_weights: As of ``cross_entropy``.
        gamma: Of the focal loss.
        mean_over: One of ``MEANS``.
    """
    functions = {'focal': partial(focal, gamma=gamma)}
    share = _counted_share(labels, class_weights) if mean_over == 'labeled' else None
    outputs = {name: value.float() for name, value in outputs.items()}
    terms = {}
    for name, (inputs, function) in LOSSES.items():
        if weights[name] and all(key in outputs for key in inputs):
            arguments = [outputs[key] for key in inputs]
            function = functions.get(name, function)
            terms[name] = weights[name] * function(*arguments, labels, class_weights)
            if share is not None and name in OF_PIXELS:
                terms[name] = terms[name] / share
    return terms


def _counted_share(labels: torch.Tensor, class_weights: torch.Tensor | None) -> torch.Tensor:
    """Return the share of the pixels that count; 1 where none does, whose loss is 0."""
    counted = labels != UNLABELED
    if class_weights is not None:
        counted &= class_weights[labels.where(counted, 0)] > 0
    share = counted.float().mean()
    return share.where(share > 0, 1)
