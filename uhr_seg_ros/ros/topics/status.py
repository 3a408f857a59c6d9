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

"""Levels and texts of `/diagnostics`: what is wrong, and the worst of it."""

from __future__ import annotations

from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

SEVERITY = (
    DiagnosticStatus.OK,
    DiagnosticStatus.WARN,
    DiagnosticStatus.STALE,
    DiagnosticStatus.ERROR,
)
"""The levels from the best to the worst: STALE has the largest number, yet ERROR is worse."""

HOLD_S = 10.0
"""So long a warning is told after it was seen last, s; a level must not flap at a limit."""

Problem = tuple[bytes, str]
"""A level such as `DiagnosticStatus.WARN`, and what is wrong."""


class Lasting:
    """Tells warnings that come and go with every report, until they have been gone for a while."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, float, Problem]] = {}

    def __call__(
        self,
        kind: str,
        limit: float,
        problem: Problem | None,
        now: float,
        hold_s: float = HOLD_S,
    ) -> Problem | None:
        """
        Return the problem, or the one that was seen last with how long ago that was.

        Args:
            kind: what is judged.
            limit: what it is judged by; another one begins anew.
            problem: what is wrong now, None for nothing.
            now: monotonic clock, s.
            hold_s: how long it is told after it was seen last, s.

        """
        if problem is not None:
            self._seen[kind] = limit, now, problem
            return problem
        if kind not in self._seen:
            return None
        before, seen, (level, text) = self._seen[kind]
        if before != limit or now - seen >= hold_s:
            del self._seen[kind]
            return None
        return level, f'{text} ({now - seen:.0f} s ago)'


def worst(*problems: Problem | None, otherwise: str = 'OK') -> Problem:
    """Return the worst level and every problem, the worst first; see `SEVERITY`."""
    found = sorted(
        filter(None, problems), key=lambda problem: SEVERITY.index(problem[0]), reverse=True
    )
    if not found:
        return DiagnosticStatus.OK, otherwise
    return found[0][0], '; '.join(text for _, text in found)


def make_status(
    name: str, level: bytes, message: str, hardware_id: str, values: Mapping[str, str]
) -> DiagnosticStatus:
    """Return one DiagnosticStatus; `level` is a byte such as `DiagnosticStatus.OK`."""
    return DiagnosticStatus(
        name=name,
        level=level,
        message=message,
        hardware_id=hardware_id,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )
