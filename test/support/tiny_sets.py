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

"""Data sets for the tiny bundle, and what an evaluation of it must come to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
from mask_pairs import regions
import numpy as np
from tiny_bundle import expected_logits, paint, TINY_CLASSES
import yaml

from uhr_seg_ros.evaluation.metrics import ConfusionMatrix

SIZE = (120, 200)


def write_set(root: Path, names: tuple[str, ...] = TINY_CLASSES.names, **fields: Any) -> Path:
    """Write a folder set of two images that the tiny bundle segments well, but not perfectly."""
    for folder in ('images', 'labels'):
        (root / folder).mkdir(parents=True)
    colors = TINY_CLASSES.colors
    classes = [
        {'name': name, 'color': list(color)} for name, color in zip(names, colors, strict=True)
    ]
    (root / 'classes.yaml').write_text(yaml.safe_dump({'classes': classes, **fields}))
    for seed, name in enumerate(('a', 'b')):
        labels, image = scene(seed)
        cv2.imwrite(str(root / f'images/{name}.png'), image)
        cv2.imwrite(str(root / f'labels/{name}.png'), labels)
    return root


def scene(seed: int) -> tuple[np.ndarray, np.ndarray]:
    labels = regions(seed, SIZE, 5.0) % 3
    noise = np.random.default_rng(seed).normal(0, 60, (*SIZE, 3))
    image = np.clip(paint(labels) * 0.6 + 40 + noise, 0, 255).astype(np.uint8)
    labels[5:15, 20:50] = 255
    return labels, image


def confusion(predict: Callable[[np.ndarray], np.ndarray]) -> list[list[int]]:
    """Count the answers of a function image -> mask."""
    matrix = ConfusionMatrix(3)
    for seed in (0, 1):
        labels, image = scene(seed)
        matrix.add(labels, predict(image))
    return matrix.counts.tolist()


def places(window: int, stride: int) -> list[tuple[slice, slice]]:
    """List windows of images of `SIZE`: the last ones are moved inside."""
    tops, lefts = (
        sorted({min(start, max(side - window, 0)) for start in range(0, side, stride)})
        for side in SIZE
    )
    return [np.s_[top : top + window, left : left + window] for top in tops for left in lefts]


def slid(image: np.ndarray, window: int, stride: int) -> np.ndarray:
    """Add up the logits of windows."""
    total, count = np.zeros((3, *SIZE)), np.zeros(SIZE)
    for place in places(window, stride):
        total[(slice(None), *place)] += expected_logits(image[place])
        count[place] += 1
    return total / count


def disagreement(window: int, stride: int, reach: int) -> tuple[float, float]:
    """Ask all windows about every pixel, near a border of one of them and elsewhere."""
    differing, shared = np.zeros(2), np.zeros(2)
    rows, columns = np.arange(SIZE[0])[:, None] + 0.5, np.arange(SIZE[1]) + 0.5
    for seed in (0, 1):
        answers, near = np.zeros((3, *SIZE), bool), np.zeros(SIZE, bool)
        count = np.zeros(SIZE)
        for place in places(window, stride):
            logits = expected_logits(scene(seed)[1][place])
            answers[(slice(None), *place)] |= logits.argmax(0) == np.arange(3)[:, None, None]
            count[place] += 1
            for axis, centers in enumerate((rows, columns)):
                for border in (place[axis].start, place[axis].stop):
                    if 0 < border < SIZE[axis]:
                        near |= np.abs(centers - border) <= reach
        for index, part in enumerate((near, ~near)):
            shared[index] += (part & (count > 1)).sum()
            differing[index] += (part & (answers.sum(0) > 1)).sum()
    return tuple(differing / shared)
