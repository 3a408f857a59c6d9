# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""
Other colours and textures for one class of a crop.

A few mosaics show few waters: black and smooth. Sediment, algae, waves and sun glint on the water
of the next flight look like vegetation to a network that has seen only those.
"""

from __future__ import annotations

import cv2
import numpy as np

#: Patches per side of a crop, at least and below.
PATCHES = (2, 7)
#: Largest saturation, and range of the value, of the tint (OpenCV's HSV, 0 to 255).
SATURATION, VALUE = 160, (10, 120)
#: Range of the opacity of the tint, and largest deviation of waves in grey levels.
OPACITY, WAVES = (0.2, 0.9), 20.0
#: Range of the length of waves, px, and side of the filter that makes them.
WAVE_LENGTH, WAVE_FILTER = (3.0, 14.0), 21


def recolour(image: np.ndarray, region: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """
    Lay waves and a tint over a region, each in soft patches; the texture of the image stays.

    Args:
        image: (H, W, 3) uint8 BGR.
        region: (H, W) bool.
        rng: Source of chance.

    Returns:
        (H, W, 3) uint8 BGR, the same outside the region.
    """
    count = int(rng.integers(*PATCHES))
    waves = _waves(rng, region.shape) * _patches(rng, count, region.shape)
    hsv = np.uint8([[[rng.integers(180), rng.integers(SATURATION), rng.integers(*VALUE)]]])
    tint = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0, 0].astype(np.float32)
    opacity = _patches(rng, count, region.shape) * np.float32(rng.uniform(*OPACITY))
    # Softer towards the border of the region, where water is shallow.
    opacity *= cv2.blur(region.astype(np.float32), (5, 5))
    color = cv2.blur(image.astype(np.float32), (9, 9))
    changed = image + waves[..., None] + opacity[..., None] * (tint - color)
    return np.where(region[..., None], np.clip(np.rint(changed), 0, 255), image).astype(np.uint8)


def _patches(rng: np.random.Generator, count: int, shape: tuple[int, int]) -> np.ndarray:
    """Where a change is how strong: (H, W) float32, 0 to 1, smooth."""
    coarse = rng.random((count, count), np.float32)
    smooth = cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip((smooth - rng.uniform(-0.2, 0.5)) * rng.uniform(1, 3), 0, 1).astype(np.float32)


def _waves(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Noise of one direction and about one wave length, (H, W) float32."""
    length = rng.uniform(*WAVE_LENGTH)
    gabor = cv2.getGaborKernel(
        (WAVE_FILTER, WAVE_FILTER),
        sigma=rng.uniform(0.3, 0.7) * length,
        theta=rng.uniform(0, np.pi),
        lambd=length,
        gamma=rng.uniform(0.2, 1),
        psi=0,
        ktype=cv2.CV_32F,
    )
    waves = cv2.filter2D(rng.standard_normal(shape, np.float32), -1, gabor - gabor.mean())
    return waves * np.float32(WAVES * rng.random() / waves.std())
