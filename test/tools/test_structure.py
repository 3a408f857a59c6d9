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

"""Rooms, arrows and floors, counted on small packages and on this one."""

from __future__ import annotations

from pathlib import Path

from tools.structure import draw, figures, measure, read_tree, table


def package(**imports: str) -> dict[str, str]:
    """Return the texts of a package whose files import what is given."""
    return {
        f'uhr_seg_ros/{name.replace("__", "/")}.py': f'import os\n{text}\n'
        for name, text in imports.items()
    }


def test_arrows_lead_between_rooms() -> None:
    structure = measure(
        'small',
        package(
            top__a='from uhr_seg_ros.middle.b import x\nfrom uhr_seg_ros import low',
            top__c='from uhr_seg_ros.top.a import y',
            middle__b='def f():\n    import uhr_seg_ros.low',
            low='x = 1',
        ),
    )
    assert structure.arrows == {('top', 'middle'): 1, ('top', 'low'): 1, ('middle', 'low'): 1}
    assert structure.floors() == {'top': 3, 'middle': 2, 'low': 1}
    assert structure.cycles() == []
    assert figures(structure)['files'] == '4'


def test_rooms_in_a_circle_share_a_floor() -> None:
    structure = measure(
        'circle',
        package(
            a='import uhr_seg_ros.b', b='from uhr_seg_ros.a import x\nimport uhr_seg_ros.c', c=''
        ),
    )
    assert structure.cycles() == [{'a', 'b'}]
    assert structure.floors() == {'a': 2, 'b': 2, 'c': 1}


def test_the_package_has_no_circle(tmp_path: Path) -> None:
    structure = measure('now', read_tree('.'))
    assert structure.cycles() == []
    assert structure.floors()['core'] == 1
    assert max(structure.floors(), key=structure.floors().__getitem__) == 'cli'
    assert '| rooms |' in table([structure, structure])
    draw([structure], tmp_path / 'rooms.svg')
    assert (tmp_path / 'rooms.svg').read_text().startswith('<?xml')
