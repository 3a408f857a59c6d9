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

"""All metrics over the images of a data set, block by block."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from uhr_seg_ros.core.timing import StageClock
from uhr_seg_ros.data.sample import Sample
from uhr_seg_ros.evaluation.block import Block, blocks_of, MemmapMask, Metric, SIDE, Window
from uhr_seg_ros.evaluation.boundary_metrics import (
    BoundaryAccuracy,
    BoundaryF,
    BoundaryIou,
    RATIOS,
)
from uhr_seg_ros.evaluation.gallery import Gallery
from uhr_seg_ros.evaluation.metrics import ConfusionMatrix
from uhr_seg_ros.evaluation.object_recall import ObjectRecall
from uhr_seg_ros.evaluation.seams import Seams


@dataclass(frozen=True)
class ImageFigures:
    """
    What one image came to.

    Attributes:
        name: Name of the image.
        size: Height and width, px.
        mean_iou: Mean IoU over the classes that occur in it; NaN where fewer than two are
            labelled.
        accuracy: Share of the labelled pixels whose class was found; NaN without any.
    """

    name: str
    size: tuple[int, int]
    mean_iou: float
    accuracy: float


class Evaluator:
    """
    Add up the metrics of every image.

    Args:
        classes: Number of classes.
        clock: Takes the times of the parts.

    Attributes:
        matrix: The confusion matrix.
        boundary_ious: Boundary IoU, one for every ratio.
        boundary_f: Boundary F.
        boundary_accuracy: mBA.
        objects: Recall of objects by size.
        seams: What happens along the seams.
        images: What every image came to.
        clock: Has the times of the parts.
    """

    def __init__(self, classes: int, clock: StageClock) -> None:
        self.matrix = ConfusionMatrix(classes)
        self.boundary_ious = [BoundaryIou(classes, share) for share in RATIOS]
        self.boundary_f = BoundaryF(classes)
        self.boundary_accuracy = BoundaryAccuracy()
        self.objects = ObjectRecall(classes)
        self.seams = Seams()
        self.images: list[ImageFigures] = []
        self.clock = clock
        self._metrics: tuple[tuple[str, Metric], ...] = (
            *(('boundary IoU', metric) for metric in self.boundary_ious),
            ('boundary F', self.boundary_f),
            ('mBA', self.boundary_accuracy),
            ('object recall', self.objects),
            ('seams', self.seams),
        )

    @property
    def seconds(self) -> dict[str, float]:
        """What the parts took."""
        return {name: round(time / 1e3, 3) for name, time in self.clock.times.items()}

    def add(
        self,
        image: Sample,
        mask: MemmapMask,
        gallery: Gallery | None = None,
        side: int = SIDE,
    ) -> None:
        """
        Measure the mask of one image.

        Args:
            image: The image and its labels.
            mask: The whole mask.
            gallery: Gets pictures of the image.
            side: Side of the blocks, px.
        """
        matrix = ConfusionMatrix(len(self.matrix.counts))
        margin = max(metric.margin(image.size) for _, metric in self._metrics)

        def read(window: Window) -> tuple[np.ndarray, np.ndarray]:
            with self.clock.stage('reading'):
                return image.read_labels(window), mask.read(window)

        for block in blocks_of(image.size, margin, read, side):
            self._count(block, matrix)
            if gallery is not None:
                with self.clock.stage('pictures'):
                    gallery.add(block, image)
        for name, metric in self._metrics:
            with self.clock.stage(name):
                metric.end_image()
        self.matrix.counts += matrix.counts
        figures = matrix.mean_iou(), matrix.accuracy()
        self.images.append(ImageFigures(image.name, image.size, *figures))

    def _count(self, block: Block, matrix: ConfusionMatrix) -> None:
        with self.clock.stage('confusion'):
            matrix.add(block.part(block.labels), block.part(block.mask))
        for name, metric in self._metrics:
            with self.clock.stage(name):
                metric.add(block.within(metric.margin(block.size)))
