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

"""Validation while training: by windows, so that memory does not grow with the images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch.nn import functional

from uhr_seg_ros.core.classes import ClassSet, UNLABELED
from uhr_seg_ros.data.dataset import named
from uhr_seg_ros.data.label_check import only
from uhr_seg_ros.data.sample import Sample
from uhr_seg_ros.evaluation.metrics import ConfusionMatrix, number
from uhr_seg_ros.networks.backbones.normalization import normalized
from uhr_seg_ros.networks.presets import SegmentationNetwork
from uhr_seg_ros.training.distributed import DistContext

#: Largest side of a window, px, unless crops are larger: enough for context, small enough for any
#: memory.
WINDOW = 1024
#: How many windows are shown, and their height, px.
PICTURES, PICTURE_HEIGHT = 3, 256

Window = tuple[int, int, int, int]


@dataclass(frozen=True)
class Score:
    """
    What a validation found.

    Attributes:
        matrix: Counts over all images.
        pictures: (h, w, 3) uint8 RGB: image, labels and mask side by side.
    """

    matrix: ConfusionMatrix
    pictures: list[np.ndarray]

    def figures(self, classes: ClassSet) -> dict[str, Any]:
        """
        Return plain numbers: ``mean_iou``, ``accuracy``, ``iou`` by class, None if absent.

        ``mean_iou`` is None too where fewer than two classes are labeled;
        ``classes_without_labels`` names those that are not, left out on purpose or not.
        """
        labeled = self.matrix.labeled()
        return {
            'mean_iou': number(self.matrix.mean_iou()),
            'accuracy': number(self.matrix.accuracy()),
            'iou': dict(zip(classes.names, map(number, self.matrix.iou()), strict=True)),
            'classes_without_labels': [
                name for name, there in zip(classes.names, labeled, strict=True) if not there
            ],
        }


class Validation:
    """
    Images to validate on; the processes share the windows among themselves.

    Args:
        images: Labeled images.
        classes: Names and colors.
        ignored: Class ids that are not counted where they are labeled.
        window: Largest height and width of what is segmented at a time, px.
    """

    def __init__(
        self,
        images: Sequence[Sample],
        classes: ClassSet,
        ignored: Sequence[int] = (),
        window: tuple[int, int] = (WINDOW, WINDOW),
    ) -> None:
        self.images, self.classes, self.ignored = images, classes, ignored
        self.windows = [
            (image, place) for image in images for place in _windows(image.size, window)
        ]

    @torch.no_grad()
    def score(self, network: SegmentationNetwork, dist: DistContext, dtype: torch.dtype) -> Score:
        """
        Score a network.

        Args:
            network: On the device of ``dist``; it is put into evaluation mode.
            dist: The processes that validate together.
            dtype: Precision of the network's arithmetic.
        """
        network.eval()
        matrix = ConfusionMatrix(len(self.classes))
        pictures: list[np.ndarray] = []
        for index in range(dist.rank, len(self.windows), dist.size):
            source, window = self.windows[index]
            image, labels = source.read(window)
            mask = _mask(network, image, dist.device, dtype)
            counted = np.where(np.isin(labels, self.ignored), UNLABELED, labels)
            matrix.add(counted.astype(np.uint8), mask)
            if len(pictures) < PICTURES and dist.writes:
                pictures.append(self._picture(image, labels, mask))
        matrix.counts = dist.sum(torch.from_numpy(matrix.counts)).cpu().numpy()
        return Score(matrix, pictures)

    def _picture(self, image: np.ndarray, labels: np.ndarray, mask: np.ndarray) -> np.ndarray:
        palette = self.classes.palette_bgr()
        row = np.hstack([image, palette[labels], palette[mask]])[..., ::-1]
        width = round(row.shape[1] * PICTURE_HEIGHT / row.shape[0])
        row = np.ascontiguousarray(row)
        return cv2.resize(row, (width, PICTURE_HEIGHT), interpolation=cv2.INTER_AREA)


def format_figures(figures: Mapping[str, Any]) -> str:
    """Write the mIoU of ``Score.figures``, and what it leaves out."""
    value, names = figures['mean_iou'], list(figures['iou'])
    missing = figures.get('classes_without_labels', [])
    if value is None:
        labeled = [name for name in names if name not in missing]
        return f'mIoU -: {only(labeled)}'
    note = f' (without labels: {named(missing, 20)})' if missing else ''
    return f'mIoU {value:.3f}{note}'


def _windows(size: tuple[int, int], largest: tuple[int, int]) -> Iterator[Window]:
    """Cut an image into windows of nearly one size that meet without overlap."""
    for top, rows in _parts(size[0], largest[0]):
        for left, columns in _parts(size[1], largest[1]):
            yield top, left, rows, columns


def _parts(size: int, largest: int) -> Iterator[tuple[int, int]]:
    count = -(-size // largest)
    edges = [size * index // count for index in range(count + 1)]
    for start, stop in zip(edges[:-1], edges[1:], strict=True):
        yield start, stop - start


def _mask(
    network: SegmentationNetwork, image: np.ndarray, device: torch.device, dtype: torch.dtype
) -> np.ndarray:
    """Segment one window, padded to the stride of the network by its last row and column."""
    height, width = image.shape[:2]
    tensor = normalized(image[None].copy()).to(device)
    padding = (0, -width % network.stride, 0, -height % network.stride)
    tensor = functional.pad(tensor, padding, 'replicate')
    mixed = dtype != torch.float32
    with torch.autocast(device.type, dtype, enabled=mixed):
        logits = network(tensor)
    return logits[0, :, :height, :width].argmax(0).to(torch.uint8).cpu().numpy()
