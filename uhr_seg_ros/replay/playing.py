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

"""Play recordings to a node, each in its own process, and gather what comes out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
import logging
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import rclpy
from rclpy.signals import SignalHandlerOptions

from uhr_seg_ros.core.errors import ProcessError, RecordingError, UhrSegError
from uhr_seg_ros.core.interruption import signals_held, Terminated
from uhr_seg_ros.core.memory import tune_malloc
from uhr_seg_ros.replay.bags import ImageTopic
from uhr_seg_ros.replay.collector import NodeReport
from uhr_seg_ros.replay.environment import isolate, shared_memory_complaint
from uhr_seg_ros.replay.load import Load, LoadMeter
from uhr_seg_ros.replay.mask_collector import MaskCollector
from uhr_seg_ros.replay.player_process import Pacing, PlayerProcess
from uhr_seg_ros.replay.results import Replay

_LOG = logging.getLogger(__name__)

START_TIMEOUT_S = 120.0

# How long nothing may happen after the last frame was played.
SILENCE_TIMEOUT_S = 30.0

POLL_S = 0.05


class StartedNode(Protocol):
    """A node in a process of its own; as a context manager it is ended, too."""

    log: Path

    @property
    def pid(self) -> int:
        """Process id, valid until `stop`."""

    def is_running(self) -> bool:
        """Tell if the process has not ended."""

    def last_lines(self, count: int = 10) -> str:
        """Return the end of the log."""

    def stop(self) -> int:
        """End the node; return its exit code."""

    def __enter__(self) -> StartedNode: ...

    def __exit__(self, *error: object) -> None: ...


class Start(NamedTuple):
    """What there was before a replay."""

    masks: int
    report: NodeReport

    def since(self, report: NodeReport, counter: str) -> int:
        """Return what the node has counted since."""
        return report.count(counter) - self.report.count(counter)


AnyCollector = TypeVar('AnyCollector', bound=MaskCollector)


class PlayingSession(Generic[AnyCollector]):
    """
    A node in a process of its own, ready for recordings.

    What a node tells of itself, and when it is ready and done, is the matter of the subclasses.

    Args:
        folder: for the logs.
        collector: makes what takes its masks.
        node: starts it.
        on_mask: called with number and stamp, ns, of every mask; by default it is logged.

    Attributes:
        node: the process.
        interrupted: what a replay that a signal ended gave until then.

    Raises:
        ProcessError: the node failed.

    """

    def __init__(
        self,
        folder: Path,
        collector: Callable[[], AnyCollector],
        node: Callable[[], StartedNode],
        on_mask: Callable[[int, int], None] | None = None,
    ) -> None:
        self._folder = folder
        self._on_mask = on_mask or _log_mask
        self._noted = 0
        self.interrupted: Replay | None = None
        self._logged: set[str] = set()
        isolate()
        tune_malloc()
        if complaint := shared_memory_complaint(processes=3):
            _LOG.warning('warning: %s', complaint)
        with ExitStack() as stack:
            # Signals end the block that this is in; rclpy would shut down under its feet.
            rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
            stack.callback(rclpy.try_shutdown)
            with signals_held():  # what is made is ended, too
                self._collector = collector()
                stack.enter_context(self._collector)
            with signals_held():
                self.node = stack.enter_context(node())
            _LOG.info('starting the node')
            self._wait_until_ready()
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
        self._check_alive()
        start = Start(self._collector.count, self._report())
        with ExitStack() as stack:
            with signals_held():
                meter = LoadMeter(self.node.pid)
                stack.callback(meter.close)
                if pictures is not None:
                    stack.enter_context(self._picture_collector(pictures))
                player = stack.enter_context(self._player(bag, topic, pacing))
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
        self, player: PlayerProcess, meter: LoadMeter, start: Start, bag: Path | None = None
    ) -> Replay:
        """Join what the player noted and what came; with the recording when all of it has."""
        outcome = player.outcome()
        if bag is not None:
            self._check_alive()
        load = meter.stop(outcome['cpu_s'])
        played = [tuple(entry) for entry in outcome['played']]
        if bag is not None:
            self._log_once(bag, outcome['findings'])
            self._wait_until_settled(start, played)
        return self._replay(start, outcome, played, load)

    def close(self) -> int:
        """End the node; return its exit code."""
        code = self.node.stop()
        self._resources.close()
        return code

    def _player(self, bag: Path, topic: ImageTopic, pacing: Pacing) -> PlayerProcess:
        """Start the player of a recording."""
        return PlayerProcess(bag, topic, pacing, self._folder)

    def _report(self) -> NodeReport:
        """Return what the node said of itself last."""
        return NodeReport()

    def _wait_until_ready(self) -> None:
        """Wait until the node takes frames."""
        raise NotImplementedError

    def _wait_until_settled(self, start: Start, played: Sequence[tuple[int, ...]]) -> None:
        """Wait until nothing more comes of the frames that were played."""
        raise NotImplementedError

    def _replay(
        self,
        start: Start,
        outcome: dict[str, Any],
        played: list[tuple[int, int, int]],
        load: Load,
    ) -> Replay:
        """Return what a replay gave."""
        raise NotImplementedError

    def _picture_collector(self, folder: Path) -> MaskCollector:
        """Return what saves masks, and overlays where there are some, in a folder."""
        raise NotImplementedError

    def __enter__(self: AnySession) -> AnySession:
        return self

    def __exit__(self, *error: object) -> None:
        self._resources.close()

    def _log_once(self, bag: Path, findings: Sequence[str]) -> None:
        """Log what the player found odd, once, however often a recording is played."""
        for text in findings:
            if text not in self._logged:
                self._logged.add(text)
                _LOG.warning('%s: %s', bag.name, text)

    def _watch(self, player: PlayerProcess, start: Start, lockstep: bool) -> None:
        """Report every mask while the player runs, and let it go on in lock step."""
        answers = 0
        while player.is_running():
            self._check_alive()
            seen = self._note_new()
            if lockstep:
                report = self._report()
                lost = start.since(report, 'dropped') + start.since(report, 'rejected')
                count = seen - start.masks + lost
                player.answer(count - answers)
                answers = count
            self._collector.wait_for_mask(seen, POLL_S)

    def _note_new(self) -> int:
        """Report the masks that came since the last call; return how many came in all."""
        if self._collector.count > self._noted:
            for stamp, _ in self._collector.arrivals[self._noted :]:
                self._noted += 1
                self._on_mask(self._noted, stamp)
        return self._noted

    def _check_alive(self) -> None:
        if not self.node.is_running():
            msg = (
                f'the node has ended, its log {self.node.log} closes with:\n'
                f'{self.node.last_lines()}'
            )
            raise ProcessError(msg)


AnySession = TypeVar('AnySession', bound=PlayingSession[Any])


def _log_mask(number: int, stamp: int) -> None:
    _LOG.info('mask %d arrived, stamp %.3f s', number, stamp / 1e9)
