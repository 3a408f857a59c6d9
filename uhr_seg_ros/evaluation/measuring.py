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

"""Segment labeled images and measure the masks: in one process, or each by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.data.dataset import Dataset
from uhr_seg_ros.data.sample import Sample
from uhr_seg_ros.evaluation.block import MemmapMask
from uhr_seg_ros.evaluation.evaluator import Evaluator, ImageFigures
from uhr_seg_ros.evaluation.gallery import Gallery
from uhr_seg_ros.evaluation.labels import IgnoreClasses
from uhr_seg_ros.evaluation.predictor import Predictor
from uhr_seg_ros.evaluation.settings import EvaluationSettings
from uhr_seg_ros.pipelines.pipeline import TilingOptions
from uhr_seg_ros.pipelines.segmenter import Segmenter


@dataclass(frozen=True)
class Engines:
    """Back end, precision and threads, as `Segmenter` takes them."""

    backend: str = 'onnxruntime'
    precision: str = 'auto'
    threads: int = 0


@dataclass(frozen=True)
class Measurer:
    """
    What images are measured with.

    Attributes:
        predictor: Segments as the settings say.
        segmenter: The bundle at work.
    """

    predictor: Predictor
    segmenter: Segmenter

    def measure(
        self,
        whole: Sample,
        dataset: Dataset,
        results: Evaluator,
        gallery: Gallery | None = None,
    ) -> None:
        """
        Segment an image and add its figures.

        Args:
            whole: The image and its labels.
            dataset: Tells which labels are left out.
            results: Takes the figures, and the times.
            gallery: Gets pictures.

        Raises:
            UhrSegError: The image cannot be read or segmented.
        """
        image = IgnoreClasses(whole, dataset.ignored)
        with MemmapMask(image.size) as mask:
            with results.clock.stage('segmenting'):
                self.predictor.predict(image, mask, results.seams)
            results.add(image, mask, gallery)
            if gallery is not None:
                with results.clock.stage('pictures'):
                    gallery.end_image(image, mask)


@contextmanager
def open_measurer(
    bundle: Bundle, settings: EvaluationSettings, engines: Engines
) -> Iterator[Measurer]:
    """
    Open what images are measured with.

    Raises:
        UhrSegError: The bundle cannot be opened so.
    """
    limits = TilingOptions(tile=settings.tile)
    options = EngineOptions(threads=engines.threads, precision=engines.precision)
    with Segmenter(bundle, engines.backend, limits, options=options) as segmenter:
        if not settings.against_whole:
            yield Measurer(Predictor(segmenter, settings, limits), segmenter)
            return
        unlimited = TilingOptions(memory_limit_mb=0)
        with Segmenter(bundle, engines.backend, unlimited, options=options) as whole:
            yield Measurer(Predictor(segmenter, settings, limits, whole), segmenter)


def counts_of(results: Evaluator) -> dict[str, Any]:
    """Return all that was added up, as JSON holds it; `add_counts` takes it."""
    return {
        'sums': [each.tolist() for each in _sums(results)],
        'mean_boundary_accuracy': results.boundary_accuracy.per_image,
        'milliseconds': results.clock.times,
        'images': [
            [each.name, each.size, each.mean_iou, each.accuracy] for each in results.images
        ],
    }


def add_counts(results: Evaluator, counts: dict[str, Any]) -> None:
    """
    Add what another evaluator has counted, exactly as if its images came here.

    Args:
        results: Of the same classes.
        counts: What `counts_of` has returned.
    """
    for mine, other in zip(_sums(results), counts['sums'], strict=True):
        mine += np.array(other, mine.dtype)
    for name, time in counts['milliseconds'].items():
        results.clock.add(name, time)
    results.boundary_accuracy.per_image += counts['mean_boundary_accuracy']
    results.images += [
        ImageFigures(name, (size[0], size[1]), *figures)
        for name, size, *figures in counts['images']
    ]


def _sums(results: Evaluator) -> list[np.ndarray]:
    """Return the arrays in which metrics add up whole numbers, themselves and no copies."""
    seams = results.seams
    return [
        results.matrix.counts,
        *(metric.counts for metric in results.boundary_ious),
        results.boundary_f.counts,
        results.objects.objects,
        results.objects.found,
        *(seams.compared, seams.differing, seams.known, seams.wrong),
    ]
