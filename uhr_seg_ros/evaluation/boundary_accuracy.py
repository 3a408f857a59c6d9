# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""
Mean boundary accuracy (mBA), as CascadePSP measures refinement.

Cheng et al., "CascadePSP: Toward Class-Agnostic and Very High-Resolution Segmentation via Global
and Local Refinement", CVPR 2020: the accuracy of the pixels in a band along the edges of the
labels, averaged over five widths of the band and then over the images. The band of radius r are
the pixels with two classes of the labels within a disk of r px around them. For an image of w x h
px the radii are ``1 + int((R - 1) i / 5)`` for i = 0..4 with R = (w + h) / 300.

Ignored pixels are not counted, and none is in the band because of them. Images without an edge are
left out.
"""

from __future__ import annotations

import numpy as np

from uhr_seg_ros.evaluation.block import Block, Metric
from uhr_seg_ros.evaluation.boundaries import disk, near_other_class
from uhr_seg_ros.evaluation.metrics import mean, ratio

STEPS = 5


def radii_for(size: tuple[int, int]) -> list[int]:
    """Return the radii for an image of (height, width), px."""
    largest = sum(size) / 300
    return [max(1, 1 + int((largest - 1) / STEPS * step)) for step in range(STEPS)]


class BoundaryAccuracy(Metric):
    """
    Add up the bands of every image.

    Attributes:
        per_image: Mean boundary accuracy of every image; NaN without an edge.
    """

    def __init__(self) -> None:
        self.per_image: list[float] = []
        self._counts = np.zeros((2, STEPS), np.int64)

    def margin(self, size: tuple[int, int]) -> int:
        """Return the largest radius."""
        return max(radii_for(size))

    def add(self, block: Block) -> None:
        """Count one block."""
        right = block.part(block.labels) == block.part(block.mask)
        # A radius may come more than once; its band is made once.
        bands = {radius: self._band(block, radius) for radius in set(radii_for(block.size))}
        for step, radius in enumerate(radii_for(block.size)):
            band = bands[radius]
            self._counts[:, step] += np.count_nonzero(band & right), np.count_nonzero(band)

    def end_image(self) -> None:
        """Average over the widths."""
        self.per_image.append(mean(ratio(*self._counts)))
        self._counts[:] = 0

    def value(self) -> float:
        """Mean over the images; NaN if none has an edge."""
        return mean(np.array(self.per_image))

    def _band(self, block: Block, radius: int) -> np.ndarray:
        near = block.within(radius)
        return near.part(near_other_class(near.labels, disk(radius)))
