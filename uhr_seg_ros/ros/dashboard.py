# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""The node's status as a picture: rviz shows images, but no diagnostics."""

from __future__ import annotations

import cv2
from diagnostic_msgs.msg import DiagnosticStatus
import numpy as np

from uhr_seg_ros.ros.diagnostics import STAGES

HEIGHT, WIDTH = 360, 640

_ROW = 24
_MARGIN = 12
_BAR_LEFT, _BAR_RIGHT = 110, 470
_LEVELS = {
    DiagnosticStatus.OK: (96, 174, 39),
    DiagnosticStatus.WARN: (18, 156, 243),
    DiagnosticStatus.ERROR: (60, 76, 231),
    DiagnosticStatus.STALE: (141, 140, 127),
}
_BACKGROUND, _INK, _FAINT = (48, 48, 48), (236, 236, 236), (150, 150, 150)
P50_COLOUR, _P95_COLOUR = (219, 152, 52), (118, 92, 58)


def draw_dashboard(status: DiagnosticStatus) -> np.ndarray:
    """
    Draw state, model, frame counters and the times of the stages.

    A bar is the median of a stage, its paler end the 95th percentile; the longest bar is the
    latency from arrival to publication.

    Args:
        status: of the node, see `diagnostics.node_status`.

    Returns:
        (360, 640, 3) uint8 BGR.

    """
    picture = np.full((HEIGHT, WIDTH, 3), _BACKGROUND, np.uint8)
    values = {pair.key: pair.value for pair in status.values}
    colour = _LEVELS.get(status.level, _FAINT)
    cv2.rectangle(picture, (0, 0), (WIDTH, _ROW + _MARGIN // 2), colour, cv2.FILLED)
    first_line = status.message.partition('\n')[0]
    _write(picture, first_line, _MARGIN, 0)
    _write(picture, f'{values.get("bundle", "-")} on {values.get("backend", "-")}', _MARGIN, 1.4)
    names = ('received', 'processed', 'dropped', 'rejected')
    counts = '   '.join(f'{name} {values.get(f"frames_{name}", "-")}' for name in names)
    _write(picture, counts, _MARGIN, 2.4)
    _draw_stages(picture, values)
    return picture


def _draw_stages(picture: np.ndarray, values: dict[str, str]) -> None:
    times = {
        stage: (float(values[f'{stage}_p50_ms']), float(values[f'{stage}_p95_ms']))
        for stage in (*STAGES, 'latency')
        if f'{stage}_p50_ms' in values
    }
    longest = max((p95 for _, p95 in times.values()), default=0.0) or 1.0
    for row, (stage, (p50, p95)) in enumerate(times.items(), start=4):
        _write(picture, stage, _MARGIN, row)
        for milliseconds, colour in ((p95, _P95_COLOUR), (p50, P50_COLOUR)):
            right = _BAR_LEFT + round((_BAR_RIGHT - _BAR_LEFT) * milliseconds / longest)
            top = row * _ROW + 6
            cv2.rectangle(picture, (_BAR_LEFT, top), (right, top + 14), colour, cv2.FILLED)
        _write(picture, f'{p50:.1f} / {p95:.1f} ms', _BAR_RIGHT + _MARGIN, row, _FAINT)


def _write(
    picture: np.ndarray, text: str, left: int, row: float, colour: tuple[int, int, int] = _INK
) -> None:
    base = (left, round(row * _ROW) + 19)
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(picture, text, base, font, 0.5, colour, 1, cv2.LINE_AA)
