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

"""One progress over all steps of a run, in seconds: which step it is in, what is left of all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import perf_counter

from tqdm import tqdm

from uhr_seg_ros.core.progress import named_bar

#: What a frame is thought to take before the first one came, s.
FIRST_GUESS_S = 0.5

#: What is left is that of the plan: no speed says when a step of so many seconds ends.
_FORMAT = '{{desc}}: {{n_fmt}}/{{total_fmt}} {{unit}}s [{{elapsed}}, {left} left]{{postfix}}'


@dataclass(frozen=True)
class Work:
    """
    How long something takes.

    Attributes:
        seconds: as far as it is known.
        frames: one after the other, each as long as one took so far.
    """

    seconds: float = 0.0
    frames: int = 0


class RunProgress:
    """
    The progress of a run whose steps are named.

    What is planned may change: a search does not know how often it will try. So the total is
    what was done and what is thought to be left.

    Args:
        bar: is moved, in seconds.

    Attributes:
        masks: how many came.
    """

    def __init__(self, bar: tqdm) -> None:
        self._bar = bar
        self._ahead: dict[str, Work] = {}
        self._done = 0.0
        self._step = Work()
        self._began = perf_counter()
        self._first_mask = self._began
        self._masks_before = self.masks = 0
        self._pace = FIRST_GUESS_S

    def plan(self, step: str, work: Work) -> None:
        """Say what a step will take, or what is left of it: `Work()` if it is left out."""
        self._ahead[step] = work
        self._show()

    def begin(self, step: str, work: Work | None = None) -> None:
        """
        End the step before, and begin one.

        Args:
            step: its name.
            work: a part of what is planned for it; None: all of it.
        """
        planned = self._ahead.pop(step, Work())
        if work is not None:
            rest = planned.seconds - work.seconds
            if rest > 0:
                self._ahead[step] = replace(planned, seconds=rest)
            planned = work
        self._done += self._seconds(self._step)
        self._step, self._began, self._masks_before = planned, perf_counter(), self.masks
        self._bar.set_description_str(step, refresh=False)
        self._show()

    def mask(self) -> None:
        """Count a mask that came."""
        self.masks += 1
        now, count = perf_counter(), self.masks - self._masks_before
        if count == 1:  # before it, the player has started
            self._first_mask = now
        else:  # also of frames that come at their own rate: they show how long one takes at most
            self._pace = (now - self._first_mask) / (count - 1)
        self._bar.set_postfix_str(f'{self.masks} masks', refresh=False)
        self._show()

    def end(self) -> None:
        """End the last step; nothing is drawn any more."""
        self._bar.close()

    def _seconds(self, work: Work) -> float:
        return work.seconds + work.frames * self._pace

    def _show(self) -> None:
        step = self._seconds(self._step)
        passed = min(perf_counter() - self._began, step)
        left = step - passed + sum(map(self._seconds, self._ahead.values()))
        done = max(int(self._done + passed), self._bar.n)
        self._bar.total = done + round(left)
        self._bar.bar_format = _FORMAT.format(left=tqdm.format_interval(round(left)))
        self._bar.update(done - self._bar.n)


@contextmanager
def run_progress(first: str) -> Iterator[RunProgress]:
    """Show the progress of a run, given its first step."""
    with named_bar(first, 0, unit='second') as bar:
        yield RunProgress(bar)
