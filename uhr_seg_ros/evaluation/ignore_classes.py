# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Labels that an evaluation leaves out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from uhr_seg_ros.core.classes import UNLABELED
from uhr_seg_ros.data.sample import LabeledImage
from uhr_seg_ros.evaluation.block import Window


class Ignoring(LabeledImage):
    """
    A labelled image on which some classes count as ignored.

    Args:
        image: The image.
        ids: Class ids that become 255.
    """

    def __init__(self, image: LabeledImage, ids: Sequence[int]) -> None:
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
