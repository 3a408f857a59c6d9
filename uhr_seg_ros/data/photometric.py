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

"""
Random changes of light, color and sharpness; labels stay as they are.

`recolor` gives one class of a crop other colors and textures: a few mosaics show few waters, black
and smooth. Sediment, algae, waves and sun glint on the water of the next flight look like
vegetation to a network that has seen only those.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from uhr_seg_ros.data.augmentation import Augmentation, Range
from uhr_seg_ros.data.palettes import ANY, Tones

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
    if ranges.white_balance and _half(rng):
        image = _white_balance(image, ranges.white_balance, rng)
    if ranges.haze and _half(rng):
        image = _haze(image, ranges.haze, rng)
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
        hsv[..., 0] = cv2.LUT(hsv[..., 0], _hue_table(ranges.hue, ranges.hue, rng))
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
        # As published the upper end is never drawn.
        highest = max(ranges.hue - 1, 0)
        image = _change_hsv(image, 0, _hue_table(ranges.hue, highest, rng))
    return _contrast(image, ranges, rng) if contrast_last else image


def _contrast(image: np.ndarray, ranges: Augmentation, rng: np.random.Generator) -> np.ndarray:
    if not _half(rng):
        return image
    return cv2.LUT(image, _clipped(rng.uniform(*ranges.contrast) * _RAMP))


def _change_hsv(image: np.ndarray, channel: int, table: np.ndarray) -> np.ndarray:
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    hsv[..., channel] = cv2.LUT(hsv[..., channel], table)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)


def _hue_table(down: int, up: int, rng: np.random.Generator) -> np.ndarray:
    """Turn hues by a whole number from -down to up; OpenCV keeps a hue as 0 to 179."""
    hue = int(rng.integers(-down, up + 1))
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


def _white_balance(image: np.ndarray, strongest: float, rng: np.random.Generator) -> np.ndarray:
    """Change the gain of each channel by itself, as the light of another hour does."""
    gains = 1 + rng.uniform(-strongest, strongest, 3).astype(np.float32)
    table = _bytes(_RAMP[:, None] * gains)[None]
    return cv2.LUT(image, np.ascontiguousarray(table))


def _haze(image: np.ndarray, thickest: float, rng: np.random.Generator) -> np.ndarray:
    """Mix with a pale veil, thicker on one side."""
    height, width = image.shape[:2]
    coarse = rng.random((2, 2), np.float32) * np.float32(thickest * rng.random())
    veil = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)[..., None]
    pale = np.float32(rng.uniform(150, 230)) + rng.uniform(-15, 15, 3).astype(np.float32)
    return _bytes(image * (1 - veil) + pale * veil)


def _half(rng: np.random.Generator) -> bool:
    return rng.random() < 0.5


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _clipped(values: np.ndarray) -> np.ndarray:
    return np.clip(values, 0, 255).astype(np.uint8)


#: Patches per side of a crop, at least and below.
PATCHES = (2, 7)
#: Range of the opacity of the tint, and largest deviation of waves in grey levels.
OPACITY, WAVES = (0.2, 0.9), 20.0
#: Range of the length of waves, px, and side of the filter that makes them.
WAVE_LENGTH, WAVE_FILTER = (3.0, 14.0), 21


def recolour(
    image: np.ndarray,
    region: np.ndarray,
    rng: np.random.Generator,
    palette: Sequence[Tones] = ANY,
    waves: float = WAVES,
) -> np.ndarray:
    """
    Lay waves and a tint over a region, each in soft patches; the texture of the image stays.

    Args:
        image: (H, W, 3) uint8 BGR.
        region: (H, W) bool.
        rng: Source of chance.
        palette: Families that the color of the tint is drawn from.
        waves: Largest deviation of the waves, grey levels.

    Returns:
        (H, W, 3) uint8 BGR, the same outside the region.
    """
    count = int(rng.integers(*PATCHES))
    rippled = _waves(rng, region.shape, waves) * _patches(rng, count, region.shape)
    family = palette[int(rng.integers(len(palette))) if len(palette) > 1 else 0]
    hsv = family.draw(rng)
    tint = cv2.cvtColor(np.array([[hsv]], np.uint8), cv2.COLOR_HSV2BGR)[0, 0].astype(np.float32)
    opacity = _patches(rng, count, region.shape) * np.float32(rng.uniform(*OPACITY))
    # Softer towards the border of the region, where water is shallow.
    opacity *= cv2.blur(region.astype(np.float32), (5, 5))
    color = cv2.blur(image.astype(np.float32), (9, 9))
    changed = image + rippled[..., None] + opacity[..., None] * (tint - color)
    return np.where(region[..., None], np.clip(np.rint(changed), 0, 255), image).astype(np.uint8)


def _patches(rng: np.random.Generator, count: int, shape: tuple[int, int]) -> np.ndarray:
    """Where a change is how strong: (H, W) float32, 0 to 1, smooth."""
    coarse = rng.random((count, count), np.float32)
    smooth = cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip((smooth - rng.uniform(-0.2, 0.5)) * rng.uniform(1, 3), 0, 1).astype(np.float32)


def _waves(rng: np.random.Generator, shape: tuple[int, int], strongest: float) -> np.ndarray:
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
    return waves * np.float32(strongest * rng.random() / waves.std())
