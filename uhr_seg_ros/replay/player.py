# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Play the images of a recording over DDS, in a process of its own: a stand-in for a camera."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import islice
import json
import os
from pathlib import Path
import sys
from threading import Thread
import time

import rclpy
from rclpy.duration import Duration
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from uhr_seg_ros.errors import UhrSegError
from uhr_seg_ros.replay.bags import choose_topic, COMPRESSED_IMAGE, IMAGE, stamp_ns
from uhr_seg_ros.replay.pacing import AsAnswered, AsRecorded, AtRate, Pace
from uhr_seg_ros.replay.reading import read_ahead, with_stamp
from uhr_seg_ros.ros.memory import keep_large_buffers

MESSAGE_TYPES = {IMAGE: Image, COMPRESSED_IMAGE: CompressedImage}

# As many as camera drivers keep; each 4K image takes 25 MB of shared memory.
_DEPTH = 2

# A frame that is older than this when it was recorded has a stamp of another clock.
_OLDEST_NS = 10_000_000_000


class PlayerError(UhrSegError):
    """Nobody listens to what is played."""


class Player:
    """
    Publishes the messages of one topic and notes when.

    Args:
        bag: the recording.
        recorded_topic: which of its topics; empty: the one with the most images.
        topic: where to publish; compressed images go to `<topic>/compressed`.

    """

    def __init__(self, bag: Path, recorded_topic: str, topic: str) -> None:
        self._bag = bag
        self._recorded = choose_topic(bag, recorded_topic)
        if self._recorded.type == COMPRESSED_IMAGE:
            topic = f'{topic}/compressed'
        self._node = rclpy.create_node('bag_player')
        self._publisher: Publisher = self._node.create_publisher(
            MESSAGE_TYPES[self._recorded.type],
            topic,
            QoSProfile(depth=_DEPTH, reliability=ReliabilityPolicy.RELIABLE),
        )

    def wait_for_subscriber(self, timeout_s: float) -> None:
        """
        Wait until somebody subscribes.

        Raises:
            PlayerError: nobody did in time.

        """
        deadline = time.monotonic() + timeout_s
        while not self._publisher.get_subscription_count():
            if time.monotonic() > deadline:
                msg = f'nobody subscribed to {self._publisher.topic_name} within {timeout_s:.0f} s'
                raise PlayerError(msg)
            time.sleep(0.05)

    def play(
        self, pace: Pace, duration_s: float, *, live: bool, every: int = 1
    ) -> list[tuple[int, int, int]]:
        """
        Publish the recording.

        Args:
            pace: when the next message is due.
            duration_s: how long, repeating the recording as often as that takes; 0: once.
            live: give every message a stamp of now, less the age that it had when it was
                recorded; else it stays as it is.
            every: publish only every n-th message.

        Returns:
            Per message its stamp, when it was published (`time.monotonic_ns`), and how long
            before that it was stamped, ns; 0 where stamps are those of the recording.

        """
        played: list[tuple[int, int, int]] = []
        start = time.monotonic()
        messages = read_ahead(self._bag, self._recorded.name, repeat=duration_s > 0)
        messages = islice(messages, 0, None, every)
        for index, (elapsed_ns, recorded_ns, message) in enumerate(messages):
            pace.wait(index, elapsed_ns)
            if duration_s and time.monotonic() - start >= duration_s:
                break
            age = 0
            if live:
                age = recorded_age(recorded_ns, stamp_ns(message))
                last = played[-1][0] if played else 0
                message = with_stamp(message, max(time.time_ns() - age, last + 1))
            played.append((stamp_ns(message), time.monotonic_ns(), age))
            self._publisher.publish(message)
        self._publisher.wait_for_all_acked(Duration(seconds=10))
        return played


def recorded_age(recorded_ns: int, stamp: int) -> int:
    """Give the age of a frame when it was recorded, ns; 0 if its stamp is of another clock."""
    age = recorded_ns - stamp
    return age if 0 <= age <= _OLDEST_NS else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Play a recording; the exit code is 0 if every message was published."""
    options = _parser().parse_args(arguments)
    keep_large_buffers()
    rclpy.init()
    try:
        player = Player(options.bag, options.recorded_topic, options.topic)
        player.wait_for_subscriber(options.wait)
        before = time.process_time()
        played = player.play(_pace(options), options.duration, live=options.live,
                             every=options.every)  # fmt: skip
        if options.log:
            outcome = {'played': played, 'cpu_s': time.process_time() - before}
            options.log.write_text(json.dumps(outcome), encoding='utf-8')
    except UhrSegError as err:
        print(f'error: {err}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        rclpy.try_shutdown()
    return 0


def _pace(options: argparse.Namespace) -> Pace:
    if not options.as_answered:
        return AtRate(options.rate) if options.rate else AsRecorded()
    pace = AsAnswered()
    Thread(target=_count_answers, args=(pace,), daemon=True).start()
    return pace


def _count_answers(pace: AsAnswered) -> None:
    """Take a byte of the input for an answer."""
    # Not through sys.stdin, whose lock a thread that reads would hold when the process ends.
    while os.read(0, 1):
        pace.answered()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('bag', type=Path)
    parser.add_argument('--recorded-topic', default='', help='topic in the bag')
    parser.add_argument('--topic', default='image_raw', help='topic to publish')
    parser.add_argument('--rate', type=float, default=0.0, help='Hz; 0: as recorded')
    parser.add_argument(
        '--as-answered', action='store_true', help='a frame per byte of the input, after the first'
    )
    parser.add_argument('--duration', type=float, default=0.0, help='s; 0: the recording, once')
    parser.add_argument('--every', type=int, default=1, help='play only every n-th frame')
    parser.add_argument('--live', action='store_true', help='stamps of now')
    parser.add_argument('--wait', type=float, default=60.0, help='for a subscriber, s')
    parser.add_argument('--log', type=Path, help='JSON file for stamps, times and CPU time')
    return parser


if __name__ == '__main__':
    sys.exit(main())
