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

"""Play recordings to the node, each in its own process, and gather what comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
import logging
from pathlib import Path
import time
from typing import Any, NamedTuple

import rclpy
from rclpy.signals import SignalHandlerOptions

from uhr_seg_ros.core.errors import ProcessError, RecordingError, UhrSegError
from uhr_seg_ros.core.interruption import signals_held, Terminated
from uhr_seg_ros.core.memory import tune_malloc
from uhr_seg_ros.replay.bags import IMAGE, ImageTopic
from uhr_seg_ros.replay.collector import Collector, NodeReport
from uhr_seg_ros.replay.environment import isolate, shared_memory_complaint
from uhr_seg_ros.replay.load import LoadMeter
from uhr_seg_ros.replay.node_process import NodeProcess
from uhr_seg_ros.replay.player_process import Pacing, PlayerProcess
from uhr_seg_ros.replay.results import COUNTERS, Replay
from uhr_seg_ros.replay.topics import choose_topic

_LOG = logging.getLogger(__name__)

START_TIMEOUT_S = 120.0

# How long nothing may happen after the last frame was played.
SILENCE_TIMEOUT_S = 30.0

_POLL_S = 0.05


class Session:
    """
    The node in a process of its own, ready for recordings.

    Example:
        >>> topic = choose_topic(bag)
        >>> transport = transport_of(topic)
        >>> with Session({'bundle': 'hlrc_s_aerial'}, folder, transport=transport) as session:
        ...     replay = session.play(bag, Pacing(rate_hz=2.0), topic)

    Args:
        parameters: of the node.
        folder: for the node's log and, with `save`, for masks and overlays.
        transport: `raw` or `compressed`; see `transport_of`.
        save: whether to write masks and overlays.
        clouds: with `save`, whether to write labeled clouds too.
        on_mask: called with number and stamp, ns, of every mask; by default it is logged.

    Attributes:
        node: the process.
        client: its services.

    Raises:
        ProcessError: the node failed.

    """

    def __init__(
        self,
        parameters: Mapping[str, object],
        folder: Path,
        *,
        transport: str,
        save: bool = False,
        clouds: bool = False,
        on_mask: Callable[[int, int], None] | None = None,
    ) -> None:
        self._folder = folder
        self._on_mask = on_mask or _log_mask
        self._noted = 0
        self.interrupted: Replay | None = None
        self._logged: set[str] = set()
        self._transport = transport
        isolate()
        tune_malloc()
        if complaint := shared_memory_complaint(processes=3):
            _LOG.warning('warning: %s', complaint)
        with ExitStack() as stack:
            # Signals end the block that this is in; rclpy would shut down under its feet.
            rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
            stack.callback(rclpy.try_shutdown)
            with signals_held():  # what is made is ended, too
                collector = Collector(output=folder if save else None, clouds=clouds)
                self._collector = stack.enter_context(collector)
            self.client = self._collector.client
            node_parameters = {**parameters, 'image_transport': transport}
            with signals_held():
                self.node = stack.enter_context(NodeProcess(node_parameters, folder))
            _LOG.info('starting the node')
            _wait_until_active(self.node, self._collector)
            self._resources = stack.pop_all()

    def play(
        self, bag: Path, pacing: Pacing, topic: ImageTopic, pictures: Path | None = None
    ) -> Replay:
        """
        Play a recording over DDS and wait for the last mask.

        Args:
            bag: recording; frames whose stamps repeat have no latency, and one file for all.
            pacing: when which frame goes.
            topic: image topic of the recording; see `choose_topic`.
            pictures: folder for masks and overlays of this replay, which costs the node work.

        Raises:
            ProcessError: the node or the player failed.
            RecordingError: frames of a stream are to be left out.

        """
        if pacing.every > 1 and topic.codec:
            msg = (
                f'{topic.name} is a stream, whose pictures need each other: it is played whole; '
                'leave out --every, and let --rate or max_rate_hz spare the node'
            )
            raise RecordingError(msg)
        start = _Start(self._collector.count, self._collector.report)
        with ExitStack() as stack:
            with signals_held():
                meter = LoadMeter(self.node.pid)
                stack.callback(meter.close)
                if pictures is not None:
                    stack.enter_context(Collector(output=pictures, name='picture_collector'))
                player = stack.enter_context(PlayerProcess(bag, topic, pacing, self._folder))
            try:
                self._watch(player, start, pacing.lockstep)
            except (KeyboardInterrupt, Terminated):
                # The node may be ending, too: nothing more is waited for.
                player.interrupt()
                with suppress(UhrSegError, OSError):
                    self.interrupted = self._gather(player, meter, start)
                raise
            replay = self._gather(player, meter, start, bag)
        return replay

    def _gather(
        self, player: PlayerProcess, meter: LoadMeter, start: _Start, bag: Path | None = None
    ) -> Replay:
        """Join what the player noted and what came; with the recording when all of it has."""
        outcome = player.outcome()
        load = meter.stop(outcome['cpu_s'])
        if bag is not None:
            self._log_once(bag, outcome['findings'])
            self._wait_until_settled(start)
        report = self._collector.report
        return Replay(
            [tuple(entry) for entry in outcome['played']],
            self._collector.arrivals[start.masks :],
            report,
            {key: start.since(report, key) for key in COUNTERS},
            self._collector.take_stages(),
            load,
            outcome['extra_counts'],
            outcome['skipped'],
        )

    def describe(self) -> dict[str, Any]:
        """Return the node's `parameters` and last `diagnostics`, and `dds`: see `describe_dds`."""
        return {
            'parameters': self.client.parameters(),
            'dds': self._collector.describe_dds(self._transport),
            'diagnostics': dict(self._collector.report.values or {}),
        }

    @property
    def unsaved(self) -> tuple[str, ...]:
        """Why files could not be written, a line for each; complete after `close`."""
        return tuple(self._collector.unsaved)

    def close(self) -> int:
        """End the node; return its exit code."""
        code = self.node.stop()
        self._resources.close()
        return code

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: object) -> None:
        self._resources.close()

    def _log_once(self, bag: Path, findings: Sequence[str]) -> None:
        """Log what the player found odd, once, however often a recording is played."""
        for text in findings:
            if text not in self._logged:
                self._logged.add(text)
                _LOG.warning('%s: %s', bag.name, text)

    def _watch(self, player: PlayerProcess, start: _Start, lockstep: bool) -> None:
        """Report every mask while the player runs, and let it go on in lock step."""
        answers = 0
        while player.is_running():
            _check_alive(self.node)
            seen = self._note_new()
            if lockstep:
                report = self._collector.report
                lost = start.since(report, 'dropped') + start.since(report, 'rejected')
                count = seen - start.masks + lost
                player.answer(count - answers)
                answers = count
            self._collector.wait_for_mask(seen, _POLL_S)

    def _wait_until_settled(self, start: _Start) -> None:
        """Wait for two reports without a frame in work, after the last mask that they count."""
        seen, first_report = self._noted, self._collector.report.number
        last_change = time.monotonic()
        while time.monotonic() < last_change + SILENCE_TIMEOUT_S:
            _check_alive(self.node)
            if (now_seen := self._note_new()) > seen:
                seen, last_change = now_seen, time.monotonic()
            report = self._collector.report
            answered = seen - start.masks >= start.since(report, 'processed')
            if answered and not report.count('pending') and report.number >= first_report + 2:
                return
            time.sleep(_POLL_S)
        _LOG.warning(
            'warning: waited %.0f s in vain for masks that the node counts', SILENCE_TIMEOUT_S
        )

    def _note_new(self) -> int:
        """Report the masks that came since the last call; return how many came in all."""
        if self._collector.count > self._noted:
            for stamp, _ in self._collector.arrivals[self._noted :]:
                self._noted += 1
                self._on_mask(self._noted, stamp)
        return self._noted


