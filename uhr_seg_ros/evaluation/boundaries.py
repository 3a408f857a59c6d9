# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Where classes meet: what all boundary metrics rest on."""

from __future__ import annotations

import cv2
import numpy as np

from uhr_seg_ros.core.classes import UNLABELED

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
