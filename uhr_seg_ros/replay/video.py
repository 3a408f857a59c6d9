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

"""Videos, frame by frame, by the FFmpeg that is built into OpenCV."""

from __future__ import annotations

from collections.abc import Iterator
import os
from pathlib import Path

import cv2
import numpy as np

from uhr_seg_ros.core.errors import ImageError, RecordingError
from uhr_seg_ros.core.regular_files import FileFault, open_regular
from uhr_seg_ros.image_io.limits import FrameLimit

#: Names that files of videos have.
VIDEO_SUFFIXES = ('.mp4', '.m4v', '.mov', '.avi', '.mkv', '.webm', '.mpg', '.mpeg', '.ts', '.mts')

_HEAD = 512
# Boxes that a file of QuickTime or MPEG-4 begins with, after their length.
_BOXES = (b'ftyp', b'moov', b'mdat', b'wide', b'free', b'skip', b'pnot')
_MATROSKA, _PROGRAM_STREAM, _SYNC = b'\x1a\x45\xdf\xa3', b'\0\0\1\xba', 0x47
# Lengths of the packets of a transport stream, and where the first one begins.
_PACKETS = ((188, 0), (192, 4))

_MAX_RATE_HZ = 1000.0

# Containers estimate how many frames they hold: this share of them may be missing at the end.
_MISSING = 0.02
_ALWAYS_MISSING = 2


class Video:
    """
    A video file; its frames come one at a time.

    They are turned as players turn them, and changed to 8 bits per channel.

    Args:
        path: MP4, MOV, AVI, Matroska (WebM), MPEG-PS or MPEG-TS, with any codec that the FFmpeg
            of OpenCV knows.

    Attributes:
        count: of the frames, as the container says or estimates; 0 where it does not.
        rate_hz: frames per second on average, as the container says; 0 where it does not.
        frame_bytes: of a frame as `VideoFrame.read` gives it.

    Raises:
        RecordingError: the file is no such video, damaged, or OpenCV has no FFmpeg.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        _check_content(path)
        capture = _open(path)
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        rate = capture.get(cv2.CAP_PROP_FPS)
        height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        width = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        capture.release()
        try:
            FrameLimit().check(f'{path} cannot be read: its video', height, width)
        except ImageError as err:
            raise RecordingError(str(err)) from err
        self.count = max(0, count)
        self.frame_bytes = 3 * height * width
        self._seconds = self.count / rate if rate > 0 else 0.0
        # Without one, some containers give that of their clock.
        self.rate_hz = rate if 0 < rate <= _MAX_RATE_HZ else 0.0

    def grab(self) -> Iterator[VideoFrame]:
        """
        Go through the frames; each can be read until the next one is asked for.

        Raises:
            RecordingError: the video ends long before the number of frames that it names.
        """
        capture = _open(self.path)
        index, times = 0, _Times()
        try:
            while capture.grab():
                times.add(capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3)
                yield VideoFrame(self.path, index, capture)
                index += 1
        finally:
            capture.release()
        are_missing = self.count - index > max(_ALWAYS_MISSING, _MISSING * self.count)
        if are_missing and not times.reach(self._seconds):
            msg = (
                f'{self.path} ends after {index} of {self.count} frames: it is cut short or '
                'damaged'
            )
            raise RecordingError(msg)


class _Times:
    """
    Times of frames, s.

    Where their distances vary, as those of phones do, a container that has only its length and a
    rate estimates too many frames, and the time of the last one tells that none is missing.
    """

    def __init__(self) -> None:
        self._first: float | None = None
        self._last = self._longest = 0.0

    def add(self, time_s: float) -> None:
        """Note a frame."""
        if self._first is None:
            self._first = self._last = time_s
        self._longest = max(self._longest, time_s - self._last)
        self._last = time_s

    def reach(self, seconds: float) -> bool:
        """Tell if the last frame is where a video of this length ends."""
        missing = seconds - (self._last - (self._first or 0.0))
        return missing <= max(_ALWAYS_MISSING * self._longest, _MISSING * seconds)


class VideoFrame:
    """A frame that is decoded, and becomes an array when it is read."""

    def __init__(self, path: Path, index: int, capture: cv2.VideoCapture) -> None:
        self.path, self.index, self._capture = path, index, capture

    def read(self) -> np.ndarray:
        """
        Return (H, W, 3) uint8 BGR.

        Raises:
            RecordingError: it cannot be converted.
        """
        done, frame = self._capture.retrieve()
        if not done or frame is None or frame.ndim != 3:
            msg = f'frame {self.index} of {self.path} cannot be read'
            raise RecordingError(msg)
        return frame


def is_video(path: Path) -> bool:
    """Tell by its name if a file is a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def _check_content(path: Path) -> None:
    """Refuse what is no container: FFmpeg would follow a playlist to other files and hosts."""
    try:
        with open_regular(path) as file:
            head = file.read(_HEAD)
    except (FileFault, OSError) as err:
        reason = getattr(err, 'reason', '') or getattr(err, 'strerror', '') or err
        msg = f'{path} cannot be read: {reason}'
        raise RecordingError(msg) from err
    known = (
        head[4:8] in _BOXES
        or (head[:4] == b'RIFF' and head[8:12] == b'AVI ')
        or head.startswith((_MATROSKA, _PROGRAM_STREAM))
        or any(
            len(head) > first + size and head[first] == head[first + size] == _SYNC
            for size, first in _PACKETS
        )
    )
    if not known:
        what = 'begins like no video that is read' if head else 'is empty'
        msg = f'{path} {what} (MP4, MOV, AVI, MKV, WebM, MPEG-PS or MPEG-TS)'
        raise RecordingError(msg)


def _open(path: Path) -> cv2.VideoCapture:
    # What it has to say goes into our own texts.
    os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')
    # A path from the root is no address. FFmpeg by name, since others take a name with "%" for
    # that of many pictures.
    try:
        capture = cv2.VideoCapture(os.path.abspath(path), cv2.CAP_FFMPEG)
    except cv2.error as err:
        msg = f'{path} cannot be read as a video: {err}'
        raise RecordingError(msg) from err
    if capture.isOpened():
        return capture
    if not any(each == cv2.CAP_FFMPEG for each in cv2.videoio_registry.getBackends()):
        msg = (
            f'{path} is a video, and this OpenCV has no FFmpeg, which reads it: install '
            'opencv-python-headless, or turn it into pictures with '
            f'`ffmpeg -i {path.name} frames/%06d.png`'
        )
        raise RecordingError(msg)
    msg = (
        f'{path} cannot be read as a video: it is damaged, cut short, or of a codec that the '
        'FFmpeg of OpenCV does not know: `ffmpeg -i` says more'
    )
    raise RecordingError(msg)
