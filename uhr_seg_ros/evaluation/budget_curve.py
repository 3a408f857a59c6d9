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
What a frame loses when the detail branch sees a part of it: accuracy over the share of its tiles.

Rankings say which tiles are seen first. Two of them nobody has at run time, since they look at
the answer: how much the detail branch really changes a tile (`changes`), and how much of it it
mends by the labels (`mends`). They bound what a better guess could gain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from uhr_seg_ros.backends.registry import open_engine
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.classes import UNLABELED
from uhr_seg_ros.evaluation.block import Block
from uhr_seg_ros.evaluation.both_branches import Looks
from uhr_seg_ros.evaluation.boundary_metrics import BoundaryF
from uhr_seg_ros.evaluation.metrics import ConfusionMatrix
from uhr_seg_ros.pipelines.frame_budget_frames import GAIN
from uhr_seg_ros.pipelines.frame_budget_ranking import expected_gain

#: Tolerance of the boundary F, px.
RADIUS = 2
#: Of the ranking by chance.
SEED = 0

#: What a closer look at each cell is worth, (h, w) float32, by looks and labels (H, W).
Ranking = Callable[[Looks, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Accuracy:
    """What masks came to; nan where no two classes are labeled."""

    mean_iou: float
    boundary_f: float


class AccuracyCounter:
    """Adds up the accuracy of whole masks over images."""

    def __init__(self, classes: int) -> None:
        self._matrix = ConfusionMatrix(classes)
        self._boundaries = BoundaryF(classes, (RADIUS,))

    def add(self, labels: np.ndarray, mask: np.ndarray) -> None:
        """Count a mask (H, W) and its labels, 255 where nothing is known."""
        self._matrix.add(labels, mask)
        self._boundaries.add(Block.whole(labels, mask))

    def merge(self, other: AccuracyCounter) -> None:
        """Count what another one has counted."""
        self._matrix.counts += other._matrix.counts
        self._boundaries.counts += other._boundaries.counts

    @property
    def accuracy(self) -> Accuracy:
        """What was added so far."""
        return Accuracy(self._matrix.mean_iou(), float(self._boundaries.mean_f()[0]))


def changed(looks: Looks) -> np.ndarray:
    """Return the share of the px of each cell to which detail gives another class, (h, w)."""
    without, with_detail = looks.masks()
    return looks.cell_means(without != with_detail)


def mended(looks: Looks, labels: np.ndarray) -> np.ndarray:
    """Return the share that is right with detail only, less what is right without only, (h, w)."""
    without, with_detail = looks.masks()
    known = labels != UNLABELED
    better = (with_detail == labels) & known
    worse = (without == labels) & known
    return looks.cell_means(better) - looks.cell_means(worse)


def rankings(bundle: Bundle) -> dict[str, Ranking]:
    """Return the rankings by name; `head` only where the bundle has a graph `detail_gain`."""
    generator = np.random.default_rng(SEED)

    def chance(looks: Looks, labels: np.ndarray) -> np.ndarray:
        return generator.random(looks.cells).astype(np.float32)

    def margin(looks: Looks, labels: np.ndarray) -> np.ndarray:
        return expected_gain(looks.semantic_logits[0])

    found: dict[str, Ranking] = {'random': chance, 'margin': margin}
    if GAIN in bundle.graphs:
        head = open_engine(bundle.graphs[GAIN], threads=1)

        def learned(looks: Looks, labels: np.ndarray) -> np.ndarray:
            feeds = {'tokens': looks.tokens, 'semantic_logits': looks.semantic_logits}
            return head.run(feeds, [GAIN])[GAIN][0, 0]

        found['head'] = learned
    return {**found, 'changes': lambda looks, labels: changed(looks), 'mends': mended}


class BudgetCurve:
    """
    Accuracy over the share of tiles, for several rankings, added up over images.

    Args:
        classes: number of classes.
        rankings: name -> ranking.
        shares: of the tiles of every image, 0 to 1.

    """

    def __init__(
        self, classes: int, rankings: Mapping[str, Ranking], shares: Sequence[float]
    ) -> None:
        self._rankings, self._shares, self._classes = rankings, shares, classes
        self._whole = AccuracyCounter(classes)
        self._counters = {name: [AccuracyCounter(classes) for _ in shares] for name in rankings}
        self.tiles = 0

    def add(self, looks: Looks, labels: np.ndarray, whole: np.ndarray) -> None:
        """
        Count one image.

        Args:
            looks: of both branches.
            labels: (H, W) uint8, 255 where nothing is known.
            whole: (H, W), the mask of the whole frame in one piece, which losses count from.

        """
        self.tiles += len(looks.tiles)
        self._whole.add(labels, whole)
        # Nothing and everything come once per ranking, and are the same.
        found: dict[bytes, AccuracyCounter] = {}
        for name, ranking in self._rankings.items():
            worth = looks.sums(ranking(looks, labels))
            for share, counter in zip(self._shares, self._counters[name], strict=True):
                looked = looks.looked(worth, share)
                if (key := looked.tobytes()) not in found:
                    found[key] = AccuracyCounter(self._classes)
                    found[key].add(labels, looks.mask(looked))
                counter.merge(found[key])

    def figures(self) -> dict[str, Any]:
        """Return plain numbers: `whole`, and by ranking what each share has and loses, points."""
        whole = self._whole.accuracy
        return {
            'tiles': self.tiles,
            'whole': {'mean_iou': whole.mean_iou, 'boundary_f': whole.boundary_f},
            'rankings': {
                name: [
                    {
                        'share': share,
                        'mean_iou': found.mean_iou,
                        'boundary_f': found.boundary_f,
                        'mean_iou_lost': 100 * (whole.mean_iou - found.mean_iou),
                        'boundary_f_lost': 100 * (whole.boundary_f - found.boundary_f),
                    }
                    for share, found in zip(
                        self._shares, (each.accuracy for each in counters), strict=True
                    )
                ]
                for name, counters in self._counters.items()
            },
        }
