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

"""The picture of a run, long, short, or without a validation."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

pytest.importorskip('matplotlib', reason='curves need matplotlib')

from uhr_seg_ros.reports.training_curves import draw_curves


@pytest.mark.parametrize(('steps', 'checks'), [(1, 0), (400, 1), (7, 3)])
def test_curves(tmp_path: Path, steps: int, checks: int) -> None:
    entries = [{'step': n, 'refine': 2 / (n + 1), 'rate': 1e-3} for n in range(steps)]
    iou = {'road': 0.5, 'water': None}
    found = [{'step': n + 1, 'mean_iou': 0.5, 'iou': iou} for n in range(checks)]
    path = tmp_path / 'curves.png'
    assert draw_curves(path, entries, found)
    picture = cv2.imread(str(path))
    assert picture.shape[1] > 800
    assert picture.std() > 5
