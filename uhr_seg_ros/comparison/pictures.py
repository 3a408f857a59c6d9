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

"""The same places through every network of a comparison."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from uhr_seg_ros.comparison.plan import Plan
from uhr_seg_ros.comparison.running import Comparison
from uhr_seg_ros.core.errors import WriteError
from uhr_seg_ros.core.image_writing import check_format, fits, write_image
from uhr_seg_ros.core.visualization import colorize
from uhr_seg_ros.data.datasets import open_dataset
from uhr_seg_ros.data.image_io import Window
from uhr_seg_ros.pipelines.segmenter import Segmenter

#: Side of a place, px, and the step at which places are looked at.
SIDE, STEP = 384, 96
#: At most so many images are shown, one place of each.
PLACES = 4
#: Rows above a column for its title, px; border around each picture, px.
TITLE, MARGIN = 24, 3
#: Values on a pixel that is white.
WHITE = (255, 255, 255)


def check_pictures(plan: Plan, path: Path) -> None:
    """
    Check that pictures of all variants can be drawn into a file, before the work.

    Raises:
        WriteError: The format is unknown, or cannot hold so many.
    """
    check_format(path)
    side = SIDE + 2 * MARGIN
    width = (len(plan.variants) + 2) * side
    if not fits(path.suffix, (TITLE + PLACES * side, width)):
        count = len(plan.variants)
        msg = f'{path} cannot be written: {count} variants take {width} px, give a .png file'
        raise WriteError(msg)


def draw_pictures(comparison: Comparison, path: Path) -> None:
    """
    Draw a row per image: a place, its labels (unknown is black), the masks of all variants.

    The place is the one whose labels have the most boundaries. Networks, those of the first
    seed, see the whole image.

    Args:
        comparison: A comparison that is done.
        path: A ``.jpg`` or ``.png`` file.

    Raises:
        WriteError: The format is unknown, or cannot hold so many places.
    """
    check_pictures(comparison.plan, path)
    dataset = open_dataset(comparison.plan.variants[0].config['data']['dataset'], comparison.root)
    pairs = [image.read() for image in dataset.images(comparison.split)[:PLACES]]
    places = [busiest(labels) for _, labels in pairs]
    images = [image for image, _ in pairs]
    masks = {'labels': [labels for _, labels in pairs]} | dict(_found(comparison, images))
    columns = {'image': [cut(*each) for each in zip(images, places, strict=True)]}
    for title, ids in masks.items():
        parts = (cut(*each) for each in zip(ids, places, strict=True))
        columns[title] = [colorize(part, dataset.classes) for part in parts]
    picture = cv2.hconcat([_column(title, parts) for title, parts in columns.items()])
    write_image(path, picture)


def busiest(labels: np.ndarray) -> Window:
    """Find the square of ``SIDE`` px, or less in a small image, with the most boundaries."""
    height, width = (min(SIDE, side) for side in labels.shape)
    edges = np.zeros(labels.shape, np.uint8)
    edges[1:] |= labels[1:] != labels[:-1]
    edges[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    sums = cv2.integral(edges)
    tops, lefts = (
        np.arange(0, whole - side + 1, STEP)
        for whole, side in zip(labels.shape, (height, width), strict=True)
    )
    rows, columns = np.ix_(tops, lefts)
    counts = (
        sums[rows + height, columns + width]
        - sums[rows, columns + width]
        - sums[rows + height, columns]
        + sums[rows, columns]
    )
    row, column = np.unravel_index(counts.argmax(), counts.shape)
    return int(tops[row]), int(lefts[column]), height, width


def cut(array: np.ndarray, window: Window) -> np.ndarray:
    """Return a window of an array (H, W, ...)."""
    top, left, height, width = window
    return array[top : top + height, left : left + width]


def _found(
    comparison: Comparison, images: list[np.ndarray]
) -> Iterator[tuple[str, list[np.ndarray]]]:
    for variant in comparison.plan.variants:
        bundle = comparison.folder(variant, comparison.plan.seeds[0]) / 'bundle'
        if not bundle.is_dir():  # made elsewhere and missing, or not trained yet
            continue
        with Segmenter(bundle, 'onnxruntime') as segmenter:
            yield variant.name, [segmenter(image).mask for image in images]


def _column(title: str, parts: list[np.ndarray]) -> np.ndarray:
    framed = [_framed(part) for part in parts]
    head = np.full((TITLE, framed[0].shape[1], 3), WHITE, np.uint8)
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(head, title, (MARGIN, TITLE - 8), font, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return cv2.vconcat([head, *framed])


def _framed(part: np.ndarray) -> np.ndarray:
    """Put a place into a white square of the same size for all."""
    side = SIDE + 2 * MARGIN
    square = np.full((side, side, 3), WHITE, np.uint8)
    height, width = part.shape[:2]
    square[MARGIN : MARGIN + height, MARGIN : MARGIN + width] = part
    return square
