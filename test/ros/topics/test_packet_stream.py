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

"""The thread of a stream: packets that it cannot keep up with, and nothing where none come."""

from __future__ import annotations

from collections.abc import Iterator
import math
from threading import Event
import time
from types import SimpleNamespace

from diagnostic_msgs.msg import DiagnosticStatus
import pytest
from sensor_msgs.msg import CompressedImage
from stage import wait_until
from std_msgs.msg import Header
from streams import encode, number_of

from uhr_seg_ros.image_io.limits import FrameLimit
from uhr_seg_ros.ros.camera import Frame
from uhr_seg_ros.ros.messages.images import read_frame
from uhr_seg_ros.ros.topics.packet_stream import PacketStream, QUIET_S, StreamHooks

PACKETS = encode('h264', 24)


class Stage:
    """A stream whose thread goes on packet by packet, while it is let."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.errors: list[Exception] = []
        self.skipped = 0
        self.inside, self.may_go_on = Event(), Event()
        hooks = StreamHooks(self.frames.append, self._skip, self.errors.append, self._is_wanted)
        self.stream = PacketStream(FrameLimit(), 'cpu', hooks)

    def put(self, number: int, arrival: float = 0.0, form: str = 'h264') -> bool:
        header = Header(frame_id=str(number))
        message = CompressedImage(header=header, format=form, data=PACKETS[number].data)
        return self.stream.takes(Frame(message, arrival, number))

    def end(self, count: int) -> list[int]:
        """Let it go on until so many pictures came; return their numbers."""
        self.may_go_on.set()
        wait_until(lambda: len(self.frames) == count, 'the pictures')
        return [each.stamp_ns for each in self.frames]

    def _skip(self) -> None:
        self.skipped += 1

    def _is_wanted(self) -> bool:
        self.inside.set()
        assert self.may_go_on.wait(30.0)
        return True


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.may_go_on.set()
    stage.stream.close()


def test_who_cannot_keep_up_begins_again_with_a_key(stage: Stage) -> None:
    now = time.monotonic()
    stage.may_go_on.set()
    stage.put(0, now)
    wait_until(lambda: stage.frames and stage.stream._warm_s < math.inf, 'the first picture')
    stage.may_go_on.clear()
    stage.inside.clear()
    stage.put(1, now)
    assert stage.inside.wait(30.0)
    for number, arrival in ((2, 10.0), (3, 10.5), (4, 11.2)):
        stage.put(
            number, now + arrival
        )  # 2 has waited for too long when 4 comes, and 3 goes along
    for number in range(5, 10):
        stage.put(number, now + 11.3)
    assert stage.end(4) == [0, 1, 8, 9]
    pictures = [read_frame(each.message, print, FrameLimit()).bgr for each in stage.frames]
    assert list(map(number_of, pictures)) == [0, 1, 8, 9]
    assert [each.message.header.frame_id for each in stage.frames] == ['0', '1', '8', '9']
    values = stage.stream.values()
    assert (values['packets_received'], values['packets_late']) == ('10', '2')
    assert (values['packets_without_key'], values['stream_losses']) == ('4', '1')
    assert stage.skipped == 6 and not stage.errors


def test_a_camera_of_pictures_has_no_thread(stage: Stage) -> None:
    assert not stage.put(0, form='bgr8; jpeg compressed bgr8')
    assert not stage.stream.is_used and stage.stream.values() == {}
    assert stage.stream.problem() is None


def test_a_stream_without_pictures_is_a_problem(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.may_go_on.set()
    stage.put(1)
    wait_until(lambda: stage.skipped, 'a packet without a key')
    assert stage.stream.problem() is None
    now = time.monotonic() + QUIET_S
    monkeypatch.setattr(
        'uhr_seg_ros.ros.topics.packet_stream.time', SimpleNamespace(monotonic=lambda: now)
    )
    level, text = stage.stream.problem() or (b'', '')
    assert level == DiagnosticStatus.WARN and 'no parameter sets have come' in text


def test_what_comes_after_the_end_is_counted(stage: Stage) -> None:
    stage.stream.close()
    assert stage.put(0)
    assert stage.skipped == 1 and not stage.stream.is_used
