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

"""Which memory is kept: that of what comes again."""

from __future__ import annotations

import pytest

from uhr_seg_ros.ros.frame_processor import TypicalSize


@pytest.mark.parametrize(
    ('sizes', 'expected'),
    [
        ([4, 4, 4, 4], [0, 0, 0, 0]),
        ([4, 5, 6, 5, 4, 6], [0, 0, 0, 0, 0, 0]),
        # The first of a larger size is not known to come again.
        ([4, 4, 100, 4, 4], [0, 0, 1, 0, 0]),
        ([4, 4, 100, 100, 100], [0, 0, 1, 0, 0]),
        ([100, 4, 100, 4, 100, 4], [0, 1, 0, 0, 0, 0]),
        # A size that does not come any more is held until it is forgotten.
        ([100, 100, *[4] * 8], [0, *[0] * 7, 1, 0]),
    ],
)
def test_what_came_twice_is_kept(sizes: list[int], expected: list[int]) -> None:
    usual = TypicalSize()
    assert [usual.outgrows(size) for size in sizes] == list(map(bool, expected))


def test_rare_giants_never_stay() -> None:
    usual = TypicalSize()
    found = [usual.outgrows(size) for _ in range(20) for size in (100, *[4] * 9)]
    assert [index for index, told in enumerate(found) if told] == [1, *range(10, 200, 10)]
