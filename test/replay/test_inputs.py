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

"""What patterns lead to: files, recordings and folders of images, but not results."""

from __future__ import annotations

from pathlib import Path

from logged import logged
import pytest

from uhr_seg_ros.replay.inputs import find_files, IMAGE, RECORDING, VIDEO


@pytest.fixture
def flights(tmp_path: Path) -> Path:
    """Return a folder with folders of every kind."""
    folder = tmp_path / 'flights'
    for name in (
        'day1/2.jpg',
        'day1/10.jpg',
        'day1/notes.txt',
        'day1/deeper/3.jpg',
        'day2/clip.mp4',
        'day3/metadata.yaml',
        'day3/a.mcap',
        'day3/preview.jpg',
        'empty/.keep',
        'nested/deeper/1.jpg',
        'old/1_mask.png',
        'old/.uhr_seg_segment.jsonl',
        'out/1_mask.png',
        'above.jpg',
        'plan.pdf',
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_folders_are_what_they_are_when_named(flights: Path) -> None:
    with logged() as lines:
        found, errors = find_files([flights / '*', flights / 'day1'], flights / 'out')
    assert lines == [
        f'{flights}/old holds results of an earlier run and is left out: name it to take it'
    ]
    assert [(kind, str(path.relative_to(flights))) for kind, path in found] == [
        (IMAGE, 'above.jpg'),
        (IMAGE, 'day1/2.jpg'),
        (IMAGE, 'day1/10.jpg'),
        (VIDEO, 'day2/clip.mp4'),
        (RECORDING, 'day3'),
    ]
    reason = 'is neither an image nor a recording, and has no images in it'
    hint = f"; for those of folders in it, give a pattern: '{flights}/nested/**/*.jpg'"
    assert [str(error) for error in errors] == [
        f'{flights}/empty {reason}',
        f'{flights}/nested {reason}{hint}',
    ]
    found, errors = find_files([flights / 'day[12]'])
    assert len(found) == 3 and not errors


def test_through_all_folders(flights: Path) -> None:
    """Those on the way are no fault, and nothing is found twice."""
    found, errors = find_files([flights / '**'], flights / 'out')
    assert not errors
    assert sorted(str(path.relative_to(flights)) for _, path in found) == [
        'above.jpg',
        'day1/10.jpg',
        'day1/2.jpg',
        'day1/deeper/3.jpg',
        'day2/clip.mp4',
        'day3',
        'day3/preview.jpg',
        'nested/deeper/1.jpg',
        'old/1_mask.png',
    ]


def test_a_pattern_of_nothing(flights: Path) -> None:
    found, errors = find_files([flights / 'e*'])
    assert not found
    assert str(errors[0]).startswith(f'{flights}/empty is neither')
    assert (
        str(errors[1]) == f'{flights}/e* matches no image, recording or video, only 1 other files'
    )
