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

"""Every command of the documents is taken by what would run it, and those that can run do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.doc_commands import Command, commands, commands_of, pages, ROOT

pytest.importorskip('torch', reason='networks of recipes are looked up')
pytest.importorskip('rclpy', reason='topics and parameters are those of the node')
pytest.importorskip('tifffile', reason='writes a map')

from tools.doc_command_checks import fault
from tools.doc_command_inputs import make_inputs
from tools.doc_command_runs import reason_not_to_run, run_page, small


def test_every_command_is_taken() -> None:
    found = commands()
    assert len(found) > 300
    faults = [f'{each.place}: {text}' for each in found if (text := fault(each))]
    assert not faults, '\n'.join(faults)


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('uhr_seg segment photos --out-put out', 'required: --output'),
        ('uhr_seg segment photos --output out --scale 2', 'unrecognized arguments: --scale'),
        ('uhr_seg segmnt photos', '`uhr_seg segmnt` is no command'),
        ('uhr_seg benchmark stages --size 4K', "'4K' is not a size"),
        ('uhr_seg build --bundle a --input 64x32', 'goes with the next release'),
        ('uhr_seg benchmark --bag flight', 'goes with the next release'),
        ('uhr_seg train --config config/train/none.yaml --root a --output b', 'none.yaml'),
        (
            'uhr_seg train --config config/train/folder.yaml --effort day --root a --output b',
            "'day'",
        ),
        ('uhr_seg compare --plan config/compare/none.yaml --root a --output b', 'none.yaml'),
        ('uhr_seg benchmark torch --network hlrc_x', 'hlrc_x is none of'),
        ('ros2 run uhr_seg_ros uhr_seg segment photos', 'required: --output'),
        ('ros2 launch uhr_seg_ros plane.launch.py', 'no launch file'),
        ('ros2 launch uhr_seg_ros drone.launch.py topic:=/a', 'no argument topic'),
        ('ros2 launch uhr_seg_ros drone.launch.py rviz:=maybe', 'expected one of true, false'),
        ('ros2 run uhr_seg_ros segmentation_node --ros-args -p alpha:=1', 'no parameter alpha'),
        ('ros2 run uhr_seg_ros segmentation_node --ros-args -r image:=/a', 'no input to remap'),
        ('ros2 param set /segmentation refine sharp', 'refine'),
        ('ros2 param set /segmentation overlay.alpha 2.0', 'expected 0.0 to 1.0'),
        ('ros2 topic echo /segmentation/masks', 'no topic ~/masks'),
        ('bash scripts/none', 'no script'),
        ('bash scripts/test --everything', 'does not know --everything'),
        ('bash scripts/test test/ros/test_none.py', 'does not know test/ros/test_none.py'),
        ('bash scripts/reliability --only nothing', 'invalid choice'),
        ('OUT=a bash scripts/train_on_gpu --config config/train/folder.yaml', 'required: --root'),
        ('python -m tools.none', 'no module'),
        ('python -m tools.structure --colour', 'unrecognized arguments'),
        ("python -c 'import ('", 'no Python'),
        ('unheard_of --help', 'neither a check nor an entry'),
    ],
)
def test_what_would_not_be_taken_is_told(text: str, expected: str, tmp_path: Path) -> None:
    (command,) = read(text, tmp_path)
    assert expected in fault(command)


def read(text: str, folder: Path) -> list[Command]:
    page = folder / 'README.md'
    page.write_text(f'# Page\n\n```bash\n{text}\n```\n', encoding='utf-8')
    return commands_of(page, folder)


def test_commands_are_read_as_a_shell_reads_them(tmp_path: Path) -> None:
    text = (
        "A=1 b 'c d' \\\n  [--e f] # comment\n"
        "python -c 'one\ntwo'\n"
        'cd a && b > c.txt\n'
        "node -p 'x:=[1, 2]'"
    )
    found = read(text, tmp_path)
    assert [each.words for each in found] == [
        ('b', 'c d', '--e', 'f'),
        ('python', '-c', 'one\ntwo'),
        ('cd', 'a'),
        ('b',),
        ('node', '-p', 'x:=[1, 2]'),
    ]
    assert found[0].variables == ('A=1',)
    assert [each.line for each in found] == [4, 6, 8, 8, 9]


def test_a_command_in_a_sentence_may_lack_words(tmp_path: Path) -> None:
    page = tmp_path / 'README.md'
    page.write_text('Say `uhr_seg segment\n--every 2` or `uhr_seg train ... --speed 3`.')
    first, second = commands_of(page, tmp_path)
    assert (first.words, first.whole) == (('uhr_seg', 'segment', '--every', '2'), False)
    assert fault(first) == ''
    assert 'unrecognized arguments: --speed' in fault(second)


def test_what_runs_is_smaller_and_says_what_is_left_out(tmp_path: Path) -> None:
    flight, build = read(
        'uhr_seg benchmark make-bag --output a --size 3840x2160 --duration 30\n'
        'uhr_seg build --bundle hlrc_s_aerial --size 3840x2160',
        tmp_path,
    )
    assert reason_not_to_run(flight) == ''
    assert small(flight)[3:] == ['--output', 'a', '--size', '128x96', '--duration', '1']
    assert 'GPU' in reason_not_to_run(build)


@pytest.fixture(scope='module')
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of small inputs, by the names of the documents."""
    folder = tmp_path_factory.mktemp('inputs')
    make_inputs(folder)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize('page', pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of_a_page_run(page: Path, inputs: Path, tmp_path: Path) -> None:
    """Takes minutes in all: trainings, exports, and nodes that play recordings."""
    failed = [
        f'{command.place}: {text}\n{wrong}'
        for command, text, wrong in run_page(page, inputs, tmp_path / 'page')
        if wrong
    ]
    assert not failed, '\n'.join(failed)
