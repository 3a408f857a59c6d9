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

"""Our own node, played recordings, and what it tells of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
import logging
from pathlib import Path
import time
from typing import Any

from uhr_seg_ros.core.errors import ProcessError
from uhr_seg_ros.replay.bags import IMAGE, ImageTopic
from uhr_seg_ros.replay.collector import Collector, NodeReport
from uhr_seg_ros.replay.load import Load
from uhr_seg_ros.replay.node_process import NodeProcess
from uhr_seg_ros.replay.player_process import Pacing
from uhr_seg_ros.replay.playing import (
    PlayingSession,
    POLL_S,
    SILENCE_TIMEOUT_S,
    Start,
    START_TIMEOUT_S,
)
from uhr_seg_ros.replay.results import COUNTERS, Replay
from uhr_seg_ros.replay.topics import choose_topic

_LOG = logging.getLogger(__name__)


class Session(PlayingSession[Collector]):
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
        self._transport = transport
        node_parameters = {**parameters, 'image_transport': transport}
        super().__init__(
            folder,
            lambda: Collector(output=folder if save else None, clouds=clouds),
            lambda: NodeProcess(node_parameters, folder),
            on_mask,
        )
        self.client = self._collector.client

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

    def _report(self) -> NodeReport:
        return self._collector.report

    def _picture_collector(self, folder: Path) -> Collector:
        return Collector(output=folder, name='picture_collector')

    def _replay(
        self,
        start: Start,
        outcome: dict[str, Any],
        played: list[tuple[int, int, int]],
        load: Load,
    ) -> Replay:
        report = self._collector.report
        return Replay(
            played,
            self._collector.arrivals[start.masks :],
            report,
            {key: start.since(report, key) for key in COUNTERS},
            self._collector.take_stages(),
            load,
            outcome['extra_counts'],
            outcome['skipped'],
        )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while self._collector.report.value('state') != 'active':
            self._check_alive()
            if self._collector.report.is_error:
                msg = f'the node reports an error: {self._collector.report.message}'
                raise ProcessError(msg)
            if time.monotonic() > deadline:
                lines = self.node.last_lines()
                msg = f'the node was not ready within {START_TIMEOUT_S:.0f} s:\n{lines}'
                raise ProcessError(msg)
            time.sleep(POLL_S)

    def _wait_until_settled(self, start: Start, played: Sequence[tuple[int, ...]]) -> None:
        """Wait for two reports without a frame in work, after the last mask that they count."""
        del played
        seen, first_report = self._noted, self._collector.report.number
        last_change = time.monotonic()
        while time.monotonic() < last_change + SILENCE_TIMEOUT_S:
            self._check_alive()
            if (now_seen := self._note_new()) > seen:
                seen, last_change = now_seen, time.monotonic()
            report = self._collector.report
            answered = seen - start.masks >= start.since(report, 'processed')
            if answered and not report.count('pending') and report.number >= first_report + 2:
                return
            time.sleep(POLL_S)
        _LOG.warning(
            'warning: waited %.0f s in vain for masks that the node counts', SILENCE_TIMEOUT_S
        )


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
