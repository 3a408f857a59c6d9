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
How often each value occurs in label files, counted once.

What was counted is kept in memory, and, where it took a while, in the user's cache folder; a file
is known again by its path, size and time of change.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
import hashlib
import json
import os
from pathlib import Path
from threading import Lock
from time import monotonic

import cv2
import numpy as np
from tqdm import tqdm

from uhr_seg_ros import __version__
from uhr_seg_ros.core.atomic_io import write_text
from uhr_seg_ros.core.errors import DataError
from uhr_seg_ros.core.resources import available_cores, cache_folder
from uhr_seg_ros.data.image_io import is_read_by_window
from uhr_seg_ros.data.sample import FileSample, Sample

#: Counts of a scan that took longer are kept on disk, s.
KEPT_FROM = 1.0
#: Change this where files are read otherwise than before.
FORMAT = 1
#: Files are counted in so many threads at most; those above a size one at a time, px.
THREADS, LARGE = 4, 1 << 26
#: A band has at most this many px (OpenCV counts in float32), and a multiple of these rows.
BAND, ROWS = 1 << 24, 512
#: What reading counts raises where they are missing or something else.
_ODD = (OSError, ValueError, TypeError, AttributeError, KeyError)

#: Path, time of change in ns and bytes -> value -> px.
_known: dict[tuple[str, int, int], dict[int, int]] = {}
_large = Lock()


def count_values(image: FileSample) -> np.ndarray:
    """
    Count the values of a label file as they are stored.

    Returns:
        (256,) int64 px.

    Raises:
        DataError: The file cannot be decoded.
    """
    key = _key(image.label_path)
    if key not in _known:
        one_at_a_time = _large if np.prod(image.size) > LARGE else nullcontext()
        with one_at_a_time:
            # Others can only be decoded whole.
            by_band = is_read_by_window(image.label_path)
            windows = bands(image.size) if by_band else [(0, 0, *image.size)]
            counts = [histogram(image.read_values(window)) for window in windows]
        _known[key] = _sparse(np.sum(counts, 0))
    return _dense(_known[key])


def count_ids(image: Sample) -> np.ndarray:
    """
    Count the class ids of any labelled image, after everything that ignores some of them.

    Returns:
        (256,) int64 px.

    Raises:
        DataError: As `Sample.read_labels`.
    """
    if isinstance(image, FileSample):
        return image.encoding.ids_of(count_values(image))
    return np.sum([histogram(image.read_labels(window)) for window in bands(image.size)], 0)


def scan(
    images: Sequence[FileSample], root: Path, *, quiet: bool = False
) -> list[np.ndarray | DataError]:
    """
    Count the values of many label files, side by side.

    Args:
        images: The images that they belong to.
        root: Folder of the data set: what was counted is kept under its name.
        quiet: Show no progress.

    Returns:
        For each image (256,) int64 px, or what is wrong with the file.
    """
    started = monotonic()
    ledger = _ledger(root)
    _recall(ledger, root, images)

    def one(image: FileSample) -> np.ndarray | DataError:
        try:
            return count_values(image)
        except DataError as err:
            return err

    pool = ThreadPoolExecutor(min(THREADS, available_cores()))
    try:
        counts = list(
            tqdm(
                pool.map(one, images),
                'checking labels',
                len(images),
                leave=False,
                unit='image',
                disable=quiet,
                delay=KEPT_FROM,
            )
        )
    finally:
        pool.shutdown(cancel_futures=True)
    if monotonic() - started >= KEPT_FROM:
        _note(ledger, root, images)
    return counts


def histogram(values: np.ndarray) -> np.ndarray:
    """Count values (h, w) uint8: (256,) int64."""
    total = np.zeros(256, np.int64)
    for top, _, height, _ in bands(values.shape):
        part = np.ascontiguousarray(values[top : top + height])
        total += cv2.calcHist([part], [0], None, [256], [0, 256]).ravel().astype(np.int64)
    return total


def bands(size: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
    """Cut an image of (height, width) px into bands as wide as it is: top, left, height, width."""
    height, width = size
    rows = max(BAND // width // ROWS * ROWS, min(ROWS, BAND // width), 1)
    for top in range(0, height, rows):
        yield top, 0, min(rows, height - top), width


def _ledger(root: Path) -> Path | None:
    """Return the file with the counts of a data set; None for a user without a home."""
    name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
    try:
        return cache_folder() / 'labels' / f'{name}.json'
    except RuntimeError:
        return None


def _recall(ledger: Path | None, root: Path, images: Sequence[FileSample]) -> None:
    """Take over what an earlier process counted; what is odd about it is counted anew."""
    if ledger is None:
        return
    with suppress(DataError, *_ODD):
        content = json.loads(ledger.read_text(encoding='utf-8'))
        if content['made by'] != _made_by():
            return
        for image in images:
            key = _key(image.label_path)
            entry = content['files'].get(os.path.relpath(image.label_path, root))
            if entry is None or (entry['time'], entry['bytes']) != key[1:]:
                continue
            counts = {int(value): int(px) for value, px in entry['px'].items()}
            if sum(counts.values()) == np.prod(image.size) and max(counts) < 256:
                _known.setdefault(key, counts)


def _note(ledger: Path | None, root: Path, images: Sequence[FileSample]) -> None:
    if ledger is None:
        return
    files = {}
    with suppress(*_ODD):
        content = json.loads(ledger.read_text(encoding='utf-8'))
        files = dict(content['files']) if content['made by'] == _made_by() else {}
    with suppress(OSError, DataError):  # such as a home that cannot be written
        for image in images:
            path, time, size = _key(image.label_path)
            if (counts := _known.get((path, time, size))) is not None:
                name = os.path.relpath(image.label_path, root)
                files[name] = {'time': time, 'bytes': size, 'px': counts}
        # Engines lie there too, and are not read where others may write.
        ledger.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        content = {'made by': _made_by(), 'root': str(root.resolve()), 'files': files}
        write_text(ledger, json.dumps(content) + '\n')


def _made_by() -> str:
    return f'{__version__}, {FORMAT}'


def _key(path: Path) -> tuple[str, int, int]:
    try:
        state = path.stat()
    except OSError as err:
        msg = f'{path} cannot be read: {err.strerror}'
        raise DataError(msg) from err
    return os.path.abspath(path), state.st_mtime_ns, state.st_size


def _sparse(counts: np.ndarray) -> dict[int, int]:
    return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}


def _dense(counts: dict[int, int]) -> np.ndarray:
    dense = np.zeros(256, np.int64)
    dense[list(counts)] = list(counts.values())
    return dense
