# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Play a recording to the node, each in its own process, and gather what comes out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
import json
from pathlib import Path
import signal
import subprocess
import sys
import time

import rclpy

from uhr_seg_ros.benchmark.bags import choose_topic, COMPRESSED_IMAGE
from uhr_seg_ros.benchmark.collector import Collector, NodeReport
from uhr_seg_ros.benchmark.environment import isolate, shared_memory_complaint
from uhr_seg_ros.benchmark.node_process import NodeProcess
from uhr_seg_ros.errors import UhrSegError
from uhr_seg_ros.ros.memory import keep_large_buffers

START_TIMEOUT_S = 120.0

# How long nothing may happen after the last frame was played.
SILENCE_TIMEOUT_S = 30.0

_POLL_S = 0.05


class ReplayError(UhrSegError):
    """The node or the player has failed; the text holds what it printed last."""


@dataclass(frozen=True)
class Replay:
    """
    What a replay gave.

    Attributes:
        played: stamps and times of publication, ns.
        arrivals: stamps of the masks and times of arrival, ns.
        report: the node's last diagnostics.
        exit_code: how the node ended.

    """

    played: list[tuple[int, int]]
    arrivals: list[tuple[int, int]]
    report: NodeReport
    exit_code: int

    @property
    def latencies_ms(self) -> list[float]:
        """From publication of the frame to arrival of its mask, matched by unique stamps."""
        repeats = Counter(stamp for stamp, _ in self.played)
        published = {stamp: when for stamp, when in self.played if repeats[stamp] == 1}
        return [
            (arrival - published[stamp]) / 1e6
            for stamp, arrival in self.arrivals
            if stamp in published
        ]


def replay(
    bag: Path,
    parameters: Mapping[str, object],
    folder: Path,
    *,
    rate_hz: float = 0.0,
    topic: str = '',
    save: bool = True,
    tell: Callable[[str], None] = print,
) -> Replay:
    """
    Start the node, play a recording to it over DDS, wait for the last mask, end the node.

    Args:
        bag: recording; frames whose stamps repeat have no latency, and one file for all.
        parameters: of the node.
        folder: for the node's log and, with `save`, for masks and overlays.
        rate_hz: frames per second; 0 as recorded.
        topic: image topic of the recording; empty: the one with the most images.
        save: whether to write masks and overlays.
        tell: called with progress.

    Raises:
        ReplayError: the node or the player failed.

    """
    transport = 'compressed' if choose_topic(bag, topic).type == COMPRESSED_IMAGE else 'raw'
    isolate()
    keep_large_buffers()
    if complaint := shared_memory_complaint(processes=3):
        tell(f'warning: {complaint}')
    log = folder / 'played.json'
    player_options = ['--rate', str(rate_hz), '--recorded-topic', topic, '--log', str(log)]
    rclpy.init()
    try:
        with Collector(output=folder if save else None) as collector:
            with NodeProcess({**parameters, 'image_transport': transport}, folder) as node:
                tell('starting the node')
                _wait_until_active(node, collector)
                with _player(bag, player_options, folder / 'player.log') as player:
                    _watch(node, collector, player, tell)
                played = [tuple(entry) for entry in json.loads(log.read_text(encoding='utf-8'))]
                _wait_until_settled(node, collector, tell)
                report, arrivals = collector.report, collector.arrivals
                exit_code = node.stop()
    finally:
        rclpy.try_shutdown()
    return Replay(played, arrivals, report, exit_code)


@contextmanager
def _player(bag: Path, options: list[str], log: Path) -> Iterator[subprocess.Popen]:
    command = [sys.executable, '-m', 'uhr_seg_ros.benchmark.player', str(bag), *options]
    with log.open('wb') as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        yield process
        if process.wait():
            text = log.read_text(encoding='utf-8', errors='replace').strip()
            msg = f'the player ended with code {process.returncode}: {text}'
            raise ReplayError(msg)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(10)


def _wait_until_active(node: NodeProcess, collector: Collector) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while collector.report.value('state') != 'active':
        _check_alive(node)
        if collector.report.is_error:
            msg = f'the node reports an error: {collector.report.message}'
            raise ReplayError(msg)
        if time.monotonic() > deadline:
            msg = f'the node was not ready within {START_TIMEOUT_S:.0f} s:\n{node.last_lines()}'
            raise ReplayError(msg)
        time.sleep(_POLL_S)


def _watch(
    node: NodeProcess,
    collector: Collector,
    player: subprocess.Popen,
    tell: Callable[[str], None],
) -> None:
    """Tell of every mask while the player runs."""
    seen = 0
    while player.poll() is None:
        _check_alive(node)
        seen = _tell_new(collector, seen, tell)
        time.sleep(_POLL_S)


def _wait_until_settled(
    node: NodeProcess, collector: Collector, tell: Callable[[str], None]
) -> None:
    """Wait for two reports without a frame in work, after the last mask that they count."""
    seen = len(collector.arrivals)
    first_report = collector.report.number
    last_change = time.monotonic()
    while time.monotonic() < last_change + SILENCE_TIMEOUT_S:
        _check_alive(node)
        if (now_seen := _tell_new(collector, seen, tell)) > seen:
            seen, last_change = now_seen, time.monotonic()
        report = collector.report
        is_done = not report.count('pending') and seen >= report.count('processed')
        if is_done and report.number >= first_report + 2:
            return
        time.sleep(_POLL_S)
    tell(f'warning: waited {SILENCE_TIMEOUT_S:.0f} s in vain for masks that the node counts')


def _tell_new(collector: Collector, seen: int, tell: Callable[[str], None]) -> int:
    arrivals = collector.arrivals
    for number, (stamp, _) in enumerate(arrivals[seen:], seen + 1):
        tell(f'mask {number} arrived, stamp {stamp / 1e9:.3f} s')
    return len(arrivals)


def _check_alive(node: NodeProcess) -> None:
    if not node.is_running():
        msg = f'the node has ended, its log {node.log} closes with:\n{node.last_lines()}'
        raise ReplayError(msg)
