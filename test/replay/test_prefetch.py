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

"""Reading ahead, round after round."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
import threading
import time

from image_bags import image, record
import numpy as np
import pytest

from uhr_seg_ros.core.errors import RecordingError
from uhr_seg_ros.replay import prefetch
from uhr_seg_ros.replay.bag_writing import BagWriter
from uhr_seg_ros.replay.bags import stamp_ns
from uhr_seg_ros.replay.player import recorded_age
from uhr_seg_ros.replay.prefetch import AHEAD, read_ahead, with_stamp

S = 1_000_000_000


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until something holds, at most 20 s."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    """Return a recording of 12 frames, one per second from second 5 on."""
    with BagWriter(tmp_path / 'bag', topic='/cam') as writer:
        for index in range(12):
            writer.write(np.full((8, 8, 3), index, np.uint8), (5 + index) * S)
    return tmp_path / 'bag'


def test_once(bag: Path) -> None:
    items = list(read_ahead(bag, '/cam', repeat=False))
    assert [elapsed for elapsed, _, _, _ in items] == [index * S for index in range(12)]
    assert [recorded for _, recorded, _, _ in items] == [(5 + index) * S for index in range(12)]
    assert [stamp_ns(message) for _, _, message, _ in items] == [r for _, r, _, _ in items]


def test_time_goes_on_in_the_second_round(bag: Path) -> None:
    items = list(islice(read_ahead(bag, '/cam', repeat=True), 30))
    assert [elapsed for elapsed, _, _, _ in items] == [index * S for index in range(30)]
    assert [recorded for _, recorded, _, _ in items][12] == 5 * S


def test_only_a_few_messages_are_in_memory(bag: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    original = prefetch.read_topics

    def counted(path: Path, topic: str, others: object) -> object:
        for item in original(path, topic, others):
            read.append(item[1])
            yield item

    monkeypatch.setattr(prefetch, 'read_topics', counted)
    messages = read_ahead(bag, '/cam', repeat=True)
    for taken in range(1, 4):
        next(messages)
        most = taken + AHEAD + 1  # those in hand, and the one that waits for room
        wait_until(lambda most=most: len(read) >= most)
        assert len(read) == most
    messages.close()


def test_the_thread_ends_with_the_reader(bag: Path) -> None:
    # One of another test may end meanwhile, so they are not counted.
    before = set(threading.enumerate())
    messages = read_ahead(bag, '/cam', repeat=True)
    next(messages)
    assert set(threading.enumerate()) - before
    messages.close()
    wait_until(lambda: not set(threading.enumerate()) - before)


def test_a_damaged_recording_is_an_error_of_who_reads(tmp_path: Path) -> None:
    (tmp_path / 'broken.mcap').write_bytes(b'nothing')
    with pytest.raises(RecordingError, match='cannot be read'):
        list(read_ahead(tmp_path / 'broken.mcap', '/cam', repeat=False))


def test_a_topic_without_messages_does_not_repeat_for_ever(bag: Path) -> None:
    with pytest.raises(RecordingError, match='has no messages on /other'):
        next(read_ahead(bag, '/other', repeat=True))


def test_a_stamp_changes_and_nothing_else(bag: Path) -> None:
    message = next(read_ahead(bag, '/cam', repeat=False))[2]
    changed = with_stamp(message, 1_700_000_000_123_456_789)
    assert with_stamp(message, -1)[4:12] == b'\xff\xff\xff\xff\xff\xc9\x9a\x3b'
    assert stamp_ns(changed) == 1_700_000_000_123_456_789
    assert with_stamp(changed, stamp_ns(message)) == message


def test_a_stamp_that_cannot_be_stored(bag: Path) -> None:
    message = next(read_ahead(bag, '/cam', repeat=False))[2]
    with pytest.raises(RecordingError, match='a stamp of 2147483648 s cannot be stored'):
        with_stamp(message, 2**31 * S)
    for short in (b'', b'\0\1\0\0', message[:11]):
        with pytest.raises(RecordingError, match=f'a message of {len(short)} bytes has no header'):
            with_stamp(short, 0)
        with pytest.raises(RecordingError, match=f'a message of {len(short)} bytes has no stamp'):
            stamp_ns(short)


def test_time_goes_on_after_a_jump_of_the_clock(tmp_path: Path) -> None:
    with BagWriter(tmp_path / 'bag', topic='/cam') as writer:
        for seconds in (30, 31, 1_700_000_000, 1_700_000_001):
            writer.write(np.zeros((8, 8, 3), np.uint8), seconds * S)
    told: list[str] = []
    items = islice(read_ahead(tmp_path / 'bag', '/cam', repeat=True, on_jump=told.append), 12)
    assert [elapsed for elapsed, _, _, _ in items] == [index * S for index in range(12)]
    assert len(told) == 1 and '2023-11-14' in told[0]


def test_a_message_that_is_not_whole_costs_itself_only(tmp_path: Path) -> None:
    whole = [image('bgr8', stamp_ns=index) for index in range(3)]
    bag = record(tmp_path / 'bag', {'/cam': [whole[0], b'', b'\0\1\0\0', *whole[1:]]})
    items = [message for *_, message, _ in read_ahead(bag, '/cam', repeat=False)]
    assert items == [whole[0], b'', b'', *whole[1:]]
    bag = record(tmp_path / 'none', {'/cam': [b'', b'\0\1\0\0']})
    with pytest.raises(RecordingError, match='no messages on /cam but 2 that are not whole'):
        list(read_ahead(bag, '/cam', repeat=True))


@pytest.mark.parametrize(
    ('recorded', 'stamp', 'age'),
    [
        (100 * S, 100 * S - 40_000_000, 40_000_000),
        (100 * S, 101 * S, 0),  # from the future
        (1_700_000_000 * S, 5 * S, 0),  # a clock that begins with the machine
    ],
)
def test_age_when_recorded(recorded: int, stamp: int, age: int) -> None:
    assert recorded_age(recorded, stamp) == age
