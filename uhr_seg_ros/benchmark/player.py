# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Play the images of a recording over DDS, in a process of its own: a stand-in for a camera."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import json
from pathlib import Path
import sys
import time

import rclpy
from rclpy.duration import Duration
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from uhr_seg_ros.benchmark.bags import (
    choose_topic,
    COMPRESSED_IMAGE,
    IMAGE,
    read_messages,
    stamp_ns,
)  # fmt: skip
from uhr_seg_ros.errors import UhrSegError
from uhr_seg_ros.ros.memory import keep_large_buffers

MESSAGE_TYPES = {IMAGE: Image, COMPRESSED_IMAGE: CompressedImage}

# As many as camera drivers keep; each 4K image takes 25 MB of shared memory.
_DEPTH = 2


class PlayerError(UhrSegError):
    """Nobody listens to what is played."""


class Player:
    """
    Publishes the messages of one topic, unchanged, and notes when.

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

    def play(self, rate_hz: float) -> list[tuple[int, int]]:
        """
        Publish every message once.

        Args:
            rate_hz: messages per second; 0 keeps the times of the recording.

        Returns:
            Per message its header stamp and when it was published (`time.monotonic_ns`), ns.

        """
        played: list[tuple[int, int]] = []
        start = time.monotonic()
        first_ns: int | None = None
        for index, (time_ns, message) in enumerate(read_messages(self._bag, self._recorded.name)):
            first_ns = time_ns if first_ns is None else first_ns
            due = index / rate_hz if rate_hz else (time_ns - first_ns) / 1e9
            time.sleep(max(0.0, start + due - time.monotonic()))
            played.append((stamp_ns(message), time.monotonic_ns()))
            self._publisher.publish(message)
        self._publisher.wait_for_all_acked(Duration(seconds=10))
        return played


def main(arguments: Sequence[str] | None = None) -> int:
    """Play a recording; the exit code is 0 if every message was published."""
    options = _parser().parse_args(arguments)
    keep_large_buffers()
    rclpy.init()
    try:
        player = Player(options.bag, options.recorded_topic, options.topic)
        player.wait_for_subscriber(options.wait)
        played = player.play(options.rate)
        if options.log:
            options.log.write_text(json.dumps(played), encoding='utf-8')
    except UhrSegError as err:
        print(f'error: {err}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        rclpy.try_shutdown()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('bag', type=Path)
    parser.add_argument('--recorded-topic', default='', help='topic in the bag')
    parser.add_argument('--topic', default='image_raw', help='topic to publish')
    parser.add_argument('--rate', type=float, default=0.0, help='Hz; 0: as recorded')
    parser.add_argument('--wait', type=float, default=60.0, help='for a subscriber, s')
    parser.add_argument('--log', type=Path, help='JSON file for stamps and times of publication')
    return parser


if __name__ == '__main__':
    sys.exit(main())
