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

"""Labelled images: on disk, in memory, or a part of another; read whole or by window."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from uhr_seg_ros.core.errors import DataError
from uhr_seg_ros.data.image_io import (
    BandRules,
    check_banded,
    check_upright,
    image_size,
    read_banded,
    read_ids,
    read_image,
    Window,
)
from uhr_seg_ros.data.label_map import LabelMap


class Sample(ABC):
    """
    An image and the class ids of its pixels.

    A window is (top, left, height, width) in px and lies inside the image; without one the whole
    image is read. Arrays may be read-only views of what is kept for other readers.

    Attributes:
        name: Name of the image, unique in its split.
    """

    name: str

    @property
    @abstractmethod
    def size(self) -> tuple[int, int]:
        """Height and width in px; no pixel is decoded for it."""

    @property
    def ground(self) -> str:
        """What the image shows: two images of the same ground are no independent examples."""
        return self.name

    def read(self, window: Window | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Read image and labels, as `read_image` and `read_labels`."""
        return self.read_image(window), self.read_labels(window)

    def read_image(self, window: Window | None = None) -> np.ndarray:
        """
        Read pixels.

        Returns:
            (h, w, 3) uint8 BGR.

        Raises:
            DataError: The file cannot be decoded, or the window is not inside the image.
        """
        return self._image(self._inside(window))

    def read_labels(self, window: Window | None = None) -> np.ndarray:
        """
        Read class ids.

        Returns:
            (h, w) uint8, 255 where a pixel is ignored.

        Raises:
            DataError: As `read_image`; or a value is no class.
        """
        return self._labels(self._inside(window))

    @abstractmethod
    def _image(self, window: Window) -> np.ndarray: ...

    @abstractmethod
    def _labels(self, window: Window) -> np.ndarray: ...

    def _inside(self, window: Window | None) -> Window:
        rows, columns = self.size
        top, left, height, width = window or (0, 0, rows, columns)
        if (
            min(top, left) < 0
            or min(height, width) < 1
            or top + height > rows
            or left + width > columns
        ):
            msg = (
                f'{self.name}: window {height}x{width} px at row {top}, column {left} is not '
                f'inside the image of {rows}x{columns} px'
            )
            raise DataError(msg)
        return top, left, height, width


@dataclass(frozen=True, eq=False)
class ArraySample(Sample):
    """
    A labelled image in memory.

    Attributes:
        name: Name of the image.
        image: (H, W, 3) uint8 BGR.
        labels: (H, W) uint8 class ids, 255 where nothing is known.
    """

    name: str
    image: np.ndarray
    labels: np.ndarray

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in px."""
        return self.labels.shape

    def _image(self, window: Window) -> np.ndarray:
        top, left, height, width = window
        return self.image[top : top + height, left : left + width]

    def _labels(self, window: Window) -> np.ndarray:
        top, left, height, width = window
        return self.labels[top : top + height, left : left + width]


class Crop(Sample):
    """
    A window of another labeled image, as an image of its own; its name is that of the whole.

    Args:
        whole: The other image.
        window: Top, left, height and width in px.
    """

    def __init__(self, whole: Sample, window: Window) -> None:
        self.name = whole.name
        self.whole, self.window = whole, window

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in px."""
        _, _, height, width = self.window
        return height, width

    @property
    def ground(self) -> str:
        """Ground of the whole image."""
        return self.whole.ground

    def _image(self, window: Window) -> np.ndarray:
        return self.whole.read_image(self._moved(window))

    def _labels(self, window: Window) -> np.ndarray:
        return self.whole.read_labels(self._moved(window))

    def _moved(self, window: Window) -> Window:
        top, left, height, width = window
        return self.window[0] + top, self.window[1] + left, height, width


class FileSample(Sample):
    """
    A labelled image on disk: an image file and a file of class ids.

    Args:
        name: Name of the image.
        image_path: PNG, JPEG, TIFF, BMP or WebP.
        label_path: PNG or TIFF, one channel of class ids.
        encoding: What its values mean.
        ground: What the image shows, where other images show the same.

    Attributes:
        rules: For the bands of the image; without any it is read as a picture.

    Raises:
        DataError: A file is missing or has no header, the sizes differ, or a file is to be turned
            before it is shown.
    """

    def __init__(
        self,
        name: str,
        image_path: Path,
        label_path: Path,
        encoding: LabelMap,
        ground: str | None = None,
    ) -> None:
        self.name = name
        self.image_path, self.label_path = image_path, label_path
        self.encoding = encoding
        self.rules = BandRules()
        self._ground = ground or name
        check_upright(image_path, f'its labels {label_path}')
        check_upright(label_path, f'its image {image_path}')
        if image_size(label_path) != self.size:
            rows, columns = image_size(label_path)
            msg = (
                f'{label_path} is {rows}x{columns} px, its image {image_path} '
                f'{self.size[0]}x{self.size[1]}: labels have a value for every pixel'
            )
            raise DataError(msg)

    @cached_property
    def size(self) -> tuple[int, int]:
        """Height and width in px, from the header of the image."""
        return image_size(self.image_path)

    @property
    def ground(self) -> str:
        """What the image shows."""
        return self._ground

    def read_values(self, window: Window | None = None) -> np.ndarray:
        """
        Read labels as they are stored, whatever they mean.

        Returns:
            (h, w) uint8, may be read-only.

        Raises:
            DataError: As `read_image`.
        """
        return read_ids(self.label_path, self._inside(window))

    def choose_bands(self, rules: BandRules) -> None:
        """
        Read the image by rules from now on.

        Raises:
            DataError: Its bands are not those of the rules.
        """
        check_banded(self.image_path, rules)
        self.rules = rules

    def _image(self, window: Window) -> np.ndarray:
        if self.rules:
            return read_banded(self.image_path, window, self.rules)
        return read_image(self.image_path, window)

    def _labels(self, window: Window) -> np.ndarray:
        return self.encoding.decode(self.read_values(window), self.label_path)
