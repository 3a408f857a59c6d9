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
Put side by side what the researcher of `scripts/first_hour` gave and got: image, labels, mask.

    python -m tools.first_hour_picture out/first_hour/researcher docs/images/own_classes.png
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
import sys

import cv2
import numpy as np

from tools.first_hour_inputs import CLASSES, LABELED_IMAGES
from tools.small_png import write_small_png
from uhr_seg_ros.image_io.files import read_ids, read_image

#: Of the test images, which no training sees, those at the end.
SHOWN = 2
BAR, GAP = 24, 6
#: Width of a picture, px.
WIDTH = 400
_PALETTE = np.array(list(CLASSES.values()), np.uint8)[:, ::-1]


def compose(folder: Path) -> np.ndarray:
    """Return a row for each image, (H, W, 3) uint8 BGR."""
    rows = [_row(folder, f'{number:02}') for number in range(LABELED_IMAGES)[-SHOWN:]]
    titles = ('image, not trained on', 'its labels', 'mask of the trained model')
    heads = [_title(text, rows[0].shape[1] // 3) for text in titles]
    return cv2.vconcat([cv2.hconcat(heads), *rows])


def _row(folder: Path, name: str) -> np.ndarray:
    image = read_image(folder / f'my_images/images/{name}.png')
    parts = [image]
    for path in (f'my_images/labels/{name}.png', f'masks/{name}_mask.png'):
        parts.append(_PALETTE[read_ids(folder / path)])
    height = WIDTH * image.shape[0] // image.shape[1]
    small = [cv2.resize(each, (WIDTH, height), interpolation=cv2.INTER_AREA) for each in parts]
    row = np.full((height + GAP, 3 * (WIDTH + GAP), 3), 255, np.uint8)
    for place, each in enumerate(small):
        left = place * (WIDTH + GAP)
        row[:height, left : left + WIDTH] = each
    return row


def _title(text: str, width: int) -> np.ndarray:
    bar = np.full((BAR, width, 3), 255, np.uint8)
    font = cv2.FONT_HERSHEY_SIMPLEX
    return cv2.putText(bar, text, (2, BAR - 8), font, 0.5, (40, 36, 28), 1, cv2.LINE_AA)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a PNG file."""
    parser = argparse.ArgumentParser(description='Image, labels and mask side by side.')
    parser.add_argument('folder', type=Path, metavar='FOLDER', help='of the researcher')
    parser.add_argument('file', type=Path, metavar='FILE')
    args = parser.parse_args(arguments)
    write_small_png(compose(args.folder), args.file)
    return 0


if __name__ == '__main__':
    sys.exit(main())
