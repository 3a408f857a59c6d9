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
Segmentation metrics from a confusion matrix.

With the true positives TP, false positives FP and false negatives FN of a class, counted in
pixels over the whole data set:

* ``IoU = TP / (TP + FP + FN)``; mIoU is its mean over the classes that occur in labels or masks
  (Everingham et al., "The Pascal Visual Object Classes Challenge", IJCV 2015).
* ``precision = TP / (TP + FP)``, ``recall = TP / (TP + FN)`` and their harmonic mean
  ``F1 = 2 TP / (2 TP + FP + FN)`` (van Rijsbergen, "Information Retrieval", 1979); the mean F1 is
  the mean over the same classes.
* accuracy, the share of the pixels whose class was found, and the frequency-weighted IoU, the mean
  of the IoUs weighted by the pixels of the class in the labels (Long, Shelhamer and Darrell,
  "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015, section 5).

A class that is found but never labelled has IoU and F1 0 by these definitions, and enters the
means. Where fewer than two classes are labelled there is nothing to tell apart, and no mean: a
network that knows one answer would have 1.
"""

from __future__ import annotations

import numpy as np

from uhr_seg_ros.core.classes import UNLABELED
from uhr_seg_ros.core.errors import DataError


class ConfusionMatrix:
    """
    Counts of (true class, found class), added up image by image.

    Args:
        classes: Number of classes.

    Attributes:
        counts: (classes, classes) int64; rows are labels, columns masks.
    """

    def __init__(self, classes: int) -> None:
        self.counts = np.zeros((classes, classes), np.int64)

    def add(self, labels: np.ndarray, mask: np.ndarray) -> None:
        """
        Count the pixels of one image.

        Args:
            labels: (H, W) true ids; 255 is ignored.
            mask: (H, W) found ids.

        Raises:
            DataError: Another size, or an id that is no class.
        """
        if labels.shape != mask.shape:
            msg = f'labels are {labels.shape}, the mask {mask.shape}'
            raise DataError(msg)
        known = labels != UNLABELED
        truth, found = labels[known].astype(np.int64), mask[known].astype(np.int64)
        classes = len(self.counts)
        for name, ids in (('label', truth), ('mask', found)):
            if ids.size and ids.max() >= classes:
                msg = f'{name} id {ids.max()} with {classes} classes'
                raise DataError(msg)
        joint = np.bincount(truth * classes + found, minlength=classes**2)
        self.counts += joint.reshape(classes, classes)

    def iou(self) -> np.ndarray:
        """IoU per class, (classes,) float64; NaN for a class that occurs nowhere."""
        hits = np.diag(self.counts)
        return ratio(hits, self.counts.sum(0) + self.counts.sum(1) - hits)

    def precision(self) -> np.ndarray:
        """Share of what was found as a class that is it, (classes,); NaN if nothing was."""
        return ratio(np.diag(self.counts), self.counts.sum(0))

    def recall(self) -> np.ndarray:
        """Share of a class that was found as it, (classes,); NaN if the labels lack it."""
        return ratio(np.diag(self.counts), self.counts.sum(1))

    def f1(self) -> np.ndarray:
        """F1 per class, (classes,) float64; NaN for a class that occurs nowhere."""
        return ratio(2 * np.diag(self.counts), self.counts.sum(0) + self.counts.sum(1))

    def labeled(self) -> np.ndarray:
        """Return which classes have a labelled pixel, (classes,) bool."""
        return np.any(self.counts, axis=1)

    def found(self) -> np.ndarray:
        """Return which classes were found on a labelled pixel, (classes,) bool."""
        return np.any(self.counts, axis=0)

    def mean(self, values: np.ndarray) -> float:
        """
        Average values of the classes that are not NaN.

        Args:
            values: (classes,) float64, or those of some of the classes.

        Returns:
            NaN if there are none, or fewer than two classes are labelled.
        """
        return mean(values) if self.labeled().sum() > 1 else float('nan')

    def mean_iou(self) -> float:
        """Mean of the IoUs, as `mean`; classes that occur nowhere are left out."""
        return self.mean(self.iou())

    def mean_f1(self) -> float:
        """Mean of the F1s, as `mean`; classes that occur nowhere are left out."""
        return self.mean(self.f1())

    def frequency_weighted_iou(self) -> float:
        """Mean of the IoUs weighted by the pixels of the class in the labels; NaN as `mean`."""
        if self.labeled().sum() < 2:
            return float('nan')
        pixels = self.counts.sum(1)
        present = pixels > 0
        weighted = pixels[present] * self.iou()[present]
        return float(ratio(weighted.sum(), pixels.sum()))

    def accuracy(self) -> float:
        """Share of the labelled pixels whose class was found; NaN without pixels."""
        return float(ratio(np.trace(self.counts), self.counts.sum()))


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide counts, float64; NaN where the whole is 0."""
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def mean(values: np.ndarray) -> float:
    """Average the values that are not NaN; NaN if there are none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float('nan')


def number(value: float) -> float | None:
    """Return a plain float; None for NaN, which JSON has not."""
    return None if np.isnan(value) else float(value)
