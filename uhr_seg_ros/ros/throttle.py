# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""A log line per kind of fault now and then, instead of one per frame."""

from __future__ import annotations

from collections.abc import Hashable
import re
import time

_MAX_KINDS = 64


class Throttle:
    """
    Lets one message of a kind through per period.

    Messages that differ in their numbers only are of one kind. rclpy's own throttle goes by the
    line of code that logs, where the first fault would hide all others.

    Args:
        period: s.

    """

    def __init__(self, period: float = 5.0) -> None:
        self._period = period
        self._next: dict[Hashable, float] = {}

    def allows(self, source: str, message: str) -> bool:
        """Tell whether to log a message about a source, such as a camera."""
        now = time.monotonic()
        kind = source, re.sub(r'\d+', '#', message)
        if now < self._next.get(kind, 0.0):
            return False
        if len(self._next) >= _MAX_KINDS:  # text of broken messages must not fill the memory
            self._next.clear()
        self._next[kind] = now + self._period
        return True
