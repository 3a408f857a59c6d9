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

"""Images into files: the one place where OpenCV encodes, and where that is checked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from uhr_seg_ros.core.atomic_io import write_bytes
from uhr_seg_ros.core.errors import WriteError

#: Suffix -> longest side that the format, or its encoder, can hold, px.
MAX_SIDES = {
    '.jpg': 65_500,
    '.jpeg': 65_500,
    '.png': 1_000_000,
    '.webp': 16_383,
}


#: What holds more than 8 bits; others would be cut down by OpenCV without an error.
DEEP = ('.png', '.tif', '.tiff')


def fits(suffix: str, size: Sequence[int]) -> bool:
    """Return whether a format, such as ``.jpg``, can hold an image of (height, width), px."""
    return max(size[:2]) <= MAX_SIDES.get(suffix.lower(), max(size[:2]))


def check_format(path: Path) -> None:
    """
    Check that the suffix of a file names an image format, before the work.

    Raises:
        WriteError: It does not; names the file.
    """
    if not path.suffix or not cv2.haveImageWriter(f'image{path.suffix}'):
        msg = f'{path} cannot be written: give a .jpg or .png file'
        raise WriteError(msg)


def encode_image(suffix: str, image: np.ndarray, flags: Sequence[int] = ()) -> bytes:
    """
    Encode an image.

    Args:
        suffix: Of a file of the format, such as ``.png``.
        image: (H, W) or (H, W, 3) uint8 BGR; uint16 where the format holds it.
        flags: Of ``cv2.imencode``.

    Returns:
        The content of the file.

    Raises:
        WriteError: The format is unknown, or cannot hold the image.
    """
    form = suffix.lstrip('.').upper() or 'a file without a suffix'
    size = f'{image.shape[1]}x{image.shape[0]}' if image.ndim > 1 else f'shape {image.shape}'
    if image.size and not fits(suffix, image.shape):
        limit = MAX_SIDES[suffix.lower()]
        msg = f'an image of {size} px does not fit into {form}, whose sides end at {limit:,} px'
        raise WriteError(msg)
    if image.dtype != np.uint8 and (image.dtype != np.uint16 or suffix.lower() not in DEEP):
        msg = f'an image of {size} px, {image.dtype}, cannot be made {form}'
        raise WriteError(msg)
    try:
        done, content = cv2.imencode(suffix, image, list(flags))
    except cv2.error as err:
        msg = f'an image of {size} px, {image.dtype}, cannot be made {form}: {err.err or err}'
        raise WriteError(msg) from err
    if not done:
        msg = f'an image of {size} px, {image.dtype}, cannot be made {form}: OpenCV refuses it'
        raise WriteError(msg)
    return content.tobytes()


def write_image(
    path: Path, image: np.ndarray, flags: Sequence[int] = (), *, durable: bool = True
) -> None:
    """
    Write an image file that appears complete or not at all.

    Args:
        path: Its suffix tells the format; the folders that it lies in are made.
        image: See ``encode_image``.
        flags: Of ``cv2.imencode``.
        durable: See `atomic_io.atomic_write`.

    Raises:
        WriteError: The format is unknown, or cannot hold the image; names the file.
        OSError: It cannot be written; names the file.
    """
    try:
        content = encode_image(path.suffix, image, flags)
    except WriteError as err:
        msg = f'{path} cannot be written: {err}'
        raise WriteError(msg) from err
    write_bytes(path, content, durable=durable)
