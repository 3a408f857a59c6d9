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
Read a video as if its frames had been recorded: each is decoded when it is asked for.

So a video is played, measured and copied as a recording is, and takes no room on the disk.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TYPE_CHECKING

from rosbags.interfaces import (
    Connection,
    ConnectionExtRosbag2,
    MessageDefinition,
    MessageDefinitionFormat,
)
from rosbags.typesys import get_typestore, Stores

from uhr_seg_ros.core.errors import RecordingError
from uhr_seg_ros.replay.storage import Losses, Span
from uhr_seg_ros.replay.video import Video, VideoFrame

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore

#: Topic of the frames of a video, and the frame of their camera.
TOPIC, FRAME_ID = '/image_raw', 'camera_optical_frame'

#: Stamps begin here, ns: 0 stands for no stamp in many nodes.
FIRST_STAMP_NS = 1_000_000_000

#: Frames per second of a video that does not say.
USUAL_RATE_HZ = 1.0

_IMAGE = 'sensor_msgs/msg/Image'


class VideoStorage:
    """
    A video as a file of a recording.

    It has one topic, of raw images, each with the stamp and the time of recording that its place
    and the rate of the video give.

    Args:
        path: of the video.

    Raises:
        RecordingError: it cannot be read, see `Video`.

    """

    loss = remedy = ''

    def __init__(self, path: Path) -> None:
        self.losses = Losses()
        self._video = Video(path)
        self._rate_hz = self._video.rate_hz or USUAL_RATE_HZ
        definition, digest = _definition()
        extra = ConnectionExtRosbag2('cdr', [])
        count = self._video.count or _counted(path)
        self.connections = [Connection(0, TOPIC, _IMAGE, definition, digest, count, extra, None)]

    def messages(
        self, wanted: Collection[int], span: Span | None = None
    ) -> Iterator[tuple[int, int, bytes]]:
        """Yield frames as messages, as `Storage.messages`; none outside of the span is read."""
        self.losses = Losses()
        if 0 not in wanted:
            return
        try:
            for frame in self._video.grab():
                stamp = FIRST_STAMP_NS + round(frame.index * 1e9 / self._rate_hz)
                if span is not None and not span[0] <= stamp < span[1]:
                    continue
                try:
                    message = _message(frame, stamp)
                except RecordingError as err:
                    self.losses.add(f'frame {frame.index}', str(err))
                else:
                    yield 0, stamp, message
        except RecordingError as err:  # cut short
            self.losses.add('its end', str(err), 0)

    def close(self) -> None:
        """Do nothing: a file is open while its frames are read."""


def _message(frame: VideoFrame, stamp: int) -> bytes:
    pixels = frame.read()
    height, width = pixels.shape[:2]
    types = _types()
    seconds, nanoseconds = divmod(stamp, 1_000_000_000)

    def make(kind: str, **fields: Any) -> Any:
        return types.types[kind](**fields)

    image = make(
        _IMAGE,
        header=make(
            'std_msgs/msg/Header',
            stamp=make('builtin_interfaces/msg/Time', sec=seconds, nanosec=nanoseconds),
            frame_id=FRAME_ID,
        ),
        height=height,
        width=width,
        encoding='bgr8',
        is_bigendian=0,
        step=3 * width,
        data=pixels.reshape(-1),
    )
    return bytes(types.serialize_cdr(image, _IMAGE))


@cache
def _types() -> Typestore:
    return get_typestore(Stores.ROS2_HUMBLE)


@cache
def _definition() -> tuple[MessageDefinition, str]:
    text, _ = _types().generate_msgdef(_IMAGE)
    return MessageDefinition(MessageDefinitionFormat.MSG, text), _types().hash_rihs01(_IMAGE)


@cache
def _counted(path: Path) -> int:
    """Count the frames of a video whose container does not, which takes decoding it."""
    return sum(1 for _ in Video(path).grab())
