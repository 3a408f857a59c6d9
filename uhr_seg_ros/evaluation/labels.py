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

"""The labels of an evaluation: looked at before anything is segmented, some left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from uhr_seg_ros.core.classes import UNLABELED
from uhr_seg_ros.data import image_io
from uhr_seg_ros.data.dataset import Dataset
from uhr_seg_ros.data.label_check import checked_images, Share, show_shares, warn
from uhr_seg_ros.data.sample import FileSample, Sample
from uhr_seg_ros.evaluation.block import Window

#: Labels are looked at once, one file after the other: few of them need to be kept, bytes.
SCAN_CACHE = 1 << 28


def evaluated_images(dataset: Dataset, split: str) -> list[FileSample]:
    """
    Open the images of a split after a look at all of their labels, and print what is labelled.

    Raises:
        DataError: As `checked_images`; or nothing is labelled but classes that are left out.
    """
    with image_io.cache.limited(SCAN_CACHE):
        opened, warnings = checked_images(dataset, [split])
    images, names = opened[split], dataset.classes.names
    labeled = Share.of(f'split {split}', images)
    counted = labeled.without(dataset.ignored)
    counted.check()
    show_shares([labeled], names)
    warn([*warnings, *counted.warnings(names, dataset.ignored)])
    return images


class IgnoreClasses(Sample):
    """
    A labelled image on which some classes count as ignored.

    Args:
        image: The image.
        ids: Class ids that become 255.
    """

    def __init__(self, image: Sample, ids: Sequence[int]) -> None:
        self.name = image.name
        self._whole = image
        self._table = np.arange(256, dtype=np.uint8)
        self._table[list(ids)] = UNLABELED

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in px."""
        return self._whole.size

    def _image(self, window: Window) -> np.ndarray:
        return self._whole.read_image(window)

    def _labels(self, window: Window) -> np.ndarray:
        return self._table[self._whole.read_labels(window)]
