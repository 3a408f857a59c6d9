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

"""Gather the masks that a node publishes: when they arrived, what they are, and files of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from queue import Queue
from threading import Condition, Thread
import time
from typing import Any, NamedTuple, Protocol, TypeVar

import cv2
import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from sensor_msgs.msg import Image

from uhr_seg_ros.core.errors import ImageError, UhrSegError
from uhr_seg_ros.core.image_writing import write_image
from uhr_seg_ros.core.text import shown
from uhr_seg_ros.replay.ply import write_ply

# Pictures that wait to be written; beyond it the subscriptions wait, instead of the memory.
_WAITING_FILES = 4

#: Encoding of a mask of class ids -> type of its pixels.
ID_ENCODINGS: dict[str, np.dtype[Any]] = {
    'mono8': np.dtype(np.uint8),
    '8UC1': np.dtype(np.uint8),
    'mono16': np.dtype(np.uint16),
    '16UC1': np.dtype(np.uint16),
    '32SC1': np.dtype(np.int32),
}

Self_ = TypeVar('Self_', bound='MaskCollector')


class Form(NamedTuple):
    """What a mask is: its encoding, width and height."""

    encoding: str
    width: int
    height: int


class Stamped(Protocol):
    """A message with a header."""

    header: Any


class MaskCollector:
    """
    Keeps what arrives at its subscriptions, which it serves on a thread of its own.

    Args:
        name: of its own node.
        output: folder for `masks/`; None: take the times, save nothing.

    """

    def __init__(self, name: str, output: Path | None) -> None:
        self._output = output
        self._lock = Condition()
        self._arrivals: list[tuple[int, int]] = []
        self._forms: Counter[Form] = Counter()
        self._unsaved: list[str] = []
        self._files: Queue[tuple[Path, np.ndarray] | None] = Queue(_WAITING_FILES)
        if output:
            (output / 'masks').mkdir(parents=True, exist_ok=True)
        self._node = rclpy.create_node(name)
        self._subscribe()
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._threads = [Thread(target=self._spin), Thread(target=self._write)]
        for thread in self._threads:
            thread.start()

    def _subscribe(self) -> None:
        """Subscribe to masks, with `_on_mask`, and to what else is gathered."""
        raise NotImplementedError

    @property
    def arrivals(self) -> list[tuple[int, int]]:
        """Stamp of every mask and when it arrived (`time.monotonic_ns`), ns, in that order."""
        with self._lock:
            return list(self._arrivals)

    @property
    def forms(self) -> Counter[Form]:
        """What the masks are, and how many are so."""
        with self._lock:
            return Counter(self._forms)

    @property
    def count(self) -> int:
        """How many masks have arrived."""
        with self._lock:
            return len(self._arrivals)

    def wait_for_mask(self, seen: int, timeout_s: float) -> None:
        """Wait until more than `seen` masks have arrived, or so long."""
        with self._lock:
            self._lock.wait_for(lambda: len(self._arrivals) > seen, timeout_s)

    @property
    def unsaved(self) -> list[str]:
        """Why files could not be written, a line for each; complete after `close`."""
        with self._lock:
            return list(self._unsaved)

    def close(self) -> None:
        """Unsubscribe and finish the files."""
        self._executor.shutdown()
        self._threads[0].join()
        self._files.put(None)
        self._threads[1].join()
        self._node.destroy_node()

    def __enter__(self: Self_) -> Self_:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _on_mask(self, message: Image) -> None:
        arrival = time.monotonic_ns()
        form = Form(message.encoding, message.width, message.height)
        with self._lock:
            self._arrivals.append((stamp_of(message), arrival))
            self._forms[form] += 1
            self._lock.notify_all()
        if self._output is not None:
            try:
                self._files.put((mask_file(self._output, stamp_of(message)), ids_of(message)))
            except ImageError as err:
                self._note_unsaved(str(err))

    def _save(self, folder: str, name: str, content: np.ndarray) -> None:
        if self._output is not None:
            self._files.put((self._output / folder / name, content))

    def _note_unsaved(self, text: str) -> None:
        with self._lock:
            self._unsaved.append(text)

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            pass

    def _write(self) -> None:
        while (item := self._files.get()) is not None:
            try:
                _save(*item)
            except (OSError, UhrSegError) as err:  # the others are taken all the same
                self._note_unsaved(_named(err))


def ids_of(message: Image) -> np.ndarray:
    """
    Return the class ids of a mask, (H, W) uint8, or uint16 where they are wider.

    Raises:
        ImageError: its encoding has no ids, as that of a color mask; size, step and data do not
            fit together; or an id is none that fits in 16 bits.

    """
    kind = ID_ENCODINGS.get(message.encoding)
    if kind is None:
        msg = (
            f'a mask of encoding {shown(message.encoding)} has no class ids: only '
            f'{", ".join(ID_ENCODINGS)} have'
        )
        raise ImageError(msg)
    rows, columns = message.height, message.width
    if message.step < columns * kind.itemsize or len(message.data) < message.step * rows:
        msg = (
            f'a mask of {columns}x{rows} px, {message.encoding}, with a step of {message.step}, '
            f'has {len(message.data)} bytes'
        )
        raise ImageError(msg)
    kind = kind.newbyteorder('>' if message.is_bigendian else '<')
    ids = np.ndarray((rows, columns), kind, message.data, strides=(message.step, kind.itemsize))
    if message.encoding == '32SC1' and ids.size and not 0 <= ids.min() <= ids.max() < 1 << 16:
        msg = f'a mask has ids from {ids.min()} to {ids.max()}: expected 0 to 65535'
        raise ImageError(msg)
    return ids.astype(np.uint8 if kind.itemsize == 1 else np.uint16)


def mask_file(output: Path, stamp_ns: int) -> Path:
    """Return where the mask of a stamp is saved, below the folder of a `MaskCollector`."""
    seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
    return output / 'masks' / f'{seconds:010d}.{nanoseconds:09d}_mask.png'


def stamp_of(message: Stamped) -> int:
    """Return the stamp of a message's header, ns."""
    return message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec


def _save(path: Path, content: np.ndarray) -> None:
    if path.suffix == '.ply':
        write_ply(path, content)
        return
    # Level 1: a mask shrinks well at any level, and the node needs the processor.
    flags = [cv2.IMWRITE_PNG_COMPRESSION, 1] if path.suffix == '.png' else []
    write_image(path, content, flags, durable=False)


def _named(error: OSError | UhrSegError) -> str:
    return f'{error.filename}: {error.strerror}' if isinstance(error, OSError) else str(error)
