# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""What is odd about frames that are read all the same: told once, not per frame."""

from __future__ import annotations

from collections.abc import Callable
import logging
from threading import Lock

from uhr_seg_ros.core.text import shortened
from uhr_seg_ros.ros.throttle import template

Remark = Callable[[str], None]
"""Gets a sentence about a frame, for every such frame again."""

_MAX_KINDS = 16
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
            if kind in self._kinds or len(self._kinds) >= _MAX_KINDS:
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
