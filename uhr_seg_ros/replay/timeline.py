# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Times of a recording as times that can be waited for: its clock may have jumped."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

#: A pause between two images that is longer than the first is played as the second, s.
MAX_PAUSE_S, SHORT_PAUSE_S = 10.0, 1.0

# Between the last image of a recording and its first one, played again, if nothing tells.
_GAP_NS = 100_000_000

_S = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Timeline:
    """
    Goes on from image to image, never back and never by more than `LONGEST_PAUSE_S`.

    Args:
        on_jump: called for the first pause that is shortened, and for the first step back, with
            a line that names both times.

    Attributes:
        elapsed_ns: from the first image to the last one so far.

    """

    def __init__(self, on_jump: Callable[[str], None] = lambda _: None) -> None:
        self._on_jump = on_jump
        self._reported: set[bool] = set()
        self._last: int | None = None
        self._steps = 0
        self._round_start_ns = 0
        self.elapsed_ns = 0

    def advance(self, time_ns: int) -> int:
        """Go on to an image that was recorded at a time, ns; return `elapsed_ns`."""
        if self._last is not None:
            self.elapsed_ns += self._step(self._last, time_ns)
            self._steps += 1
        self._last = time_ns
        return self.elapsed_ns

    def begin_again(self) -> None:
        """Go on to the first image, after the last one, by a usual distance."""
        passed = self.elapsed_ns - self._round_start_ns
        usual = passed // self._steps if self._steps else 0
        self.elapsed_ns += usual or _GAP_NS
        self._round_start_ns = self.elapsed_ns
        self._last, self._steps = None, 0

    def _step(self, last_ns: int, time_ns: int) -> int:
        step = time_ns - last_ns
        if 0 <= step <= MAX_PAUSE_S * _S:
            return step
        is_back = step < 0
        if is_back not in self._reported:
            self._reported.add(is_back)
            what = (
                'goes back from {} to {}: played on without a pause'
                if is_back
                else f'goes from {{}} to {{}} between two images: played as a pause of '
                f'{SHORT_PAUSE_S:.0f} s, as is every one of more than {MAX_PAUSE_S:.0f} s'
            )
            self._on_jump('the time of recording ' + what.format(_text(last_ns), _text(time_ns)))
        return 0 if is_back else round(SHORT_PAUSE_S * _S)


def _text(time_ns: int) -> str:
    moment = _EPOCH + timedelta(microseconds=time_ns // 1000)
    return f'{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d} UTC'
