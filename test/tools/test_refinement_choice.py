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
"""The choice of refinement: made elsewhere than it is measured."""

from __future__ import annotations

import pytest

from tools.refinement_choice import choices, choose, NONE


def figures(**wrong: float) -> dict[str, dict[str, float]]:
    return {name: {'wrong': value, 'mean_iou': 100 - value} for name, value in wrong.items()}


def test_a_ground_has_no_say_in_what_it_is_measured_with() -> None:
    """On two grounds b is best; on the third, a by far, which decides over all of them."""
    grounds = {
        'x': figures(none=5, a=4, b=3),
        'y': figures(none=5, a=4, b=3),
        'z': figures(none=9, a=2, b=8),
    }
    found = choose(grounds)
    assert found['chosen'] == 'a'
    assert found['mean']['b']['wrong'] == pytest.approx(14 / 3)
    assert found['left_out']['z'] == {
        'chosen_elsewhere': 'b',
        'refined': {'wrong': 8, 'mean_iou': 92},
        'as_found': {'wrong': 9, 'mean_iou': 91},
    }
    assert found['left_out']['x']['chosen_elsewhere'] == 'a'


def test_no_refining_is_a_choice() -> None:
    names = choices()
    assert names[NONE] is None
    assert (names['3, 500'].passes, names['3, 500'].beta) == (3, 500.0)
    grounds = {'x': figures(none=1, a=2), 'y': figures(none=1, a=2)}
    assert choose(grounds)['chosen'] == 'none'
