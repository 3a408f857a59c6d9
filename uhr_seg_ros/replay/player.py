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

"""Play the images of a recording over DDS, in a process of its own: a stand-in for a camera."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
import json
import logging
import os
from pathlib import Path
import sys
from threading import Thread
import time

import rclpy
from rclpy.duration import Duration
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from uhr_seg_ros.core.atomic_io import write_text
from uhr_seg_ros.core.errors import ProcessError, UhrSegError
from uhr_seg_ros.core.interruption import (
    END_EARLY,
    exit_code,
    signals_end_the_block,
    Terminated,
)
from uhr_seg_ros.core.memory import tune_malloc
from uhr_seg_ros.core.program import terminal_logging
from uhr_seg_ros.replay.bags import (
    as_compressed_image,
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    IMAGE,
    IMAGE_TYPES,
    ImageTopic,
    POINT_CLOUD,
    read_topics,
    stamp_ns,
    topic_types,
)
from uhr_seg_ros.replay.pacing import AsRecorded, AtRate, Lockstep, Pace, SIGNALS_S
from uhr_seg_ros.replay.prefetch import read_ahead, with_stamp
from uhr_seg_ros.replay.topic_pictures import packets_behind
from uhr_seg_ros.replay.topic_probe import is_whole
from uhr_seg_ros.replay.topics import choose_topic

_LOG = logging.getLogger(__name__)

MESSAGE_TYPES = {
    IMAGE: Image,
    COMPRESSED_IMAGE: CompressedImage,
    CAMERA_INFO: CameraInfo,
    POINT_CLOUD: PointCloud2,
}

# As many as camera drivers keep; each 4K image takes 25 MB of shared memory.
_DEPTH = 2

# A frame that is older than this when it was recorded has a stamp of another clock.
_OLDEST_NS = 10_000_000_000

# So much later than recorded, and this share of the time, the last frame is without a remark.
_LATE_S, _LATE = 2.0, 0.1

# How long the last messages may be under way.
_ACKNOWLEDGED_S = 10.0


class Player:
    """
    Publishes the images of one topic and notes when, and what was recorded beside them.

    Args:
        bag: the recording.
        recorded: which of its topics.
        topic: where to publish; compressed images and packets of streams, each as a
            CompressedImage, go to `<topic>/compressed`.
        extra_topics: its topics of calibrations and clouds, published under their own names.
        calibration: a topic of calibrations in it, and where to publish the first one of them
            with every image, under the stamp of that; None: nowhere.

    Attributes:
        extra_counts: how many messages of these were published.
        skipped: messages that were not published, because they are not whole.
        findings: what is odd about the recording.

    Raises:
        RecordingError: no such recording, or a damaged one.
        ProcessError: one of the topics beside them is not there, or of another type.

    """

    def __init__(
        self,
        bag: Path,
        recorded: ImageTopic,
        topic: str,
        extra_topics: Sequence[str] = (),
        calibration: tuple[str, str] | None = None,
    ) -> None:
        self._bag = bag
        self._recorded = recorded
        published = IMAGE if recorded.type == IMAGE else COMPRESSED_IMAGE
        if published != IMAGE:
            topic = f'{topic}/compressed'
        self._node = rclpy.create_node('bag_player')
        self._publisher = self._publish_on(topic, published)
        self._types = {name: _type_of(bag, name) for name in extra_topics}
        self._others = {name: self._publish_on(name, kind) for name, kind in self._types.items()}
        self._types[recorded.name] = recorded.type
        self._calibration = _first_calibration(bag, calibration[0]) if calibration else b''
        self._calibrations = self._publish_on(calibration[1], CAMERA_INFO) if calibration else None
        self.extra_counts = Counter(dict.fromkeys(extra_topics, 0))
        self.skipped = 0
        self.findings: list[str] = []
        self._is_apart = False

    def _publish_on(self, topic: str, kind: str) -> Publisher:
        profile = QoSProfile(depth=_DEPTH, reliability=ReliabilityPolicy.RELIABLE)
        return self._node.create_publisher(MESSAGE_TYPES[kind], topic, profile)

    def wait_for_subscriber(self, timeout_s: float) -> None:
        """
        Wait until somebody subscribes to each topic.

        Raises:
            ProcessError: nobody did in time.

        """
        deadline = time.monotonic() + timeout_s
        for publisher in (self._publisher, *self._others.values()):
            while not publisher.get_subscription_count():
                if time.monotonic() > deadline:
                    msg = f'nobody subscribed to {publisher.topic_name} within {timeout_s:.0f} s'
                    raise ProcessError(msg)
                time.sleep(0.05)

    def play(
        self, pace: Pace, duration_s: float, *, live: bool, every: int = 1
    ) -> list[tuple[int, int, int]]:
        """
        Publish the recording; what lies beside the images comes between them, without a pace.

        SIGINT and `END_EARLY` end it early, as if the recording ended there.

        Args:
            pace: when the next message is due.
            duration_s: how long, repeating the recording as often as that takes; 0: once.
            live: give every image a stamp of now, less the age that it had when it was
                recorded; else it stays as it is.
            every: publish only every n-th image.

        Returns:
            Per image its stamp, when it was published (`time.monotonic_ns`), and how long
            before that it was stamped, ns; 0 where stamps are those of the recording.

        """
        played: list[tuple[int, int, int]] = []
        with suppress(KeyboardInterrupt):  # what was played until then counts
            self._publish_all(played, pace, duration_s, live, every)
        for publisher in (self._publisher, *self._others.values()):
            _wait_until_acknowledged(publisher)
        return played

    def _publish_all(
        self,
        played: list[tuple[int, int, int]],
        pace: Pace,
        duration_s: float,
        live: bool,
        every: int,
    ) -> None:
        start = None
        images = 0
        for elapsed_ns, recorded_ns, message, topic in read_ahead(
            self._bag,
            self._recorded.name,
            repeat=duration_s > 0,
            extra_topics=self._others,
            is_whole=self._is_whole,
            on_jump=self._note,
        ):
            if not message:
                self.skipped += 1
                continue
            if topic in self._others:
                self._others[topic].publish(message)
                self.extra_counts[topic] += 1
                continue
            start = start or time.monotonic()
            images += 1
            if (images - 1) % every:
                continue
            message = as_compressed_image(message, self._recorded.type)
            pace.wait(len(played), elapsed_ns)
            if duration_s and time.monotonic() - start >= duration_s:
                break
            age = 0
            if live:
                age = self._age(recorded_ns, stamp_ns(message))
                last = played[-1][0] if played else 0
                message = with_stamp(message, max(time.time_ns() - age, last + 1))
            if self._calibrations is not None:
                stamped = with_stamp(self._calibration, stamp_ns(message))
                self._calibrations.publish(stamped)
            played.append((stamp_ns(message), time.monotonic_ns(), age))
            self._publisher.publish(message)
        if start is not None:
            self._note_delay(pace.late_s, time.monotonic() - start)

    def _note_delay(self, late_s: float, seconds: float) -> None:
        if late_s > max(_LATE_S, _LATE * seconds):
            recorded_s = max(seconds - late_s, 0.0)
            self._note(
                f'what was recorded in {recorded_s:.1f} s took {seconds:.1f} s to read, decode '
                'and send: the node got fewer frames per second than the camera gave; leave some '
                'out with --every, or measure where fewer cores are busy'
            )

    def _is_whole(self, topic: str, message: bytes) -> bool:
        return is_whole(message, self._types[topic])

    def _age(self, recorded_ns: int, stamp: int) -> int:
        if not self._is_apart and abs(recorded_ns - stamp) > _OLDEST_NS:
            self._is_apart = True
            self._note(
                f'stamps are {abs(recorded_ns - stamp) / 1e9:.0f} s away from the times of '
                'recording, by another clock: frames count as recorded when stamped'
            )
        return recorded_age(recorded_ns, stamp)

    def _note(self, text: str) -> None:
        self.findings.append(text)
        _LOG.warning(text)


def _wait_until_acknowledged(publisher: Publisher) -> None:
    deadline = time.monotonic() + _ACKNOWLEDGED_S
    while time.monotonic() < deadline:
        if publisher.wait_for_all_acked(Duration(seconds=SIGNALS_S)):
            return


def _first_calibration(bag: Path, topic: str) -> bytes:
    """Return the first whole calibration of a recording, in CDR."""
    for _, _, message in read_topics(bag, '', (topic,)):
        if is_whole(message, CAMERA_INFO):
            return message
    msg = f'{bag} has no whole {CAMERA_INFO} on {topic}'
    raise ProcessError(msg)


def _type_of(bag: Path, topic: str) -> str:
    types = topic_types(bag)
    if types.get(topic) not in MESSAGE_TYPES:
        msg = (
            f'{bag} has {types.get(topic, "nothing")} on {topic}: what is played beside the '
            f'images is one of {", ".join(MESSAGE_TYPES)}'
        )
        raise ProcessError(msg)
    return types[topic]


def recorded_age(recorded_ns: int, stamp: int) -> int:
    """Return the age of a frame when it was recorded, ns; 0 if its stamp is of another clock."""
    age = recorded_ns - stamp
    return age if 0 <= age <= _OLDEST_NS else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Play a recording; the exit code is 0 if every message was published."""
    try:
        with signals_end_the_block(END_EARLY), terminal_logging():
            return _main(arguments)
    except (KeyboardInterrupt, Terminated) as err:
        return exit_code(err)


