# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""
Segmentation metrics from a confusion matrix.

``IoU_c = TP_c / (TP_c + FP_c + FN_c)``; mIoU is its mean over the classes that occur in labels
or masks (Everingham et al., "The Pascal Visual Object Classes Challenge", IJCV 2015).
"""

from __future__ import annotations

import numpy as np

from uhr_seg_ros.classes import UNLABELLED
from uhr_seg_ros.errors import UhrSegError


class MetricError(UhrSegError):
    """Labels and a mask that cannot be compared."""


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
            MetricError: Another size, or an id that is no class.
        """
        if labels.shape != mask.shape:
            msg = f'labels are {labels.shape}, the mask {mask.shape}'
            raise MetricError(msg)
        known = labels != UNLABELLED
        truth, found = labels[known].astype(np.int64), mask[known].astype(np.int64)
        classes = len(self.counts)
        for name, ids in (('label', truth), ('mask', found)):
            if ids.size and ids.max() >= classes:
                msg = f'{name} id {ids.max()} with {classes} classes'
                raise MetricError(msg)
        joint = np.bincount(truth * classes + found, minlength=classes**2)
        self.counts += joint.reshape(classes, classes)

    def iou(self) -> np.ndarray:
        """IoU per class, (classes,) float64; NaN for a class that occurs nowhere."""
        hits = np.diag(self.counts).astype(np.float64)
        union = self.counts.sum(0) + self.counts.sum(1) - np.diag(self.counts)
        return np.divide(hits, union, out=np.full(len(hits), np.nan), where=union > 0)

    def mean_iou(self) -> float:
        """Mean of the IoUs, classes that occur nowhere left out; NaN if none does."""
        values = self.iou()
        return float(np.nanmean(values)) if not np.isnan(values).all() else float('nan')

    def accuracy(self) -> float:
        """Share of the labelled pixels whose class was found; NaN without pixels."""
        total = self.counts.sum()
        return float(np.trace(self.counts) / total) if total else float('nan')
