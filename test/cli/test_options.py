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

"""The options of all commands: each has help, shows its default and means one thing."""

from __future__ import annotations

from argparse import Action, SUPPRESS
from collections import defaultdict
from pathlib import Path
import re
import shlex

import pytest

from uhr_seg_ros.cli.examples import EXAMPLES
from uhr_seg_ros.cli.main import command_parser, COMMANDS, leaves, main
from uhr_seg_ros.core.command_help import format_default, shows_default
from uhr_seg_ros.core.command_line import CommandParser

DOCS = Path(__file__).resolve().parents[2] / 'docs'


@pytest.fixture(scope='module')
def parsers() -> dict[str, CommandParser]:
    pytest.importorskip('torch', reason='the commands that train need torch')
    pytest.importorskip('onnx', reason='the commands that export need onnx')
    return {
        parser.prog.removeprefix('uhr_seg '): parser
        for name in COMMANDS
        for parser in leaves(command_parser(name))
    }


def arguments(parser: CommandParser) -> list[Action]:
    return [each for each in parser._actions if each.help != SUPPRESS and each.dest != 'help']


def name_of(action: Action) -> str:
    return action.option_strings[-1] if action.option_strings else action.dest


def words_of(text: str) -> str:
    return ' '.join(text.split())


def test_every_argument_has_help_and_shows_its_default(parsers: dict[str, CommandParser]) -> None:
    wrong = []
    for command, parser in parsers.items():
        shown = parser._get_formatter()
        for action in arguments(parser):
            what = f'{command} {name_of(action)}'
            if not action.help:
                wrong.append(f'{what} has no help')
                continue
            if not shows_default(action):
                continue
            text = words_of(shown._expand_help(action))
            found = re.search(r'default: ([^()]+)', text)
            if not found:
                wrong.append(f'{what} does not show its default: {text}')
            elif action.default not in (None, '', [], 0.0) and not found[1].startswith(
                format_default(action.default)
            ):
                wrong.append(f'{what} shows another default than {action.default}: {text}')
            if text.count('default:') > 1:
                wrong.append(f'{what} shows two defaults: {text}')
    assert not wrong, '\n'.join(wrong)


def test_a_name_has_one_form_in_all_commands(parsers: dict[str, CommandParser]) -> None:
    """What has another metavar, or is a flag in one place only, means something else."""
    forms: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for command, parser in parsers.items():
        for action in arguments(parser):
            form = 'flag' if action.nargs == 0 else action.metavar or 'choices'
            forms[name_of(action)][str(form)].append(command)
    differ = {
        name: dict(found)
        for name, found in forms.items()
        # A rate of a recording may be a pace, too.
        if len({form.partition('|')[0] for form in found}) > 1
    }
    assert not differ


def test_a_name_is_of_an_option_or_of_an_argument(parsers: dict[str, CommandParser]) -> None:
    named, placed = set(), set()
    for parser in parsers.values():
        for action in arguments(parser):
            (named if action.option_strings else placed).add(action.dest)
    assert not named & placed


def test_metavars_are_words_that_stand_for_something(parsers: dict[str, CommandParser]) -> None:
    for command, parser in parsers.items():
        for action in arguments(parser):
            if action.nargs == 0 or action.choices:
                continue
            assert action.metavar, f'{command} {name_of(action)}: the help shows its name twice'


def test_memory_is_called_mb(parsers: dict[str, CommandParser]) -> None:
    for command, parser in parsers.items():
        for action in arguments(parser):
            is_memory = action.metavar == 'MB'
            assert is_memory == name_of(action).endswith('-mb'), f'{command} {name_of(action)}'


def test_bundles_are_read_and_outputs_written(parsers: dict[str, CommandParser]) -> None:
    for parser in parsers.values():
        for action in arguments(parser):
            if name_of(action) == '--bundle':
                assert action.help and 'read' in action.help
            assert name_of(action) not in ('bundle', 'output')


def test_what_segments_takes_what_engines_are_chosen_by(
    parsers: dict[str, CommandParser],
) -> None:
    for command in ('evaluate', 'demo', 'benchmark stages', 'benchmark bag', 'benchmark offline'):
        known = {name_of(action) for action in arguments(parsers[command])}
        assert known >= {'--precision', '--threads', '--backend', '--refine'}, command


def test_examples_are_two_of_every_command_and_parse(parsers: dict[str, CommandParser]) -> None:
    assert EXAMPLES.keys() == parsers.keys()
    for command, examples in EXAMPLES.items():
        assert len(set(examples)) == 2
        for example in examples:
            parsers[command].parse_args(shlex.split(example))
            call = f'uhr_seg {command} {example}'.rstrip()
            assert f'  {call}\n' in parsers[command].format_help()


@pytest.mark.parametrize(
    ('old', 'new'),
    [
        ('train --config a --root b --output c --bundle d', {'output_bundle': Path('d')}),
        ('build --bundle a --input 64x32', {'size': (32, 64)}),
        ('build --bundle a --workspace=99', {'workspace_mb': 99}),
        ('cache prune --keep 7', {'keep_mb': 7.0}),
        ('quantize --bundle a --frames b --tile 64', {'crop': 64}),
        ('budget flicker --bundle a --image b --frames 3', {'count': 3}),
        ('budget flicker --bundle a --image b --share 0.5', {'detail_share': 0.5}),
        ('benchmark graphs mine', {'bundle': 'mine'}),
        ('benchmark roofline mine --image a.svg', {'bundle': 'mine', 'chart': Path('a.svg')}),
        ('benchmark torch hlrc_s', {'network': 'hlrc_s'}),
        ('benchmark offline bag there', {'recording': [Path('bag')], 'output': Path('there')}),
        ('benchmark offline bag --bundle b there', {'output': Path('there')}),
        ('benchmark make-bag there --seconds 2', {'output': Path('there'), 'duration': 2.0}),
        ('demo --frames 3', {'count': 3}),
    ],
)
def test_names_of_the_last_release_name_those_of_today(
    old: str,
    new: dict[str, object],
    parsers: dict[str, CommandParser],
    caplog: pytest.LogCaptureFixture,
) -> None:
    words = old.split()
    command = ' '.join(words[:2]) if ' '.join(words[:2]) in parsers else words[0]
    parser = parsers[command]
    parser._told.clear()
    found = parser.parse_args(words[len(command.split()) :])
    assert {name: getattr(found, name) for name in new} == new
    for name in new:
        option = f'--{name.replace("_", "-")}'
        if name != 'recording':
            assert option in found.given
            assert f'goes with the next release, use {option}' in caplog.text
    assert not [name for name in vars(found) if name.startswith('old_')]


@pytest.mark.parametrize(
    ('words', 'error'),
    [
        ('benchmark make-bag', 'required: --output'),
        ('benchmark make-bag one --output two', 'unrecognized arguments: one'),
    ],
)
def test_what_is_required_has_to_come_under_one_of_its_names(
    words: str, error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(words.split())
    said = capsys.readouterr().err
    assert error in said
    assert 'make-bag [-h] --output DIR' in ' '.join(said.split())
