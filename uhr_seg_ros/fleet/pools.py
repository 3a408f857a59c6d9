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

"""What a driver knows of its workers, and the worker of its own process."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

from uhr_seg_ros.core.errors import ProcessError
from uhr_seg_ros.fleet.units import Outcome, Unit
from uhr_seg_ros.fleet.worker import Worker

#: Workers that end before their first unit, one after the other, until nobody tries any more.
MOST_FAILED_STARTS = 5


@dataclass(frozen=True)
class Answer:
    """
    What came of a unit that was submitted.

    Attributes:
        ticket: as it was submitted with.
        outcome: None where its worker has ended before.
        lost: how the worker ended.

    """

    ticket: int
    outcome: Outcome | None
    lost: str = ''


class Pool(Protocol):
    """Workers, wherever they are; a context manager that ends them."""

    @property
    def has_room(self) -> bool:
        """Whether a worker waits for a unit."""
        ...

    def submit(self, ticket: int, unit: Unit) -> None:
        """Hand a unit to a worker; only where there is room."""
        ...

    def wait(self) -> list[Answer]:
        """
        Wait until units are done or lost, or a worker has become free.

        Raises:
            UhrSegError: there are no workers, and none can be started.

        """
        ...

    def __enter__(self) -> Pool: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class OwnProcess:
    """
    One worker in the process of the driver.

    Args:
        options: `BatchOptions` as a dict.

    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._worker = Worker(options)
        self._waiting: deque[tuple[int, Unit]] = deque()

    @property
    def has_room(self) -> bool:
        return not self._waiting

    def submit(self, ticket: int, unit: Unit) -> None:
        """Keep a unit until somebody waits for it."""
        self._waiting.append((ticket, unit))

    def wait(self) -> list[Answer]:
        """Do the unit."""
        ticket, unit = self._waiting.popleft()
        return [Answer(ticket, self._worker.do(unit))]

    def __enter__(self) -> OwnProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._worker.close()


class Starts:
    """Counts workers that end before they have done anything, so that this ends at some time."""

    def __init__(self) -> None:
        self._failed = 0

    def good(self) -> None:
        """Note that a worker is ready."""
        self._failed = 0

    def bad(self, reason: str) -> None:
        """
        Note that a worker has ended before it was ready.

        Raises:
            ProcessError: too many have.

        """
        self._failed += 1
        if self._failed >= MOST_FAILED_STARTS:
            msg = f'{self._failed} workers in a row could not be started: {reason}'
            raise ProcessError(msg)
