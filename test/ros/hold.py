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
