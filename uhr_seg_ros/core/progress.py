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

"""Progress of long steps: each has a name, and where it is known a total and the time left."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from tqdm import tqdm

_Item = TypeVar('_Item')

#: So much later a bar is drawn.
DELAY_S = 1.0

#: With a total, what is done of it and the time left; nothing changes where it is no terminal.
_FORMAT = '{desc}: {n_fmt}/{total_fmt} {unit}s [{elapsed}, {remaining} left]{postfix}'


class _LateBar(tqdm):
    """A bar that nothing draws before its delay is over, lines that are written neither."""

    def refresh(self, *args: Any, **kwargs: Any) -> bool:
        """Draw the bar; as `close`, not before one of its updates has drawn it."""
        return self._is_pending or bool(super().refresh(*args, **kwargs))

    def clear(self, *args: Any, **kwargs: Any) -> None:
        """Wipe the bar, where it was drawn."""
        if not self._is_pending:
            super().clear(*args, **kwargs)

    @property
    def _is_pending(self) -> bool:
        # Neither is known while the bar is being made.
        drawn, start = getattr(self, 'last_print_t', 0.0), getattr(self, 'start_t', 0.0)
        return self.delay > 0 and drawn < start + self.delay


def named_bar(step: str, total: int | None = None, *, unit: str) -> tqdm:
    """
    Return the progress of a step, which `update` moves.

    Args:
        step: such as `taking pictures`.
        total: how much there is; None where nobody knows.
        unit: of what is counted, one of it.
    """
    layout = _FORMAT if total is not None else None
    unit = unit if layout else f' {unit}s'
    # Not at once, so that an error of the arguments stands alone.
    return _LateBar(desc=step, total=total, unit=unit, bar_format=layout, delay=DELAY_S)


def named_steps(
    items: Iterable[_Item], step: str, total: int | None = None, *, unit: str
) -> Iterable[_Item]:
    """Return items whose passing is shown; arguments as of `named_bar`."""
    if total is None and hasattr(items, '__len__'):
        total = len(items)  # type: ignore[arg-type]
    with named_bar(step, total, unit=unit) as bar:
        for each in items:
            yield each
            bar.update()
