# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Holds up whoever calls a function, wherever the node is inside at that."""

from __future__ import annotations

from threading import Event
from typing import Any

import pytest

TIMEOUT_S = 60.0


class Hold:
    """
    Lets calls of a function wait until they are released.

    Attributes:
        reached: set as soon as one waits.
        ended: how many calls have ended.

    """

    def __init__(self, patch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
        self.reached = Event()
        self.ended = 0
        self._free = Event()
        original = getattr(owner, name)

        def wait_first(*arguments: Any, **more: Any) -> Any:
            self.reached.set()
            assert self._free.wait(TIMEOUT_S)
            result = original(*arguments, **more)
            self.ended += 1
            return result

        patch.setattr(owner, name, wait_first)

    def release(self) -> None:
        """Let every call go on."""
        self._free.set()
