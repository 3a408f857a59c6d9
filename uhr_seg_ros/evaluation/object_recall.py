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

from typing import Any

import cv2
import numpy as np

from uhr_seg_ros.evaluation.block import Block, Metric
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


#: Number of a pixel that belongs to no component.
NONE = -1


class Components:
    """
    The connected components of one image, 8 neighbours, however many blocks they cross.

    Every block numbers its own components; where blocks meet, numbers of the same class that touch
    are joined (union by the disjoint-set forest of Galler and Fischer, CACM 1964). Between blocks
    only one row of numbers as wide as the image and one column as high as a block are kept.

    Args:
        classes: Number of classes; other ids belong to no component.
        width: Width of the image, px.
    """

    def __init__(self, classes: int, width: int) -> None:
        self._classes = classes
        self._counted: list[np.ndarray] = []  # (area, hits) per component
        self._parents: list[int] = []
        self._kinds: list[int] = []
        # One column more on both sides, so that the row above has neighbours everywhere.
        self._above, self._below = (np.full(width + 2, NONE, np.int64) for _ in range(2))
        self._left = np.full(0, NONE, np.int64)

    def add(self, block: Block) -> None:
        """Count the components of a block and join them to those around it."""
        top, left, height, width = block.place
        if left == 0:
            self._above, self._below = self._below, self._above
            self._below[:] = NONE
            self._left = np.full(height, NONE, np.int64)
        edges = self._number(block.part(block.labels), block.part(block.mask))
        for shift in (0, 1, 2):
            self._join(edges['top'], self._above[left + shift : left + shift + width])
        self._join(edges['left'], self._left)
        self._join(edges['left'][1:], self._left[:-1])
        self._join(edges['left'][:-1], self._left[1:])
        self._below[left + 1 : left + 1 + width] = edges['bottom']
        self._left = edges['right']

    def totals(self) -> np.ndarray:
        """Return (components, 3) int64: class, area in px and px whose class was found."""
        if not self._counted:
            return np.zeros((0, 3), np.int64)
        parts = np.concatenate(self._counted)
        roots = np.array([self._root(index) for index in range(len(parts))], np.int64)
        whole, place = np.unique(roots, return_inverse=True)
        totals = np.zeros((len(whole), 3), np.int64)
        totals[:, 0] = np.array(self._kinds)[whole]
        np.add.at(totals[:, 1:], place, parts)
        return totals

    def _number(self, labels: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
        """Count the components of a block; give the numbers along its four edges."""
        sides: dict[str, Any] = {
            'top': np.s_[0],
            'bottom': np.s_[-1],
            'left': np.s_[:, 0],
            'right': np.s_[:, -1],
        }
        edges = {name: np.full(labels[side].size, NONE, np.int64) for name, side in sides.items()}
        right = labels == mask
        for index in np.unique(labels):
            if index >= self._classes:
                continue
            of_class = labels == index
            count, ids = cv2.connectedComponents(of_class.view(np.uint8), connectivity=8)
            offset = len(self._parents) - 1  # ids start at 1
            for name, side in sides.items():
                edges[name][of_class[side]] = ids[side][of_class[side]] + offset
            areas = np.bincount(ids[of_class], minlength=count)[1:]
            hits = np.bincount(ids[of_class & right], minlength=count)[1:]
            self._counted.append(np.stack([areas, hits], 1))
            self._parents.extend(range(offset + 1, offset + count))
            self._kinds.extend([int(index)] * (count - 1))
        return edges

    def _join(self, ones: np.ndarray, others: np.ndarray) -> None:
        """Join the components that touch, pair by pair, where both are of one class."""
        touching = (ones != NONE) & (others != NONE)
        pairs = np.unique(np.stack([ones[touching], others[touching]], 1), axis=0)
        for one, other in pairs.tolist():
            first, second = self._root(one), self._root(other)
            if first != second and self._kinds[first] == self._kinds[second]:
                self._parents[max(first, second)] = min(first, second)

    def _root(self, index: int) -> int:
        parents = self._parents
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index
