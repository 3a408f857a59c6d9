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

"""Random crops: only the window of an image that a crop shows is read, and then resized."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from uhr_seg_ros.core.classes import UNLABELED
from uhr_seg_ros.core.errors import DataError
from uhr_seg_ros.data.augmentation import Augmentation
from uhr_seg_ros.data.geometric import mirror, pad, Pair, rotate, take_symmetry
from uhr_seg_ros.data.image_io import Window
from uhr_seg_ros.data.palettes import ANY, Tones
from uhr_seg_ros.data.photometric import distort, recolour
from uhr_seg_ros.data.sample import Sample

#: So many places are tried for a crop that shows a mixture of classes.
TRIES = 10


@dataclass(frozen=True, eq=False)
class View:
    """
    A part of an image at a scale.

    Attributes:
        image: Where it comes from.
        scale: px of the view per px of the image.
        angle: Degrees by which it will be rotated, clockwise.
        window: Top, left, height and width in px of the image.
        shape: Height and width in px of the view.
    """

    image: Sample
    scale: float
    angle: float
    window: Window
    shape: tuple[int, int]

    def read(self, *, antialias: bool) -> Pair:
        """
        Read the window and resize it.

        A crop of the whole resized image would be the same, but for interpolation at its border
        and a shift below half a px of the image.

        Args:
            antialias: Average where the view is smaller than its window.

        Returns:
            Image (h, w, 3) uint8 BGR, and labels (h, w) uint8, nearest.
        """
        image, labels = self.image.read(self.window)
        if labels.shape == self.shape:
            return image, labels
        how = cv2.INTER_AREA if antialias and self.scale < 1 else cv2.INTER_LINEAR
        size = self.shape[::-1]
        return (
            cv2.resize(image, size, interpolation=how),
            cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST),
        )

    def counts(self) -> np.ndarray:
        """Count pixels by class, every fourth of every fourth row of the window: (255,) int."""
        labels = self.image.read_labels(self.window)[::4, ::4]
        return np.bincount(labels.ravel(), minlength=256)[:UNLABELED]

    def largest_share(self) -> float:
        """Share of the most frequent class among what is labelled; 1 where nothing is."""
        counts = self.counts()
        return counts.max() / counts.sum() if counts.any() else 1.0


class CropSampler:
    """
    Draw augmented crops, images in proportion to their area or each once in a round.

    Safe to share between threads; each draws with a generator of its own.

    Args:
        images: Labelled images, on disk or in memory.
        size: Side of a crop in px, or its height and width.
        augmentation: What is random; default: `Augmentation()`.
        recoloured: Class id -> share of the crops in which it takes other colours and textures.
        palettes: Class id -> families of the colours that it takes; of others, any.

    Raises:
        DataError: There are no images.
    """

    def __init__(
        self,
        images: Sequence[Sample],
        size: int | tuple[int, int],
        augmentation: Augmentation | None = None,
        recoloured: Mapping[int, float] | None = None,
        palettes: Mapping[int, Sequence[Tones]] | None = None,
    ) -> None:
        if not images:
            msg = 'no images to draw crops from'
            raise DataError(msg)
        self.images = images
        self.size = (size, size) if isinstance(size, int) else size
        self.augmentation = augmentation or Augmentation()
        self.recoloured, self.palettes = recoloured or {}, palettes or {}
        areas = np.array([np.prod(image.size) for image in images], np.float64)
        self._probability = areas / areas.sum()

    def draw(self, rng: np.random.Generator, image: int | None = None) -> Pair:
        """
        Return one crop.

        Args:
            rng: Source of chance.
            image: Number of the image that it is of; None: one is drawn.

        Returns:
            Image (*size, 3) uint8 BGR and labels (*size) uint8. Where the image ends,
            the crop is padded on the right and below with the mean colour, which normalisation
            makes 0 but for rounding to 8 bits, and with 255.
        """
        choices = self.augmentation
        whole = None if image is None else self.images[image]
        view = self._choose(rng, whole)
        pixels, labels = view.read(antialias=choices.antialias)
        if choices.symmetries:
            square = self.size[0] == self.size[1]
            pixels, labels = take_symmetry(pixels, labels, rng, square=square)
        if choices.flip and rng.random() < choices.flip:
            pixels, labels = mirror(pixels, labels)
        if view.angle:
            height, width = labels.shape
            kept = min(self.size[0], height), min(self.size[1], width)
            pixels, labels = rotate(pixels, labels, view.angle, kept)
        for class_id, share in self.recoloured.items():
            if rng.random() < share and (region := labels == class_id).any():
                pixels = recolour(pixels, region, rng, self.palettes.get(class_id, ANY))
        return pad(distort(pixels, choices, rng), np.array(labels, order='C'), self.size)

    def _choose(self, rng: np.random.Generator, image: Sample | None) -> View:
        choices = self.augmentation
        if choices.balanced and rng.random() < choices.balanced:
            return self._richest(rng)
        view = self._view(rng, image)
        for _ in range(TRIES - 1):
            if view.largest_share() <= choices.max_share:
                break
            if choices.keep_image:
                view = self._place(view.image, view.scale, view.angle, rng)
            else:
                view = self._view(rng)
        return view

    def _richest(self, rng: np.random.Generator) -> View:
        """Draw a class among those that some views show, and give the view with most of it."""
        views = [self._view(rng) for _ in range(TRIES)]
        counts = np.stack([view.counts() for view in views])
        shown = np.flatnonzero(counts.sum(0))
        return views[counts[:, rng.choice(shown)].argmax()] if shown.size else views[0]

    def _view(self, rng: np.random.Generator, image: Sample | None = None) -> View:
        choices = self.augmentation
        if image is None:
            image = self.images[rng.choice(len(self.images), p=self._probability)]
        if choices.scale_uniform:
            scale = rng.uniform(*choices.scale)
        else:
            scale = np.exp(rng.uniform(*np.log(choices.scale)))
        if choices.fit:
            height, width = image.size
            long, short = choices.fit
            scale *= min(long / max(height, width), short / min(height, width))
        turned = choices.rotation and rng.random() < choices.rotation
        angle = rng.uniform(*choices.angle) if turned else 0.0
        return self._place(image, scale, angle, rng)

    def _place(self, image: Sample, scale: float, angle: float, rng: np.random.Generator) -> View:
        """Put a crop somewhere in an image of which scale and rotation are known."""
        extents = self._extents(angle)
        sides = [max(round(extent / scale), 1) for extent in extents]
        height, width = (min(side, whole) for side, whole in zip(sides, image.size, strict=True))
        top = int(rng.integers(image.size[0] - height + 1))
        left = int(rng.integers(image.size[1] - width + 1))
        rows, columns = (
            extent if part == side else min(extent, max(round(part * scale), 1))
            for extent, side, part in zip(extents, sides, (height, width), strict=True)
        )
        return View(image, scale, angle, (top, left, height, width), (rows, columns))

    def _extents(self, angle: float) -> tuple[int, int]:
        """Return height and width of what is read for a crop, px of the crop."""
        if not self.augmentation.fill_corners:
            return self.size
        radians = np.deg2rad(angle)
        along, across = abs(np.cos(radians)), abs(np.sin(radians))
        height, width = self.size
        return (
            int(np.ceil(height * along + width * across)),
            int(np.ceil(width * along + height * across)),
        )
