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

"""The figures of refining, where they can be told beforehand."""

from __future__ import annotations

import numpy as np
from pictures import coarse, picture, regions
import pytest

from tools import refinement_study
from tools.refinement_study import measured, Sample, study, thin_parts


def test_thin_parts() -> None:
    labels = np.zeros((60, 60), np.uint8)
    labels[10:40, 10:40] = 1
    labels[50:53, :] = 2  # three pixels wide
    mask = labels.copy()
    mask[50:53, 30:] = 0
    found, all_of_them = thin_parts(labels, mask)
    # The disk rounds the corners of the square too; they are found.
    assert all_of_them - found == 90
    assert found >= 90


def test_figures_get_better(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refinement_study, 'PASSES', (3,))
    monkeypatch.setattr(refinement_study, 'BETAS', (500.0,))
    truth = regions(200, 300)
    sample = Sample(picture(truth), truth, {'fused': coarse(truth)})
    plain, refined = study([sample])
    assert (plain['passes'], refined['passes']) == (None, 3)
    assert plain['mean_iou'] + 10 < refined['mean_iou'] < 100
    assert plain['boundary_f_1px'] + 15 < refined['boundary_f_1px'] < 100
    perfect = measured([sample], [truth])
    assert {value for name, value in perfect.items()} == {100.0}
