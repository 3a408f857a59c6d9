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

"""Validation by windows: every pixel once, in bounded pieces."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='training needs torch')

from tiny import CLASSES, scene

from uhr_seg_ros.data.sample import ArraySample
from uhr_seg_ros.evaluation.metrics import ConfusionMatrix
from uhr_seg_ros.networks.backbones.normalization import normalized
from uhr_seg_ros.training.distributed import DistContext
from uhr_seg_ros.training.validation import Validation


class ByColor(torch.nn.Module):
    """A network without context: windows make no difference to it."""

    stride = 16

    def __init__(self) -> None:
        super().__init__()
        self.classify = torch.nn.Conv2d(3, len(CLASSES), 1)
        self.seen: list[torch.Size] = []

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.seen.append(image.shape)
        return self.classify(image)


def test_windows_count_every_pixel_once() -> None:
    image = ArraySample('part', *(array[:150, :199] for array in scene().read()))
    torch.manual_seed(0)
    network = ByColor()
    validation = Validation([image], CLASSES, window=(64, 112))
    score = validation.score(network, DistContext(), torch.float32)
    whole = network(normalized(image.image[None])).argmax(1)[0].numpy()
    expected = ConfusionMatrix(len(CLASSES))
    expected.add(image.labels, whole.astype(np.uint8))
    assert (score.matrix.counts == expected.counts).all()
    assert len(np.unique(whole)) > 1
    sizes = network.seen[:-1]
    assert len(sizes) == 3 * 2
    assert {tuple(shape[2:]) for shape in sizes} == {(64, 112)}


def test_processes_share_the_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    network, images = ByColor(), [scene(0, 150), scene(1, 80)]
    parts = []
    for rank in range(2):
        dist = DistContext(rank=rank, size=2)
        monkeypatch.setattr(DistContext, 'sum', lambda self, values: values)
        parts.append(
            Validation(images, CLASSES, window=(100, 100)).score(network, dist, torch.float32)
        )
    whole = Validation(images, CLASSES, window=(100, 100)).score(
        network, DistContext(), torch.float32
    )
    assert (sum(part.matrix.counts for part in parts) == whole.matrix.counts).all()
    assert all(part.matrix.counts.any() for part in parts)
    assert len(whole.pictures) == 3
    assert parts[1].pictures == []


def test_ignored_classes_are_not_counted() -> None:
    image = scene()
    matrix = (
        Validation([image], CLASSES, (1,)).score(ByColor(), DistContext(), torch.float32).matrix
    )
    counted = np.isin(image.labels, [0, 2, 3, 4]).sum()
    assert matrix.counts[1].sum() == 0
    assert matrix.counts.sum() == counted < image.labels.size


def test_figures_and_pictures() -> None:
    score = Validation([scene()], CLASSES).score(ByColor(), DistContext(), torch.float32)
    figures = score.figures(CLASSES)
    assert figures['mean_iou'] == pytest.approx(score.matrix.mean_iou())
    assert list(figures['iou']) == list(CLASSES.names)
    (picture,) = score.pictures
    assert picture.shape == (256, 3 * 256, 3)
    colors = {tuple(color) for color in picture[:, 256:512].reshape(-1, 3).tolist()}
    assert colors <= set(CLASSES.colors)
