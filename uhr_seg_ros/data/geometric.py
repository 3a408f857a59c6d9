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

"""Symmetries, rotation and padding of an image together with its labels."""

from __future__ import annotations

import cv2
import numpy as np

from uhr_seg_ros.core.classes import UNLABELED

#: Padding is 0 after normalisation: the mean colour, BGR, rounded to 8 bits.
PAD = (104, 116, 124)

Pair = tuple[np.ndarray, np.ndarray]


def take_symmetry(
    image: np.ndarray, labels: np.ndarray, rng: np.random.Generator, *, square: bool = True
) -> Pair:
    """One of the eight symmetries of the square, or of the four of a rectangle."""
    quarters = int(rng.integers(4)) if square else 2 * int(rng.integers(2))
    image, labels = np.rot90(image, quarters), np.rot90(labels, quarters)
    return mirror(image, labels) if rng.random() < 0.5 else (image, labels)


def mirror(image: np.ndarray, labels: np.ndarray) -> Pair:
    """Swap left and right."""
    return image[:, ::-1], labels[:, ::-1]


def rotate(image: np.ndarray, labels: np.ndarray, angle: float, size: tuple[int, int]) -> Pair:
    """
    Rotate about the centre.

    Args:
        image: (H, W, 3) uint8.
        labels: (H, W) uint8.
        angle: Degrees, clockwise.
        size: Height and width in px of what is kept, around the centre.

    Returns:
        Image, bilinear, 0 outside; and labels, nearest, 255 outside.
    """
    height, width = labels.shape
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -angle, 1.0)
    matrix[:, 2] -= (width - size[1]) / 2, (height - size[0]) / 2
    image, labels = np.ascontiguousarray(image), np.ascontiguousarray(labels)
    target = size[::-1]
    return (
        cv2.warpAffine(image, matrix, target, flags=cv2.INTER_LINEAR, borderValue=0),
        cv2.warpAffine(
            labels, matrix, target, flags=cv2.INTER_NEAREST, borderValue=float(UNLABELED)
        ),
    )


def pad(image: np.ndarray, labels: np.ndarray, size: tuple[int, int]) -> Pair:
    """Extend a crop to the right and below with `PAD` and 255 to a height and width."""
    edges = (0, size[0] - labels.shape[0], 0, size[1] - labels.shape[1])
    if any(edges):
        image = cv2.copyMakeBorder(image, *edges, cv2.BORDER_CONSTANT, value=PAD)
        labels = cv2.copyMakeBorder(labels, *edges, cv2.BORDER_CONSTANT, value=UNLABELED)
    return image, labels
