# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""
Boundary IoU: IoU of what lies along the contours.

Cheng et al., "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation", CVPR 2021,
arXiv 2103.16562.

The band of a class are its pixels at most d px (along both axes, as d erosions by 3x3 px) from a
pixel that is not of the class; what lies outside the image is not of the class. Boundary IoU is
the IoU of the band in the labels and the band in the mask, counted over the whole data set. d is
a share of the image's diagonal: 0.02 in the paper, 0.005 for images like those of Cityscapes.

Ignored pixels are in no band, and a class does not end where it meets them.
"""

from __future__ import annotations

from math import hypot

import numpy as np

from uhr_seg_ros.core.classes import UNLABELED
from uhr_seg_ros.evaluation.block import Block, Metric
from uhr_seg_ros.evaluation.boundaries import hide_ignored, near_other_class, square
from uhr_seg_ros.evaluation.metrics import mean, ratio

#: The ratio of the paper, and the one for large images of many objects.
RATIOS = (0.02, 0.005)


class BoundaryIou(Metric):
    """
    Add up the bands of all classes.

    Args:
        classes: Number of classes.
        share: Width of the bands as a share of the image's diagonal.

    Attributes:
        counts: (3, classes) int64 pixels: in both bands, in that of the labels, of the mask.
    """

    def __init__(self, classes: int, share: float = RATIOS[0]) -> None:
        self.share = share
        self.counts = np.zeros((3, classes), np.int64)

    def margin(self, size: tuple[int, int]) -> int:
        """Return d for an image of (height, width), px, at least 1."""
        return max(1, round(self.share * hypot(*size)))

    def add(self, block: Block) -> None:
        """Count one block."""
        kernel = square(self.margin(block.size))
        mask = hide_ignored(block.labels, block.mask)
        true = block.part(np.where(_band(block.labels, kernel), block.labels, UNLABELED))
        found = block.part(np.where(_band(mask, kernel), mask, UNLABELED))
        for count, ids in zip(self.counts, (true[true == found], true, found), strict=True):
            count += np.bincount(ids.ravel(), minlength=256)[: len(count)]

    def iou(self) -> np.ndarray:
        """Boundary IoU per class, (classes,) float64; NaN for a class without any band."""
        both, true, found = self.counts
        return ratio(both, true + found - both)

    def mean_iou(self) -> float:
        """Mean over the classes that have a band; NaN where fewer than two are labelled."""
        return mean(self.iou()) if np.count_nonzero(self.counts[1]) > 1 else float('nan')


def _band(ids: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    return near_other_class(ids, kernel, border=True)
