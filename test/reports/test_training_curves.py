# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""The picture of a run, long, short, or without a validation."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

pytest.importorskip('torch', reason='training needs torch')
pytest.importorskip('matplotlib', reason='curves need matplotlib')

from uhr_seg_ros.reports.training_curves import draw_curves


@pytest.mark.parametrize(('steps', 'checks'), [(1, 0), (400, 1), (7, 3)])
def test_curves(tmp_path: Path, steps: int, checks: int) -> None:
    entries = [{'step': n, 'refine': 2 / (n + 1), 'rate': 1e-3} for n in range(steps)]
    (tmp_path / 'log.jsonl').write_text(''.join(json.dumps(e) + '\n' for e in entries))
    iou = {'road': 0.5, 'water': None}
    found = [{'step': n + 1, 'mean_iou': 0.5, 'iou': iou} for n in range(checks)]
    (tmp_path / 'validation.jsonl').write_text(''.join(json.dumps(e) + '\n' for e in found))
    path = draw_curves(tmp_path)
    assert path == tmp_path / 'curves.png'
    picture = cv2.imread(str(path))
    assert picture.shape[1] > 800
    assert picture.std() > 5
