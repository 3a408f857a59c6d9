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


def figures(**each: tuple[float, float]) -> dict[str, dict[str, float]]:
    """Return wrong pixels and boundary F by choice."""
    return {name: {'wrong': wrong, 'boundary_f': f} for name, (wrong, f) in each.items()}


def test_a_ground_has_no_say_in_what_it_is_measured_with() -> None:
    """On two grounds b is best; on the third it does so much harm that a is over all of them."""
    grounds = {
        'x': figures(none=(5, 30), a=(4, 35), b=(3, 40)),
        'y': figures(none=(5, 30), a=(4, 35), b=(3, 40)),
        'z': figures(none=(5, 30), a=(5, 35), b=(20, 40)),
    }
    found = choose(grounds)
    assert found['chosen'] == 'a'
    assert found['mean']['b']['wrong'] == pytest.approx(26 / 3)
    assert found['left_out']['z'] == {
        'chosen_elsewhere': 'b',
        'refined': {'wrong': 20, 'boundary_f': 40},
        'as_found': {'wrong': 5, 'boundary_f': 30},
    }
    assert found['left_out']['x']['chosen_elsewhere'] == 'a'


def test_what_leaves_more_wrong_pixels_is_not_chosen() -> None:
    grounds = {name: figures(none=(1, 30), a=(1.1, 90)) for name in ('x', 'y')}
    assert choose(grounds)['chosen'] == NONE


def test_choices() -> None:
    names = choices()
    assert names[NONE] is None
    assert (names['3, 500'].passes, names['3, 500'].beta) == (3, 500.0)