def _main(arguments: Sequence[str] | None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.live and options.extra_topics:
        parser.error('--extra-topic keeps the stamps of the recording, so it is not for --live')
    tune_malloc()
    # With its own handlers it would shut down in the middle of a call, which then fails.
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        recorded = ImageTopic(options.recorded_topic, options.recorded_type, 0)
        if not options.recorded_type:
            recorded = choose_topic(options.bag, options.recorded_topic)
        player = Player(
            options.bag, recorded, options.topic, options.extra_topics, options.calibration
        )
        player.wait_for_subscriber(options.wait)
        before = time.process_time()
        played = player.play(
            _pace(options, recorded), options.duration, live=options.live, every=options.every
        )
        if options.log:
            cpu_s = time.process_time() - before
            outcome = {
                'played': played,
                'extra_counts': player.extra_counts,
                'skipped': player.skipped,
                'findings': player.findings,
                'cpu_s': cpu_s,
            }
            write_text(options.log, json.dumps(outcome))
    except UhrSegError as err:
        print(f'error: {err}', file=sys.stderr)
        return 1
    finally:
        rclpy.try_shutdown()
    return 0


def _pace(options: argparse.Namespace, recorded: ImageTopic) -> Pace:
    if not options.lockstep:
        return AtRate(options.rate) if options.rate else AsRecorded()
    pace = Lockstep(behind=packets_behind(options.bag, recorded))
    Thread(target=_count_answers, args=(pace,), daemon=True).start()
    return pace


def _count_answers(pace: Lockstep) -> None:
    """Count every byte of the input as an answer."""
    # Not through sys.stdin, whose lock a thread that reads would hold when the process ends.
    while os.read(0, 1):
        pace.answered()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('bag', type=Path)
    parser.add_argument('--recorded-topic', default='', help='topic in the bag')
    parser.add_argument(
        '--recorded-type',
        choices=IMAGE_TYPES,
        help='of it, where that and its name are known already',
    )
    parser.add_argument('--topic', default='image_raw', help='topic to publish')
    parser.add_argument(
        '--extra-topic',
        dest='extra_topics',
        action='append',
        default=[],
        metavar='TOPIC',
        help='play the calibrations or clouds of this topic too; may be repeated',
    )
    parser.add_argument(
        '--calibration',
        nargs=2,
        metavar=('RECORDED', 'TOPIC'),
        help='publish the first calibration of a topic in the bag with every image',
    )
    parser.add_argument('--rate', type=float, default=0.0, help='Hz; 0: as recorded')
    parser.add_argument(
        '--lockstep', action='store_true', help='a frame per byte of the input, after the first'
    )
    parser.add_argument('--duration', type=float, default=0.0, help='s; 0: the recording, once')
    parser.add_argument('--every', type=int, default=1, help='play only every n-th frame')
    parser.add_argument('--live', action='store_true', help='stamps of now')
    parser.add_argument('--wait', type=float, default=60.0, help='for a subscriber, s')
    parser.add_argument('--log', type=Path, help='JSON file for stamps, times and CPU time')
    return parser


if __name__ == '__main__':
    sys.exit(main())
