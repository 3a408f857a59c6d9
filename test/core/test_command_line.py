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

"""Options that have no effect beside others are refused, in every command."""

from __future__ import annotations

from argparse import ArgumentParser
from importlib import import_module
from pathlib import Path

import pytest

from uhr_seg_ros.cli.main import COMMANDS, main
from uhr_seg_ros.core.command_line import CommandParser, Mode, refuse_without_effect
from uhr_seg_ros.core.errors import ConfigError

MODES = (
    Mode('--bag --offline', '--topic', lambda given: given.bag and given.offline),
    Mode('--bag', '--topic --rate', lambda given: given.bag),
    Mode('', '--size'),
)


def refuse(*words: str) -> None:
    parser = CommandParser()
    for name, options in {
        '--bag': {},
        '--topic': {'default': ''},
        '--rate': {'type': float, 'default': 0.0},
        '--offline': {},
        '--size': {'action': 'append', 'dest': 'sizes', 'default': []},
        '--else': {'action': 'store_true'},
    }.items():
        parser.add_argument(name, **options)
    refuse_without_effect(parser.parse_args(words), MODES)


@pytest.mark.parametrize(
    'words',
    [
        '',
        '--else',
        '--size 3',
        '--size 3 --size 4',
        '--bag b',
        '--bag b --top t --rate 0',
        '--bag b --offline o --topic t --else',
    ],
)
def test_what_goes_together(words: str) -> None:
    refuse(*words.split())


@pytest.mark.parametrize(
    ('words', 'text'),
    [
        ('--bag b --size 3', '--size has no effect beside --bag: leave it out, or call without'),
        ('--bag b --size=3 --siz 4', '--size has no effect beside --bag'),
        ('--bag b --off o --rate 0.0', '--rate has no effect beside --bag --offline'),
        ('--topic=', '--topic has no effect without --bag'),
        ('--offline o', '--offline has no effect without --bag'),
        ('--offline o --topic t', '--offline, --topic have no effect without --bag'),
    ],
)
def test_what_has_no_effect_is_refused(words: str, text: str) -> None:
    """Also a value that is the default, an empty one, and a name that is cut short."""
    with pytest.raises(ConfigError) as caught:
        refuse(*words.split())
    assert str(caught.value).startswith(text)


def test_values_are_those_of_a_plain_parser() -> None:
    plain, ours = ArgumentParser(), CommandParser()
    for parser in (plain, ours):
        parser.add_argument('images', nargs='*', type=Path)
        parser.add_argument('--size', action='append', default=[])
        parser.add_argument('--pair', nargs=2, type=int)
        parser.add_argument('--all', nargs='?', const='all', default='none')
    for words in ([], ['a', 'b', '--size', '1', '--size', '2'], ['--pair', '1', '2', '--all']):
        found = vars(ours.parse_args(words))
        given = found.pop('given')
        assert found == vars(plain.parse_args(words))
        assert given == {word for word in words if word.startswith('--')}


@pytest.mark.parametrize(
    ('command', 'option', 'other'),
    [
        ('evaluate --bundle b --root r --passes 3', '--passes', '--refine random_walker'),
        ('evaluate --bundle b --root r --refine none --beta 3', '--beta', '--refine random'),
        ('evaluate --bundle b --root r --against-whole', '--against-whole', '--tile'),
        ('evaluate --bundle b --root r --window 512', 'window', '--mode slide'),
        (
            'evaluate --bundle b --root r --dataset deepglobe --branch semantic --stride 512',
            'stride',
            '--mode slide',
        ),
        ('train --config c --root r --output o --resume --start a=b', '--start', '--resume'),
        ('demo {bag} --count 3', '--count', 'a recording'),
        ('demo {bag} --size 64x64', '--size', 'a recording'),
        ('demo a.png b.png --size 64x64', '--size', 'several images'),
    ],
)
def test_commands(
    command: str,
    option: str,
    other: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each is refused by one line that names both, before anything is read or written."""
    for package in ('torch', 'rosbags', 'rclpy'):
        pytest.importorskip(package, reason=f'{package} is not installed')
    monkeypatch.chdir(tmp_path)
    words = command.format(bag=recording(tmp_path) if '{bag}' in command else '').split()
    before = set(tmp_path.iterdir())
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert option in line and other in line
    assert line.startswith('uhr_seg: error: ')
    assert set(tmp_path.iterdir()) == before


def recording(folder: Path) -> Path:
    from uhr_seg_ros.replay.bag_writing import BagWriter

    np = import_module('numpy')
    with BagWriter(folder / 'bag') as bag:
        bag.write(np.zeros((8, 8, 3), np.uint8), 0)
    return folder / 'bag'


def test_every_option_is_in_the_table() -> None:
    """One that is in no mode would be taken for one that counts always."""
    pytest.importorskip('rclpy', reason='rclpy is not installed')
    module = import_module(COMMANDS['demo'][0])
    parser = CommandParser()
    module.add_arguments(parser)
    known = frozenset().union(*(mode.options for mode in module.MODES))
    options = {action.option_strings[-1] for action in parser._actions if action.option_strings}
    assert options - known == {'--help'}
