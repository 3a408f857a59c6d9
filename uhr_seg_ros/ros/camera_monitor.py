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

"""What `/diagnostics` tells about the frames of one camera."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
import math
import time
from types import MappingProxyType

from diagnostic_msgs.msg import DiagnosticStatus

from uhr_seg_ros.core.text import MAX_SHOWN, one_line
from uhr_seg_ros.ros.count_window import CountWindow, Done
from uhr_seg_ros.ros.diagnostics import count_values
from uhr_seg_ros.ros.frame_rates import FrameLog, TOLERANCE_PERCENT
from uhr_seg_ros.ros.messages.remarks import Remarks
from uhr_seg_ros.ros.topics.status import HOLD_S, Lasting, make_status, Problem, worst
from uhr_seg_ros.ros.worker import Counts

# Every frame is rejected when so many were, one after the other, or all there were.
_ALL_OF = 3

# Where nobody publishes any more, no frame will come, whatever is usual.
_NOBODY_S = 1.0

_UNSUBSCRIBED = DiagnosticStatus.STALE, 'not subscribed, as the node is not active'


class CameraMonitor(FrameLog):
    """
    What `/diagnostics` tells about one input topic.

    Args:
        topic_name: resolved, starts with `/`.
        node_name: fully qualified, the hardware_id. Status names begin with it: two nodes may
            take the same topic.

    Attributes:
        topic_name: as given.

    """

    def __init__(self, topic_name: str, node_name: str) -> None:
        super().__init__()
        self.topic_name = topic_name
        self._node_name = node_name
        self._counts = CountWindow()
        self._remarks = Remarks()
        self._lasting = Lasting()

    def restart(self) -> None:
        """Begin again, as the topic was not subscribed to until now."""
        now = time.monotonic()
        with self._lock:
            self._arrivals.restart()
            self._masks.restart()
            self._counts.restart(now)
            self._waiting_since = None
            self._lasting = Lasting()

    def note_remark(self, text: str) -> bool:
        """Note what is odd about frames that are processed; return whether that is new."""
        return self._remarks.add(text)

    def status(
        self,
        counts: Counts,
        now: float,
        *,
        expected_frequency: float = 0.0,
        max_rate_hz: float = 0.0,
        subscribed: bool = True,
        published: bool = True,
        stall: Problem | None = None,
        more: Mapping[str, str] = MappingProxyType({}),
        problem: Problem | None = None,
    ) -> DiagnosticStatus:
        """
        Return the status of this moment.

        Args:
            counts: of this camera.
            now: monotonic clock, s.
            expected_frequency: Hz, 0 = unknown.
            max_rate_hz: frames per second that are processed at most, 0 = all.
            subscribed: whether frames are taken at all.
            published: whether somebody publishes frames.
            stall: why masks do not come.
            more: what else to tell.
            problem: what else is wrong.

        """
        with self._lock:
            timing = self._arrivals.values(now, expected_frequency)
            timing['output_frequency'] = f'{self._masks.frequency(now):.3f}'
            self._counts.add(now, counts, max_rate_hz)
            if not counts.pending:
                self._waiting_since = None
            if stall is not None:  # what is dropped meanwhile is no matter of rates
                self._counts.restart(now)
            level, message = worst(
                *self._judge(now, expected_frequency, max_rate_hz, published, stall)
                if subscribed
                else [_UNSUBSCRIBED],
                stall,
                problem,
            )
            age = self._masks.silence(now)
        if math.isfinite(age):
            timing['output_age_s'] = f'{age:.1f}'
        values = {
            **timing,
            'total_dropped_frames': str(counts.dropped),
            **count_values([counts]),
            'encoding': one_line(self._encoding, MAX_SHOWN),
            **more,
        }
        if remarks := str(self._remarks):
            values['remarks'] = remarks
        name = f'{self._node_name}: {self.topic_name}'
        return make_status(name, level, message, self._node_name, values)

    def _judge(
        self,
        now: float,
        expected: float,
        max_rate_hz: float,
        published: bool,
        stall: Problem | None,
    ) -> list[Problem | None]:
        hold_s = max(HOLD_S, self._arrivals.usual_silence)
        last = partial(self._lasting, now=now, hold_s=hold_s)
        rate, done = self._arrivals.frequency(now), self._counts.done()
        silence = self._arrivals.silence(now)
        if self._arrivals.is_silent(now, expected) or silence > _NOBODY_S and not published:
            return [_stale(silence, published)]
        return [
            self._rejecting(),
            last('rate', expected, _off_rate(rate, expected)),
            None if stall else last('behind', max_rate_hz, _behind(done, rate, max_rate_hz)),
        ]

    def _rejecting(self) -> Problem | None:
        rejected, finished = self._counts.rejected()
        if not rejected:
            return None
        why = f': {self._reason}' if self._reason else ''
        newest, of = self._counts.newest_rejected(_ALL_OF)
        if newest == of:
            return DiagnosticStatus.ERROR, f'every frame is rejected{why}'
        return DiagnosticStatus.WARN, f'{rejected} of {finished} frames rejected{why}'


def _stale(silence: float, published: bool) -> Problem:
    text = 'no frame yet' if math.isinf(silence) else f'no frame for {silence:.0f} s'
    return DiagnosticStatus.STALE, text if published else f'{text}, nobody publishes any'


def _off_rate(rate: float, expected: float) -> Problem | None:
    if not expected or not rate or abs(rate - expected) <= expected * TOLERANCE_PERCENT / 100.0:
        return None
    return DiagnosticStatus.WARN, f'frame rate {rate:.2f} Hz, expected {expected:.2f} Hz'


def _behind(done: Done, rate: float, max_rate_hz: float) -> Problem | None:
    """Judge whether as many frames are taken as come, or as are wanted of them."""
    # Where a limit holds frames back, the window may begin just behind one.
    taken = done.received - done.dropped + bool(max_rate_hz)
    if taken >= done.wanted * (1 - TOLERANCE_PERCENT / 100.0):
        return None
    if not max_rate_hz:
        text = (
            f'{done.dropped} of {done.received} frames dropped, as newer ones came: more than '
            'this machine can do; max_rate_hz says that it is intended'
        )
        return DiagnosticStatus.WARN, text
    text = (
        f'{done.finished / done.seconds:.2f} frames per second are done, of '
        f'{done.wanted / done.seconds:.2f} that come ({rate:.2f} Hz) and that max_rate_hz '
        f'{max_rate_hz:g} allows: more than this machine can do'
    )
    return DiagnosticStatus.WARN, text
