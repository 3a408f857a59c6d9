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

"""What is odd about messages, and how often that is said."""

from __future__ import annotations

from collections.abc import Callable, Hashable
import logging
import re
from threading import Lock
import time

from uhr_seg_ros.core.text import shortened

_MAX_REMARKS = 16

Remark = Callable[[str], None]
"""Gets a sentence about a frame, for every such frame again."""

_MAX_TEXT = 500


class Remarks:
    """Remarks that were made; those that differ in their values only are one."""

    def __init__(self) -> None:
        self._kinds: dict[str, str] = {}
        self._lock = Lock()

    def add(self, text: str) -> bool:
        """Note a remark and return whether it is a new one."""
        kind = template(text)
        with self._lock:
            if kind in self._kinds or len(self._kinds) >= _MAX_REMARKS:
                return False
            self._kinds[kind] = shortened(text, _MAX_TEXT)
        return True

    def __str__(self) -> str:
        """Return all of them in one line."""
        with self._lock:
            return '; '.join(self._kinds.values())


_of_this_process = Remarks()


def log_once(text: str) -> None:
    """Log a remark that this process has not logged before; for readers without a node."""
    if _of_this_process.add(text):
        logging.getLogger('uhr_seg_ros.ros').warning('%s (said once)', shortened(text, _MAX_TEXT))


_MAX_THROTTLED = 64

_MAX_CAUSES = 4
"""So far back the causes of an error are part of its kind."""

_MAX_COMPARED = 200

_VARYING = re.compile(r"'[^']*'|\"[^\"]*\"|[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?|\b(?:nan|inf)\b")
"""Values in a text: what is quoted, as texts of messages are, and numbers."""


class Throttle:
    """
    Lets one message of a kind through per period.

    rclpy's own throttle goes by the line of code that logs, where the first fault would hide all
    others; going by the letters of a message, one that has a value in it would fill the log.

    Args:
        period: s.

    """

    def __init__(self, period: float = 5.0) -> None:
        self._period = period
        self._next: dict[Hashable, float] = {}
        self._lock = Lock()

    def allows(self, *kind: str | BaseException) -> bool:
        """
        Return whether to log a message.

        Args:
            kind: what makes it one of a kind, such as a camera and an error: an error is of a kind
                with those that were raised at the same place for the same causes, a text with
                those that differ in their values only.

        """
        now = time.monotonic()
        key = tuple(template(each) if isinstance(each, str) else place_of(each) for each in kind)
        with self._lock:
            if now < self._next.get(key, 0.0):
                return False
            if len(self._next) >= _MAX_THROTTLED:
                self._next = {each: end for each, end in self._next.items() if now < end}
            if len(self._next) >= _MAX_THROTTLED:  # neither the memory nor the log fills
                return False
            self._next[key] = now + self._period
        return True


def template(text: str) -> str:
    """Return the beginning of a text without its values."""
    return _VARYING.sub('#', text[:_MAX_COMPARED])


def place_of(error: BaseException) -> tuple[Hashable, ...]:
    """Return of what types an error and its causes are, and where they were raised."""
    places: list[Hashable] = []
    cause: BaseException | None = error
    while cause is not None and len(places) < _MAX_CAUSES:
        trace, place = cause.__traceback__, None
        while trace is not None:
            place = trace.tb_frame.f_code.co_filename, trace.tb_lineno
            trace = trace.tb_next
        places.append((type(cause), place))
        cause = cause.__cause__
    return tuple(places)
