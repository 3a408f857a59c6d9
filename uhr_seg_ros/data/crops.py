# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Random crops with the augmentation of HLRC's training and what aerial views add to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from uhr_seg_ros.classes import UNLABELLED
from uhr_seg_ros.data.aerial import Mosaic

#: A crop may show at most this share of one class, as published ...
MAX_SHARE = 0.75
#: ... but after so many tries it may.
TRIES = 10


@dataclass(frozen=True)
class Augmentation:
    """
    Ranges of the random changes; one half of the crops gets each photometric one.

    Attributes:
        scale: Factor of the size, drawn log-uniformly.
        brightness: Added to all values, largest absolute amount.
        contrast: Factor of all values.
        saturation: Factor of the saturation.
        hue: Added to the hue in units of 2 degrees, largest absolute amount.
    """

    scale: tuple[float, float] = (0.5, 1.5)
    brightness: float = 32.0
    contrast: tuple[float, float] = (0.5, 1.5)
    saturation: tuple[float, float] = (0.5, 1.5)
    hue: int = 18


class CropSampler:
    """
    Draw augmented crops, mosaics in proportion to their area.

    Args:
        mosaics: Labelled images.
        size: Side of a crop in px.
        augmentation: Ranges of the changes.
    """

    def __init__(
        self, mosaics: Sequence[Mosaic], size: int, augmentation: Augmentation | None = None
    ) -> None:
        self.mosaics = mosaics
        self.size = size
        self.augmentation = augmentation or Augmentation()
        areas = np.array([mosaic.labels.size for mosaic in mosaics], np.float64)
        self._probability = areas / areas.sum()

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Give one crop: (size, size, 3) uint8 BGR and (size, size) uint8 labels."""
        for _ in range(TRIES):
            image, labels = self._window(rng)
            if _largest_share(labels) <= MAX_SHARE:
                break
        image, labels = self._resize(image, labels)
        image, labels = _turn(image, labels, rng)
        return distort(image, self.augmentation, rng), np.ascontiguousarray(labels)

    def _window(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        mosaic = self.mosaics[rng.choice(len(self.mosaics), p=self._probability)]
        low, high = np.log(self.augmentation.scale)
        side = round(self.size / np.exp(rng.uniform(low, high)))
        height, width = mosaic.labels.shape
        top, left = (int(rng.integers(0, max(s - side, 0) + 1)) for s in (height, width))
        window = np.s_[top : top + side, left : left + side]
        image, labels = mosaic.image[window], mosaic.labels[window]
        below, right = side - labels.shape[0], side - labels.shape[1]
        if below or right:
            edges = (0, below, 0, right)
            image = cv2.copyMakeBorder(image, *edges, cv2.BORDER_REFLECT_101)
            labels = cv2.copyMakeBorder(labels, *edges, cv2.BORDER_CONSTANT, value=UNLABELLED)
        return image, labels

    def _resize(self, image: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        size = (self.size, self.size)
        if labels.shape == size:
            return image, labels
        shrinks = len(labels) > self.size
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return (
            cv2.resize(image, size, interpolation=how),
            cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST),
        )


def _largest_share(labels: np.ndarray) -> float:
    counts = np.bincount(labels[::4, ::4].ravel(), minlength=256)[:UNLABELLED]
    return counts.max() / max(counts.sum(), 1)


def _turn(
    image: np.ndarray, labels: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """One of the eight symmetries of the square: from above, no direction is special."""
    quarters = int(rng.integers(4))
    image, labels = np.rot90(image, quarters), np.rot90(labels, quarters)
    if rng.random() < 0.5:
        image, labels = image[:, ::-1], labels[:, ::-1]
    return image, labels


def distort(image: np.ndarray, ranges: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Change brightness, contrast, saturation and hue of (H, W, 3) uint8 BGR."""
    contrast = rng.uniform(*ranges.contrast) if rng.random() < 0.5 else 1.0
    shift = rng.uniform(-ranges.brightness, ranges.brightness) if rng.random() < 0.5 else 0.0
    ramp = np.arange(256, dtype=np.float32)
    image = cv2.LUT(np.ascontiguousarray(image), _bytes(contrast * (ramp + shift)))
    saturate, turn = rng.random() < 0.5, rng.random() < 0.5
    if not (saturate or turn):
        return image
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    if saturate:
        factor = rng.uniform(*ranges.saturation)
        hsv[..., 1] = cv2.LUT(hsv[..., 1], _bytes(factor * ramp))
    if turn:
        hue = int(rng.integers(-ranges.hue, ranges.hue + 1))
        hsv[..., 0] = cv2.LUT(hsv[..., 0], ((np.arange(256) + hue) % 180).astype(np.uint8))
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
