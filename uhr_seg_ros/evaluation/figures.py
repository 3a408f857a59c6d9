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

"""The results of an evaluation as plain numbers, for JSON, the console and the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from uhr_seg_ros.data.dataset import named
from uhr_seg_ros.data.label_check import only
from uhr_seg_ros.evaluation.evaluator import Evaluator
from uhr_seg_ros.evaluation.metrics import ConfusionMatrix, number
from uhr_seg_ros.evaluation.object_recall import BINS
from uhr_seg_ros.evaluation.seams import ELSEWHERE, NEAR, REACH, Seams


class Figures:
    """
    Turn results into plain numbers.

    Args:
        names: Names of the classes.
        ignored: Ids whose labels were left out.
        reported: The class whose IoU the literature reports instead of the mean, if any.
    """

    def __init__(
        self, names: Sequence[str], ignored: Sequence[int] = (), reported: str | None = None
    ) -> None:
        self._names = list(names)
        self._evaluated = [index for index in range(len(names)) if index not in ignored]
        self._reported = reported

    def of(self, results: Evaluator) -> dict[str, Any]:
        """
        Return all figures; None stands for what has no value.

        `mean_iou` is the published mean: a class that is left out of the labels but found
        somewhere counts as 0. All other means are over the evaluated classes. Where fewer than
        two classes are labelled there is no mean.
        """
        matrix = results.matrix
        return {
            **self._labeled(matrix),
            'mean_iou': number(matrix.mean_iou()),
            'mean_iou_evaluated': self._mean(matrix, matrix.iou()),
            'reported': self._published(matrix.iou(), matrix.mean_iou()),
            'accuracy': number(matrix.accuracy()),
            'frequency_weighted_iou': number(matrix.frequency_weighted_iou()),
            'mean_f1': self._mean(matrix, matrix.f1()),
            'iou': self._by_class(matrix.iou()),
            'precision': self._by_class(matrix.precision()),
            'recall': self._by_class(matrix.recall()),
            'f1': self._by_class(matrix.f1()),
            'boundary_iou': self._boundary_iou(results),
            'boundary_f': self._boundary_f(results),
            'mean_boundary_accuracy': number(results.boundary_accuracy.value()),
            'object_recall': self._objects(results),
            'seams': _seams(results.seams),
            'confusion': matrix.counts.tolist(),
            'per_image': [
                {
                    'name': image.name,
                    'size': list(image.size),
                    'mean_iou': number(image.mean_iou),
                    'accuracy': number(image.accuracy),
                    'mean_boundary_accuracy': number(accuracy),
                }
                for image, accuracy in zip(
                    results.images, results.boundary_accuracy.per_image, strict=True
                )
            ],
        }

    def _published(self, iou: np.ndarray, mean_iou: float) -> dict[str, Any]:
        if self._reported is None:
            return {'figure': 'mean IoU', 'value': number(mean_iou)}
        value = number(iou[self._names.index(self._reported)])
        return {'figure': f'IoU of {self._reported}', 'value': value}

    def _boundary_iou(self, results: Evaluator) -> dict[str, Any]:
        return {
            f'{metric.share:g}': {
                'mean': self._mean(results.matrix, metric.iou()),
                'classes': self._by_class(metric.iou()),
            }
            for metric in results.boundary_ious
        }

    def _boundary_f(self, results: Evaluator) -> dict[str, Any]:
        metric = results.boundary_f
        found = np.stack([metric.f(), metric.precision(), metric.recall()], 1)
        if not metric.has_contours:  # every contour of the mask would count as wrong
            found[:] = np.nan
        return {
            f'{radius} px': {
                'mean': self._mean(results.matrix, f),
                'classes': self._by_class(f),
                'precision': self._by_class(precision),
                'recall': self._by_class(recall),
            }
            for radius, (f, precision, recall) in zip(metric.radii, found, strict=True)
        }

    def _objects(self, results: Evaluator) -> dict[str, Any]:
        metric = results.objects
        shares, objects = metric.recall(), metric.objects
        return {
            name: {
                'objects': int(objects[index].sum()),
                'recall': number(metric.total_recall()[index]),
                'classes': self._by_class(shares[index]),
                'objects_by_class': dict(zip(self._names, objects[index].tolist(), strict=True)),
            }
            for index, name in enumerate(BINS)
        }

    def _labeled(self, matrix: ConfusionMatrix) -> dict[str, list[str]]:
        """Name the evaluated classes without a labelled pixel, and what is found all the same."""
        missing = [i for i in self._evaluated if not matrix.labeled()[i]]
        found = [i for i in missing if matrix.found()[i]]
        return {
            'classes_without_labels': [self._names[index] for index in missing],
            'classes_found_without_labels': [self._names[index] for index in found],
        }

    def _mean(self, matrix: ConfusionMatrix, values: np.ndarray) -> float | None:
        return number(matrix.mean(values[self._evaluated]))

    def _by_class(self, values: np.ndarray) -> dict[str, float | None]:
        return {name: number(value) for name, value in zip(self._names, values, strict=True)}


def _seams(seams: Seams) -> dict[str, Any] | None:
    """Return the figures along seams; None where no image was cut."""
    if not (seams.known.any() or seams.compared.any()):
        return None
    disagreement, error = seams.disagreement(), seams.error()
    return {
        'reach_px': REACH,
        'disagreement_near': number(disagreement[NEAR]),
        'disagreement_elsewhere': number(disagreement[ELSEWHERE]),
        'error_near': number(error[NEAR]),
        'error_elsewhere': number(error[ELSEWHERE]),
    }


#: So many classes are named.
_CLASSES = 20


def remark(report: Mapping[str, Any], name: str) -> str:
    """Return what stands behind the name of a class in a table of figures; mostly nothing."""
    if name in report['ignored']:
        return ' (ignored)'
    return ' (no labels)' if name in report['classes_without_labels'] else ''


def notes(report: Mapping[str, Any]) -> list[str]:
    """
    Return which classes and images have no labels, and what that does to the figures.

    Args:
        report: What the JSON file holds, see docs/evaluation.md.
    """
    missing = report['classes_without_labels']
    found = report['classes_found_without_labels']
    left = [name for name in report['iou'] if name not in (*missing, *report['ignored'])]
    texts = []
    if missing:
        texts.append(f'No pixel is labelled {named(missing, _CLASSES)}.')
    if found:
        texts.append(
            f'Found, but labelled nowhere: {named(found, _CLASSES)}. By definition their IoU and '
            'F1 are 0, which enters the means.'
        )
    if len(left) < 2:
        text = f'{only(left)}: there is nothing to tell apart, and no mean over classes.'
        texts.append(text[0].upper() + text[1:])
    elif all(each['mean'] is None for each in report['boundary_f'].values()):
        texts.append('The labels have no contour between two classes: there is no boundary F.')
    empty = [image['name'] for image in report['per_image'] if image['accuracy'] is None]
    if empty:
        count = f'{len(empty)} of {len(report["per_image"])} images'
        texts.append(f'No pixel is labelled in {count}: {named(empty)}.')
    return texts
