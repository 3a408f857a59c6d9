# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Random changes of light, colour and sharpness; labels stay as they are."""

from __future__ import annotations

import cv2
import numpy as np

from uhr_seg_ros.data.augmentation import Augmentation, Range

_RAMP = np.arange(256, dtype=np.float32)


def distort(image: np.ndarray, ranges: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """
    Make every change that is on to one half of the images.

    Args:
        image: (H, W, 3) uint8 BGR.
        ranges: What is on, and how far it goes.
        rng: Source of chance; a change that is off takes nothing from it.

    Returns:
        (H, W, 3) uint8 BGR.
    """
    image = np.array(image, order='C')
    if ranges.shade and _half(rng):
        image = _shade(image, ranges.shade, rng)
    if ranges.gamma[0] < ranges.gamma[1] and _half(rng):
        image = _gamma(image, ranges.gamma, rng)
    colors = _distort_in_published_order if ranges.published_order else _distort_at_once
    image = colors(image, ranges, rng)
    if ranges.blur and _half(rng):
        image = cv2.GaussianBlur(image, (0, 0), ranges.blur * (1 - rng.random()))
    if ranges.noise and _half(rng):
        sigma = np.float32(ranges.noise * rng.random())
        image = _bytes(image + sigma * rng.standard_normal(image.shape, np.float32))
    return image


def _distort_at_once(
    image: np.ndarray, ranges: Augmentation, rng: np.random.Generator
) -> np.ndarray:
    """Brightness and contrast as one table, then saturation and hue in one change of space."""
    contrast = rng.uniform(*ranges.contrast) if _half(rng) else 1.0
    shift = rng.uniform(-ranges.brightness, ranges.brightness) if _half(rng) else 0.0
    image = cv2.LUT(image, _bytes(contrast * (_RAMP + shift)))
    saturate, turn = _half(rng), _half(rng)
    if not (saturate or turn):
        return image
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    if saturate:
        factor = rng.uniform(*ranges.saturation)
        hsv[..., 1] = cv2.LUT(hsv[..., 1], _bytes(factor * _RAMP))
    if turn:
        hsv[..., 0] = cv2.LUT(hsv[..., 0], _hue_table(ranges, rng))
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)


def _distort_in_published_order(
    image: np.ndarray, ranges: Augmentation, rng: np.random.Generator
) -> np.ndarray:
    """
    Change brightness, contrast, saturation and hue as HLRC's training did.

    Every step is clipped and rounded down to 8 bits; contrast comes second or last.
    """
    if _half(rng):
        shift = rng.uniform(-ranges.brightness, ranges.brightness)
        image = cv2.LUT(image, _clipped(_RAMP + shift))
    contrast_last = _half(rng)
    if not contrast_last:
        image = _contrast(image, ranges, rng)
    if _half(rng):
        table = _clipped(rng.uniform(*ranges.saturation) * _RAMP)
        image = _change_hsv(image, 1, table)
    if _half(rng):
        image = _change_hsv(image, 0, _hue_table(ranges, rng))
    return _contrast(image, ranges, rng) if contrast_last else image


def _contrast(image: np.ndarray, ranges: Augmentation, rng: np.random.Generator) -> np.ndarray:
    if not _half(rng):
        return image
    return cv2.LUT(image, _clipped(rng.uniform(*ranges.contrast) * _RAMP))


def _change_hsv(image: np.ndarray, channel: int, table: np.ndarray) -> np.ndarray:
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    hsv[..., channel] = cv2.LUT(hsv[..., channel], table)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)


def _hue_table(ranges: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """OpenCV keeps a hue in 8 bits, as 0 to 179."""
    hue = int(rng.integers(-ranges.hue, ranges.hue + 1))
    return ((np.arange(256) + hue) % 180).astype(np.uint8)


def _gamma(image: np.ndarray, exponents: Range, rng: np.random.Generator) -> np.ndarray:
    exponent = np.exp(rng.uniform(*np.log(exponents)))
    return cv2.LUT(image, _bytes(255 * (_RAMP / 255) ** exponent))


def _shade(image: np.ndarray, strongest: float, rng: np.random.Generator) -> np.ndarray:
    """Take away light in soft patches, as clouds do."""
    height, width = image.shape[:2]
    coarse = rng.random((4, 4), np.float32) * np.float32(strongest * rng.random())
    light = 1 - cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return _bytes(image * light[..., None])


def _half(rng: np.random.Generator) -> bool:
    return rng.random() < 0.5


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _clipped(values: np.ndarray) -> np.ndarray:
    return np.clip(values, 0, 255).astype(np.uint8)
