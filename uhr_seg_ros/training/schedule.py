# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Learning rate: linear warm-up, then polynomial decay."""

from __future__ import annotations


def learning_rate(
    step: int, *, base: float, steps: int, warmup: int, power: float = 1.0, start: float = 1e-6
) -> float:
    """
    Rate at a step: ``base (1 - step/steps)^power``, scaled up linearly during warm-up.

    Args:
        step: 0 to steps - 1.
        base: Rate without warm-up at step 0.
        steps: Length of the training.
        warmup: Steps during which the factor rises from ``start`` to 1.
        power: Exponent of the decay, 1 as published.
        start: Factor at step 0.
    """
    rate = base * (1 - step / steps) ** power
    if step < warmup:
        rate *= 1 - (1 - step / warmup) * (1 - start)
    return rate