def _log_mask(number: int, stamp: int) -> None:
    _LOG.info('mask %d arrived, stamp %.3f s', number, stamp / 1e9)


class _Start(NamedTuple):
    """What there was before a replay."""

    masks: int
    report: NodeReport

    def since(self, report: NodeReport, counter: str) -> int:
        return report.count(counter) - self.report.count(counter)


def replay(
    bag: Path,
    parameters: Mapping[str, object],
    folder: Path,
    *,
    rate_hz: float = 0.0,
    every: int = 1,
    topic: ImageTopic | None = None,
    save: bool = True,
    extra_topics: tuple[str, ...] = (),
    clouds: bool = False,
    on_mask: Callable[[int, int], None] | None = None,
) -> tuple[Replay, int]:
    """
    Start the node, play a recording to it once, end the node; see `Session` and `Pacing`.

    Without a topic the likeliest is chosen, and logged; see `choose_topic`.

    Returns:
        What came, and the exit code of the node.

    """
    topic = topic or choose_topic(bag)
    with Session(
        parameters,
        folder,
        transport=transport_of(topic),
        save=save,
        clouds=clouds,
        on_mask=on_mask,
    ) as session:
        pacing = Pacing(rate_hz=rate_hz, every=every, extra_topics=extra_topics)
        result = session.play(bag, pacing, topic)
        code = session.close()
        return replace(result, unsaved=session.unsaved), code


def transport_of(topic: ImageTopic) -> str:
    """Return the `image_transport` that fits a topic of a recording."""
    return 'raw' if topic.type == IMAGE else 'compressed'


def _wait_until_active(node: NodeProcess, collector: Collector) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while collector.report.value('state') != 'active':
        _check_alive(node)
        if collector.report.is_error:
            msg = f'the node reports an error: {collector.report.message}'
            raise ProcessError(msg)
        if time.monotonic() > deadline:
            msg = f'the node was not ready within {START_TIMEOUT_S:.0f} s:\n{node.last_lines()}'
            raise ProcessError(msg)
        time.sleep(_POLL_S)


def _check_alive(node: NodeProcess) -> None:
    if not node.is_running():
        msg = f'the node has ended, its log {node.log} closes with:\n{node.last_lines()}'
        raise ProcessError(msg)
