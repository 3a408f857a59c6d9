# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""
Boundary F: how well contours lie, within a tolerance in px.

A contour are the pixels of a class with a 4-neighbour of another class. Precision is the share of
the mask's contour pixels with a contour pixel of the same class in the labels at most r px away
(in a disk), recall the share of the labels' contour pixels with one in the mask, and
``F = 2 P R / (P + R)`` (Csurka et al., "What is a good evaluation measure for semantic
segmentation?", BMVC 2013; Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for
Video Object Segmentation", CVPR 2016). 2, 5, 9 and 12 px are the tolerances of Gated-SCNN
(Takikawa et al., ICCV 2019) in an image of 1024x2048 px.

Counts are added up over the data set, where the sources average over images. Where the labels are
ignored the mask is too; neither ignored pixels nor the border of the image make a contour.
"""

from __future__ import annotations

import cv2
import numpy as np

from uhr_seg_ros.core.classes import UNLABELED
from uhr_seg_ros.evaluation.block import Block, Metric
from uhr_seg_ros.evaluation.boundaries import contours, disk, hide_ignored
from uhr_seg_ros.evaluation.metrics import mean, ratio

#: Tolerances, px.
RADII = (2, 5, 9, 12)


class BoundaryF(Metric):
    """
    Add up the contours of all classes.

    Args:
        classes: Number of classes.
        radii: Tolerances, px.

    Attributes:
        counts: (radii, 4, classes) int64 contour pixels: of the mask that are matched, of the
            mask, of the labels that are matched, of the labels.
    """

    def __init__(self, classes: int, radii: tuple[int, ...] = RADII) -> None:
        self.radii = radii
        self.counts = np.zeros((len(radii), 4, classes), np.int64)
        self._disks = [disk(radius) for radius in radii]

    def margin(self, size: tuple[int, int]) -> int:
        """Return the largest tolerance and 1 px to see the contour."""
        return max(self.radii) + 1

    def add(self, block: Block) -> None:
        """Count one block."""
        mask = hide_ignored(block.labels, block.mask)
        true = np.where(contours(block.labels), block.labels, UNLABELED)
        found = np.where(contours(mask), mask, UNLABELED)
        present = np.unique(np.concatenate([np.unique(true), np.unique(found)]))
        for index in present[present < self.counts.shape[2]]:
            self._add_class(block, (found == index), (true == index), index)

    def _add_class(self, block: Block, found: np.ndarray, true: np.ndarray, index: int) -> None:
        for counts, kernel in zip(self.counts, self._disks, strict=True):
            counts[0:2, index] += _matched(block, found, true, kernel)
            counts[2:4, index] += _matched(block, true, found, kernel)

    def precision(self) -> np.ndarray:
        """Precision, (radii, classes); NaN where the mask has no contour."""
        return ratio(self.counts[:, 0], self.counts[:, 1])

    def recall(self) -> np.ndarray:
        """Recall, (radii, classes); NaN where the labels have no contour."""
        return ratio(self.counts[:, 2], self.counts[:, 3])

    def f(self) -> np.ndarray:
        """F, (radii, classes); 0 where only labels or mask have a contour, NaN where none has."""
        precision, recall = np.nan_to_num(self.precision()), np.nan_to_num(self.recall())
        value = np.nan_to_num(ratio(2 * precision * recall, precision + recall))
        return np.where(self.counts[:, [1, 3]].sum(1) > 0, value, np.nan)

    def mean_f(self) -> np.ndarray:
        """Mean of F over the classes with a contour, (radii,); NaN if the labels have none."""
        return np.array([mean(values) if self.has_contours else np.nan for values in self.f()])

    @property
    def has_contours(self) -> bool:
        """Whether the labels have any contour."""
        return bool(self.counts[0, 3].any())


def _matched(
    block: Block, pixels: np.ndarray, others: np.ndarray, kernel: np.ndarray
) -> tuple[int, int]:
    """Count the pixels of a block that have another one within reach, and all of them."""
    inside = block.part(pixels)
    total = int(np.count_nonzero(inside))
    if not total:
        return 0, 0
    near = block.part(cv2.dilate(others.view(np.uint8), kernel))
    return int(np.count_nonzero(inside & near.view(bool))), total
