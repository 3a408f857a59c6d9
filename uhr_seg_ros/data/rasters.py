# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""
Image files, whole or by window.

Of TIFF files only what a window touches is read. PNG and JPEG can only be decoded whole; what was
decoded last is kept for all threads of the process, up to a number of bytes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from threading import Lock

import cv2
import numpy as np

from uhr_seg_ros.data import tiff
from uhr_seg_ros.data.errors import DataError
from uhr_seg_ros.data.tiff import Window

#: The values as they are stored: no rotation by EXIF, no palette or depth changed to fit.
_IMAGE = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
_LABELS = cv2.IMREAD_UNCHANGED


class ArrayCache:
    """
    Arrays that were used last, up to a number of bytes; for several threads.

    Args:
        limit: Bytes. An array above it is not kept at all.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._arrays: OrderedDict[Hashable, np.ndarray] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    @property
    def bytes(self) -> int:
        """Bytes of what is kept."""
        return self._bytes

    def set_limit(self, limit: int) -> None:
        """Change the number of bytes; what is too much goes at once."""
        with self._lock:
            self._limit = limit
            self._shrink()

    def get(self, key: Hashable, make: Callable[[], np.ndarray]) -> np.ndarray:
        """Give the array of a key, made now if it is not here. It is read-only."""
        with self._lock:
            if key in self._arrays:
                self._arrays.move_to_end(key)
                return self._arrays[key]
        # Outside the lock: others may read meanwhile. Two threads may make the same array.
        array = make()
        array.flags.writeable = False
        with self._lock:
            if key not in self._arrays:
                self._arrays[key] = array
                self._bytes += array.nbytes
                self._shrink()
        return array

    def _shrink(self) -> None:
        while self._bytes > self._limit:
            _, array = self._arrays.popitem(last=False)
            self._bytes -= array.nbytes


#: Decoded files of this process.
cache = ArrayCache(1 << 30)


def read_image(path: Path, window: Window) -> np.ndarray:
    """
    Read a part of an image.

    Args:
        path: PNG, JPEG or TIFF.
        window: Top, left, height and width in px, inside the image.

    Returns:
        (h, w, 3) uint8 BGR, may be read-only. Grey is repeated, further bands are left out.

    Raises:
        DataError: The file is missing, damaged or not of 8 bits.
    """
    pixels = _window_of_tiff(path, window)
    if pixels is None:
        return _window_of_whole(path, window, _IMAGE)
    if pixels.shape[2] < 3:
        return np.repeat(pixels[..., :1], 3, axis=2)
    return np.ascontiguousarray(pixels[..., 2::-1])


def read_ids(path: Path, window: Window) -> np.ndarray:
    """
    Read a part of an image of class ids.

    Args:
        path: PNG or TIFF (JPEG changes values).
        window: Top, left, height and width in px, inside the image.

    Returns:
        (h, w) uint8, may be read-only.

    Raises:
        DataError: The file is missing, damaged, or not one channel of 8 bits.
    """
    pixels = _window_of_tiff(path, window)
    if pixels is None:
        pixels = _window_of_whole(path, window, _LABELS)
    elif pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim != 2:
        msg = (
            f'{path} has {pixels.shape[2]} channels, expected one channel of class ids '
            '(a palette or colours: write the ids as 8-bit grey values)'
        )
        raise DataError(msg)
    return pixels


def _window_of_tiff(path: Path, window: Window) -> np.ndarray | None:
    return tiff.read_window(path, window) if path.suffix.lower() in tiff.SUFFIXES else None


def _window_of_whole(path: Path, window: Window, flags: int) -> np.ndarray:
    top, left, height, width = window
    whole = cache.get(_key(path, flags), lambda: _decode(path, flags))
    return whole[top : top + height, left : left + width]


def _key(path: Path, flags: int) -> Hashable:
    """Tell a file from others, and from itself as it was before it was written again."""
    try:
        state = path.stat()
    except OSError as err:
        raise _unreadable(path, err) from err
    return path, flags, state.st_mtime_ns, state.st_size


def _decode(path: Path, flags: int) -> np.ndarray:
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as err:
        raise _unreadable(path, err) from err
    try:
        array = cv2.imdecode(data, flags) if data.size else None
    except cv2.error as err:
        msg = f'{path} cannot be decoded as an image: {err.err}'
        raise DataError(msg) from err
    if array is None:
        msg = f'{path} ({data.size} bytes) cannot be decoded as an image: damaged or incomplete'
        raise DataError(msg)
    if array.dtype != np.uint8:
        msg = f'{path} is {array.dtype}, expected 8 bits per channel'
        raise DataError(msg)
    return array


def _unreadable(path: Path, err: OSError) -> DataError:
    return DataError(f'{path} cannot be read: {err.strerror}')
