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

"""Color masks and overlays, by look-up tables and at the required size; and plain charts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np

from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.core.errors import ImageError

#: Density of sampling is counted in so many cells along the longer side of an image ...
DENSITY_CELLS = 64
#: ... and shown up to so many times that of uniform sampling.
DENSITY_RANGE = 4.0


@dataclass(frozen=True)
class OverlayOptions:
    """
    Which pictures of a mask are wanted, and how they look.

    Attributes:
        overlay: the class colours over the image.
        color_mask: the class colours alone.
        alpha: weight of the colours in the overlay, 0 to 1.
        scale: size of both relative to the image, above 0 and at most 1.

    """

    overlay: bool = False
    color_mask: bool = False
    alpha: float = 0.5
    scale: float = 1.0

    @property
    def any(self) -> bool:
        """Whether a picture is wanted at all."""
        return self.overlay or self.color_mask

    def paint(
        self, image: np.ndarray, mask: np.ndarray, classes: ClassSet
    ) -> dict[str, np.ndarray]:
        """
        Paint what is wanted.

        Args:
            image: (H, W, 3) uint8 BGR.
            mask: (H, W) uint8 or uint16 class ids.
            classes: names and colours.

        Returns:
            `overlay` and `color_mask`, those that are wanted, (h, w, 3) uint8 BGR.

        Raises:
            ImageError: image and mask differ in size; alpha or scale out of range.

        """
        painted = {}
        if self.overlay:
            painter = OverlayPainter(classes, self.alpha, self.scale)
            painted['overlay'] = painter.paint(image, mask)
        if self.color_mask:
            painted['color_mask'] = colorize(mask, classes, self.scale)
        return painted


def colorize(mask: np.ndarray, classes: ClassSet, scale: float = 1.0) -> np.ndarray:
    """
    Paint every class in its colour.

    Args:
        mask: (H, W) uint8 or uint16 class ids; ids without a class become black.
        classes: names and colours.
        scale: size of the result relative to the mask, above 0 and at most 1.

    Returns:
        (h, w, 3) uint8 BGR with h = round(H scale), w = round(W scale), at least 1.

    """
    return _paint(_reduce_mask(mask, scaled_size(mask.shape, scale)), classes.palette_bgr())


class OverlayPainter:
    """
    Lay the class colours over the image; pixels without a class show the image alone.

    Example:
        >>> painter = OverlayPainter(classes, alpha=0.5, scale=0.25)
        >>> overlay = painter.paint(image, mask)

    Args:
        classes: names and colours.
        alpha: weight of the colours, 0 (only the image) to 1 (only the colours).
        scale: size of the overlay relative to the image, above 0 and at most 1.

    Raises:
        ImageError: alpha or scale out of range.

    """

    def __init__(self, classes: ClassSet, alpha: float = 0.5, scale: float = 1.0) -> None:
        if not 0.0 <= alpha <= 1.0:
            msg = f'alpha {alpha} is outside 0 to 1'
            raise ImageError(msg)
        _check_scale(scale)
        self._palette = classes.palette_bgr()
        self._count = len(classes)
        self._alpha = alpha
        self._scale = scale

    def paint(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """
        Paint one frame; both are reduced first, so that a small overlay costs little.

        Args:
            image: (H, W, 3) uint8 BGR.
            mask: (H, W) uint8 or uint16 class ids.

        Returns:
            (h, w, 3) uint8 BGR with h = round(H scale), w = round(W scale), at least 1.

        Raises:
            ImageError: image and mask differ in size.

        """
        if image.shape[:2] != mask.shape:
            msg = f'image size {image.shape[:2]} and mask size {mask.shape} differ'
            raise ImageError(msg)
        size = scaled_size(mask.shape, self._scale)
        small = _reduce_mask(mask, size)
        background = image
        if size != mask.shape:
            background = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
        overlay = _paint(small, self._palette)
        cv2.addWeighted(background, 1 - self._alpha, overlay, self._alpha, 0, dst=overlay)
        if small.max() >= self._count:
            unlabelled = cv2.inRange(small, self._count, int(small.max()))
            cv2.copyTo(background, unlabelled, overlay)
        return overlay


def draw_density(image: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """
    Paint over an image how densely it is sampled.

    Args:
        image: (H, W, 3) uint8 BGR.
        grid: (h, w, 2) sampling grid, x first, in -1..1 over the image.

    Returns:
        (H, W, 3) uint8 BGR: green as densely as a uniform grid of as many points, red
        `DENSITY_RANGE` times as densely, blue as many times less.

    """
    height, width = image.shape[:2]
    cell = max(height, width) / DENSITY_CELLS
    cells = max(1, round(height / cell)), max(1, round(width / cell))
    points = grid.reshape(-1, 2)
    counts, _, _ = np.histogram2d(points[:, 1], points[:, 0], cells, [[-1, 1], [-1, 1]])
    density = cv2.GaussianBlur(counts.astype(np.float32), (5, 5), 0)
    density *= counts.size / len(points)
    level = np.log(np.maximum(density, np.finfo(np.float32).tiny)) / np.log(DENSITY_RANGE)
    heat = ((level.clip(-1, 1) + 1) * 127.5).astype(np.uint8)
    heat = cv2.resize(heat, (width, height), interpolation=cv2.INTER_LINEAR)
    return cv2.addWeighted(image, 0.5, cv2.applyColorMap(heat, cv2.COLORMAP_JET), 0.5, 0)


def scaled_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """
    Return height and width of a picture of a frame, px, at least 1.

    Raises:
        ImageError: scale out of range.

    """
    _check_scale(scale)
    height, width = size
    return max(1, round(height * scale)), max(1, round(width * scale))


def _check_scale(scale: float) -> None:
    if not 0.0 < scale <= 1.0:
        msg = f'scale {scale} is outside 0 (excluded) to 1'
        raise ImageError(msg)


def _reduce_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if size == mask.shape:
        return mask
    return cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST)


def _paint(mask: np.ndarray, palette: np.ndarray) -> np.ndarray:
    if mask.dtype == np.uint8 and len(palette) == 256:
        return cv2.applyColorMap(mask, palette[:, None])
    return palette.take(mask, axis=0, mode='clip')


@contextmanager
def plain_charts() -> Iterator[None]:
    """
    Draw as matplotlib does by default, whatever a `matplotlibrc` says; also a decorator.

    One of the current folder is read first, and may lie beside a downloaded recording: it can have
    LaTeX run with lines of its own. Where matplotlib is missing, the block runs, and tells so.
    """
    try:
        from matplotlib import style
    except ImportError:
        yield
        return
    with style.context('default'):
        yield


def series_colors(count: int) -> list[tuple[float, float, float, float]]:
    """
    Choose colors for the series of a chart, no two alike: those of matplotlib up to ten.

    Args:
        count: of the series.

    Returns:
        RGBA of each, 0 to 1.

    """
    from matplotlib import colormaps

    for name in ('tab10', 'tab20'):
        if count <= colormaps[name].N:
            return [colormaps[name](index) for index in range(count)]
    hues = colormaps['turbo']
    return [hues(index / (count - 1)) for index in range(count)]
