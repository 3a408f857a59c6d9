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

"""The node's status as a picture: rviz shows images, but no diagnostics."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
from diagnostic_msgs.msg import DiagnosticStatus
import numpy as np

from uhr_seg_ros.ros.topics.status import SEVERITY

HEIGHT, WIDTH = 360, 640

_ROW = 24
_MARGIN = 12
_BAR_LEFT, _BAR_RIGHT = 110, 470
_STAGES_TOP = 4 * _ROW
# Of a row and of a letter, as long as one can read them.
_MIN_ROW, _MIN_SCALE = 14, 0.3
_MAX_TEXT = 200
# Of a letter of the message, which goes on in a second line rather than become smaller.
_MESSAGE_SCALE = 0.42
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_LEVELS = {
    DiagnosticStatus.OK: (96, 174, 39),
    DiagnosticStatus.WARN: (18, 156, 243),
    DiagnosticStatus.ERROR: (60, 76, 231),
    DiagnosticStatus.STALE: (141, 140, 127),
}
_BACKGROUND, _INK, _FAINT = (48, 48, 48), (236, 236, 236), (150, 150, 150)
P50_COLOR, _P95_COLOR = (219, 152, 52), (118, 92, 58)


def draw_dashboard(statuses: Sequence[DiagnosticStatus]) -> np.ndarray:
    """
    Draw the worst status, the model, frame counters and the times of the stages.

    The message takes two lines if it is long.

    A bar is the median of a stage, its paler end the 95th percentile; the longest bar is the
    latency from arrival to publication. Stages that do not fit are counted in the last row.

    Args:
        statuses: of the cameras, and of the node as the last one; see `diagnostics.node_status`.

    Returns:
        (360, 640, 3) uint8 BGR.

    """
    picture = np.full((HEIGHT, WIDTH, 3), _BACKGROUND, np.uint8)
    node = statuses[-1]
    values = {pair.key: pair.value for pair in node.values}
    # The node's own, unless a camera is worse.
    worst = max(reversed(statuses), key=lambda status: SEVERITY.index(status.level))
    color = _LEVELS.get(worst.level, _FAINT)
    first_line = worst.message.partition('\n')[0]
    if worst is not node:
        first_line = f'{worst.name.rpartition(": ")[2]}: {first_line}'
    lines = _in_two_lines(first_line[:_MAX_TEXT], WIDTH - 2 * _MARGIN)
    below = (len(lines) - 1) * _ROW
    cv2.rectangle(picture, (0, 0), (WIDTH, _ROW + _MARGIN // 2 + below), color, cv2.FILLED)
    for row, line in enumerate(lines):
        _write(picture, line, _MARGIN, row * _ROW, width=WIDTH - 2 * _MARGIN)
    model = f'{values.get("bundle", "-")} on {values.get("backend", "-")}'
    _write(picture, model, _MARGIN, 1.4 * _ROW + below)
    names = ('received', 'processed', 'dropped', 'rejected')
    counts = '   '.join(f'{name} {values.get(f"frames_{name}", "-")}' for name in names)
    _write(picture, counts, _MARGIN, 2.4 * _ROW + below)
    _draw_stages(picture, values, _STAGES_TOP + below)
    return picture


def _in_two_lines(text: str, width: int) -> list[str]:
    """Break a text that does not fit between two words, so that the longer part is shortest."""
    words = text.split(' ')
    if _width(text, _MESSAGE_SCALE) <= width or len(words) < 2:
        return [text]
    parts = ([' '.join(words[:n]), ' '.join(words[n:])] for n in range(1, len(words)))
    return min(parts, key=lambda lines: max(_width(line, _MESSAGE_SCALE) for line in lines))


def _draw_stages(picture: np.ndarray, values: dict[str, str], first: int) -> None:
    times = {
        key.removesuffix('_p50_ms'): (float(value), float(values[key.replace('_p50_', '_p95_')]))
        for key, value in values.items()
        if key.endswith('_p50_ms')
    }
    longest = max((p95 for _, p95 in times.values()), default=0.0) or 1.0
    height = max(_MIN_ROW, min(_ROW, (HEIGHT - first) // max(len(times), 1)))
    rows = (HEIGHT - first) // height
    shown = list(times.items()) if len(times) <= rows else list(times.items())[: rows - 1]
    for row, (stage, (p50, p95)) in enumerate(shown):
        top = first + row * height
        _write(picture, stage, _MARGIN, top, width=_BAR_LEFT - _MARGIN - 4, height=height)
        for milliseconds, color in ((p95, _P95_COLOR), (p50, P50_COLOR)):
            right = _BAR_LEFT + round((_BAR_RIGHT - _BAR_LEFT) * milliseconds / longest)
            corners = (_BAR_LEFT, top + height // 4), (right, top + height - height // 6)
            cv2.rectangle(picture, *corners, color, cv2.FILLED)
        text = f'{p50:.1f} / {p95:.1f} ms'
        _write(picture, text, _BAR_RIGHT + _MARGIN, top, color=_FAINT, height=height)
    if hidden := len(times) - len(shown):
        text = f'and {hidden} more stages'
        _write(picture, text, _MARGIN, HEIGHT - height, color=_FAINT, height=height)


def _write(
    picture: np.ndarray,
    text: str,
    left: int,
    top: float,
    *,
    color: tuple[int, int, int] = _INK,
    width: int = WIDTH,
    height: int = _ROW,
) -> None:
    """Write a line into a box, smaller if it does not fit, and cut if it still does not."""
    scale = 0.5 * height / _ROW
    shown = text = text[:_MAX_TEXT]
    if (taken := _width(text, scale)) > width:
        scale = max(_MIN_SCALE, scale * width / taken)
        while text and _width(shown, scale) > width:
            text = text[:-1]
            shown = f'{text}...'
    base = (left, round(top) + round(height * 19 / _ROW))
    cv2.putText(picture, shown, base, _FONT, scale, color, 1, cv2.LINE_AA)


def _width(text: str, scale: float) -> int:
    return cv2.getTextSize(text, _FONT, scale, 1)[0][0]
