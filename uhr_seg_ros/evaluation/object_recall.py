# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""
Recall of objects by size, which tells if small things are found at all.

An object is a connected component of one class in the labels (8 neighbours). It counts as found
when the mask has its class on at least half of its pixels. Sizes are pixel counts; the edges
32^2 and 96^2 are those of COCO (Lin et al., "Microsoft COCO: Common Objects in Context", ECCV
2014), 16^2 divides its small objects once more.

There is no standard for this in semantic segmentation of large images: where labels have instances
another measure exists (iIoU of Cityscapes). Objects that touch each other are one here, and an
object that the border of the image or an ignored region cuts has the size that is left of it.
"""

from __future__ import annotations

import numpy as np

from uhr_seg_ros.evaluation.block import Block, Metric
from uhr_seg_ros.evaluation.components import Components
from uhr_seg_ros.evaluation.metrics import ratio

#: Smallest area of every bin but the first, px.
EDGES = (16**2, 32**2, 96**2)

#: Names of the bins.
BINS = ('below 16^2', '16^2 to 32^2', '32^2 to 96^2', 'from 96^2')

#: Share of its pixels on which an object's class must be found.
COVERAGE = 0.5


class ObjectRecall(Metric):
    """
    Count objects of all classes by size.

    Args:
        classes: Number of classes.

    Attributes:
        objects: (bins, classes) int64, objects in the labels.
        found: (bins, classes) int64, those that were found.
    """

    def __init__(self, classes: int) -> None:
        self.objects = np.zeros((len(BINS), classes), np.int64)
        self.found = np.zeros((len(BINS), classes), np.int64)
        self._components: Components | None = None

    def add(self, block: Block) -> None:
        """Count the components of one block."""
        if self._components is None:
            self._components = Components(self.objects.shape[1], block.size[1])
        self._components.add(block)

    def end_image(self) -> None:
        """Sort the objects of the image into the bins."""
        if self._components is None:
            return
        kind, area, hits = self._components.totals().T
        self._components = None
        size = np.searchsorted(EDGES, area, side='right')
        np.add.at(self.objects, (size, kind), 1)
        is_found = hits >= COVERAGE * area
        np.add.at(self.found, (size[is_found], kind[is_found]), 1)

    def recall(self) -> np.ndarray:
        """Share of the objects that were found, (bins, classes); NaN without objects."""
        return ratio(self.found, self.objects)

    def total_recall(self) -> np.ndarray:
        """Share over all classes, (bins,); NaN without objects."""
        return ratio(self.found.sum(1), self.objects.sum(1))
