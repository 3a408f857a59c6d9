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

"""How well a mask follows the boundaries between classes: boundary F, boundary IoU and mBA."""

from __future__ import annotations

from math import hypot

import cv2
import numpy as np

from uhr_seg_ros.core.classes import UNLABELED
from uhr_seg_ros.evaluation.block import Block, Metric
from uhr_seg_ros.evaluation.metrics import mean, ratio

_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def near_other_class(ids: np.ndarray, kernel: np.ndarray, *, border: bool = False) -> np.ndarray:
    """
    Find the pixels that have another class within reach.

    An ignored pixel is no class: neither it nor its neighbours are found because of it.

    Args:
        ids: (H, W) uint8 class ids, 255 where ignored.
        kernel: (k, k) uint8, what is within reach.
        border: Whether the outside of the image is another class.

    Returns:
        (H, W) bool.
    """
    ignored = ids == UNLABELED
    # For the maximum an ignored pixel must be low, for the minimum it is high as it is. With an
    # outside that is another class the maximum there is higher than every class.
    low = np.where(ignored, np.uint8(0), ids)
    outside = UNLABELED if border else 0
    highest = cv2.dilate(low, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=outside)
    lowest = cv2.erode(ids, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=UNLABELED)
    return (highest != lowest) & ~ignored


def contours(ids: np.ndarray) -> np.ndarray:
    """
    Find the pixels with a 4-neighbour of another class: contours 1 px wide, inside every class.

    Args:
        ids: (H, W) uint8 class ids, 255 where ignored; neither ignored pixels nor the border of
            the image make a contour.

    Returns:
        (H, W) bool.
    """
    return near_other_class(ids, _CROSS)


def disk(radius: int) -> np.ndarray:
    """Return the kernel of all pixels whose centre is at most `radius` px away, uint8."""
    rows, columns = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return (rows**2 + columns**2 <= radius**2).astype(np.uint8)


def square(distance: int) -> np.ndarray:
    """Return the kernel of all pixels at most `distance` px away along both axes, uint8."""
    return np.ones((2 * distance + 1, 2 * distance + 1), np.uint8)


def hide_ignored(labels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the mask (H, W) with 255 where the labels are ignored."""
    return np.where(labels == UNLABELED, np.uint8(UNLABELED), mask)


#: Tolerances of boundary F, px.
RADII = (2, 5, 9, 12)


class BoundaryF(Metric):
    """
    Boundary F: how well contours lie, within a tolerance in px.

    A contour are the pixels of a class with a 4-neighbour of another class. Precision is the share
    of the mask's contour pixels with a contour pixel of the same class in the labels at most r px
    away (in a disk), recall the share of the labels' contour pixels with one in the mask, and ``F
    = 2 P R / (P + R)`` (Csurka et al., "What is a good evaluation measure for semantic
    segmentation?", BMVC 2013; Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for
    Video Object Segmentation", CVPR 2016). 2, 5, 9 and 12 px are the tolerances of Gated-SCNN
    (Takikawa et al., ICCV 2019) in an image of 1024x2048 px.

    Counts are added up over the data set, where the sources average over images. Where the labels
    are ignored the mask is too; neither ignored pixels nor the border of the image make a contour.

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


#: The ratio of the paper, and the one for large images of many objects.
RATIOS = (0.02, 0.005)


class BoundaryIou(Metric):
    """
    Boundary IoU: IoU of what lies along the contours.

    Cheng et al., "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation", CVPR
    2021, arXiv 2103.16562.

    The band of a class are its pixels at most d px (along both axes, as d erosions by 3x3 px) from
    a pixel that is not of the class; what lies outside the image is not of the class. Boundary IoU
    is the IoU of the band in the labels and the band in the mask, counted over the whole data set.
    d is a share of the image's diagonal: 0.02 in the paper, 0.005 for images like those of
    Cityscapes.

    Ignored pixels are in no band, and a class does not end where it meets them.

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


#: Widths of the band of mBA.
STEPS = 5


def radii_for(size: tuple[int, int]) -> list[int]:
    """Return the radii for an image of (height, width), px."""
    largest = sum(size) / 300
    return [max(1, 1 + int((largest - 1) / STEPS * step)) for step in range(STEPS)]


class BoundaryAccuracy(Metric):
    """
    Mean boundary accuracy (mBA), as CascadePSP measures refinement.

    Cheng et al., "CascadePSP: Toward Class-Agnostic and Very High-Resolution Segmentation via
    Global and Local Refinement", CVPR 2020: the accuracy of the pixels in a band along the edges
    of the labels, averaged over five widths of the band and then over the images. The band of
    radius r are the pixels with two classes of the labels within a disk of r px around them. For
    an image of w x h px the radii are ``1 + int((R - 1) i / 5)`` for i = 0..4 with R = (w + h) /
    300.

    Ignored pixels are not counted, and none is in the band because of them. Images without an edge
    are left out.

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
