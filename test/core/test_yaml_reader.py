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

"""YAML and JSON files: what is read, and what is refused in one short line."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
import socket

import pytest
import yaml

from uhr_seg_ros.core.config_reader import Fields, read_json, read_mapping
from uhr_seg_ros.core.errors import UhrSegError
from uhr_seg_ros.core.strict_load import load_yaml, ValueFault

ROOT = Path(__file__).resolve().parents[2]


class FileError(UhrSegError):
    """What the file of these tests raises."""


def bomb(depth: int = 12) -> str:
    """Return ten texts, ten times themselves, ten times that, and so on."""
    lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]']
    lines += [f'a{n + 1}: &a{n + 1} [{", ".join([f"*a{n}"] * 10)}]' for n in range(depth)]
    return '\n'.join(lines)


@pytest.mark.parametrize('path', sorted(ROOT.glob('config/**/*.yaml')), ids=str)
def test_reads_what_pyyaml_reads(path: Path) -> None:
    text = path.read_text(encoding='utf-8')
    assert load_yaml(text) == yaml.safe_load(text)


@pytest.mark.parametrize(
    'text',
    [
        '',
        'a: [1, -2, 0x1F, 0b11, 1_000, 1.5, -.5, 1.0e-3, 1e-3, .inf, -.INF]',
        'a: [yes, No, on, OFF, true, ~, null, "no", !!str 12, !!int "3", !!float 4]',
        'a: {b: [], c: {}, 3: x}\nd: |\n  two\n  lines\n',
        'a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {y: 4, <<: [*a, {z: 5, x: 6}]}\nd: [*a, *a]',
        'a: 2024-02-29\nb: 2024-02-29 12:30:00',
        '%YAML 1.1\n---\na: b\n...\n',
    ],
)
def test_means_what_it_means_to_pyyaml(text: str) -> None:
    assert load_yaml(text) == yaml.safe_load(text)
    assert load_yaml('a: 2024-02-29') == {'a': datetime.date(2024, 2, 29)}


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('b: 1\na: 2024-99-99', r"line 2: '2024-99-99' is no date, put it in quotes"),
        ('a: ' + '9' * 5000, 'line 1: a number of 5000 characters, at most 100'),
        ('a: 0x' + 'f' * 5000, 'a number of 5002 characters'),
        pytest.param(
            'a: ' + '[' * 20000 + ']' * 20000, 'nested deeper than 40 levels', id='brackets'
        ),
        pytest.param('a: ' + '{a: ' * 20000, 'nested deeper than 40 levels', id='braces'),
        pytest.param('- ' * 20000, 'nested deeper than 40 levels', id='dashes'),
        ('a: 1\nb: 2\na: 3', "line 3: 'a' is there twice, first in line 1: keep one"),
        ('a: {<<: {x: 1}, <<: {y: 2}}', 'is there twice'),
        ('a: {<<: [1]}', '<< takes mappings, not 1'),
        ('a: 1:30', "'1:30' is a number to the base 60 in YAML: put it in quotes"),
        ('a: 1:30.5', 'is a number to the base 60'),
        ('a: 010', "'010' begins with a zero"),
        ('a: !!int x', "'x' is no whole number"),
        ('a: !!bool x', "'x' is no truth value"),
        ('a: !!python/object/apply:os.system [true]', 'tag .*os.system.* is not taken'),
        ('a: !!binary aGk=', 'tag .*binary.* is not taken'),
        ('a: !!set {x}', 'tag .*set.* is not taken'),
        ('a: !own 1', "tag '!own' is not taken"),
        ('yes: 1', 'True is no key, put it in quotes'),
        ('~: 1', 'None is no key'),
        ('1.5: 1', '1.5 is no key'),
        ('? [a]\n: 1', 'a list or a mapping is no key'),
        ('a: &x [*x]', 'stands for what it is part of'),
        ('a: *x', 'alias|anchor'),
        ('a: 1\n---\na: 2', 'a second document begins'),
        ('a: "\\0"', r"'\\x00' holds a NUL"),
        ('a:\n\t- 1', 'line 2: .*'),
        ('a: \x07', 'control characters|special characters'),
        (bomb(), 'more than 2000000 values, counted as aliases repeat them'),
        (bomb().replace('[', '[{<<: {k: [').replace(']', ']}}]'), 'values|nested'),
    ],
)
def test_refused_with_its_line(text: str, reason: str) -> None:
    with pytest.raises(ValueFault, match=reason) as caught:
        load_yaml(text)
    assert '\n' not in str(caught.value) and len(str(caught.value)) < 400


def test_the_slower_parser_decides_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('uhr_seg_ros.core.strict_load._LOADER', yaml.SafeLoader)
    found = load_yaml('a: &a {x: 1}\nb: {<<: *a, y: ä}')
    assert found == {'a': {'x': 1}, 'b': {'x': 1, 'y': 'ä'}}
    for text in ('a: "\\ud800"', 'a: 1\na: 2', 'a: ' + '[' * 200, bomb(), 'a: [', 'a: 2024-99-99'):
        with pytest.raises(ValueFault):
            load_yaml(text)


def read(path: Path) -> dict:
    return read_mapping(path, FileError, 'see the docs')


def test_files_that_are_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'pipe')
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'large').write_bytes(b'#' * ((8 << 20) + 1))
    (tmp_path / 'wide').write_bytes('a: ä'.encode('utf-16'))
    (tmp_path / 'latin').write_bytes('a: ä'.encode('latin-1'))
    (tmp_path / 'link').symlink_to(tmp_path / 'pipe')
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / 'socket'))
    for path, reason in (
        ('pipe', 'it is a named pipe, expected a regular file'),
        ('link', 'it is a named pipe'),
        ('folder', 'it is a folder'),
        ('socket', 'it is a socket'),
        ('/dev/zero', 'it is a device'),
        ('missing', 'No such file'),
        ('large', 'it has 8388609 bytes, at most 8388608 are read'),
        ('wide', 'it is UTF-16: save it as UTF-8'),
        ('latin', 'byte 3 is not UTF-8'),
        ('a\0b', 'no file can have this name'),
        ('a\ud800b', 'no file can have this name'),
        ('n' * 5000, 'File name too long'),
    ):
        for reader in (read_mapping, read_json):
            if path == 'large' and reader is read_json:
                continue
            expected = rf'cannot be read \({reason}.*: see the docs$'
            with pytest.raises(FileError, match=expected) as caught:
                reader(tmp_path / path, FileError, 'see the docs')
            assert str(caught.value).isprintable() and len(str(caught.value)) < 1000


def test_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / 'a').write_bytes(b'\xef\xbb\xbfa: 1\n')
    assert read(tmp_path / 'a') == {'a': 1}


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('[1]', 'is not a mapping of fields'),
        ('{"a": 1, "a": 2}', "'a' is there twice in one mapping"),
        ('{"a": ' + '9' * 5000 + '}', 'a number of 5000 characters'),
        pytest.param('{"a": ' + '[' * 100000, 'nested deeper than 40 levels', id='json'),
        ('{"a": ' + '[' * 50 + ']' * 50 + '}', 'nested deeper than 40 levels'),
        ('{"a": ["\\ud800"]}', 'holds half of a surrogate pair'),
        ('{"\\u0000": 1}', 'holds a NUL'),
        ('{"a": 1}\n}', 'line 2: Extra data'),
        ('', 'line 1: Expecting value'),
    ],
)
def test_refused_json(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / 'a.json').write_text(text)
    with pytest.raises(FileError, match=rf'a\.json .*{reason}.*: see the docs$') as caught:
        read_json(tmp_path / 'a.json', FileError, 'see the docs')
    assert '\n' not in str(caught.value)


def test_values_are_shown_in_short() -> None:
    deep: list = []
    deep.append(deep)
    for value in ('x' * 10**6, list(range(10**6)), {'a': ['y' * 10**6]}, 10**4000, deep):
        fields = Fields(Path('m.yaml'), {'a': value}, FileError)
        for call in (fields.name, fields.strings, fields.positive_number):
            with pytest.raises(FileError, match='field a ') as caught:
                call('a')
            assert len(str(caught.value)) < 400


@pytest.mark.parametrize('value', [False, 12, 1.5, datetime.date(2024, 1, 1)])
def test_the_way_out_of_what_is_no_text(value: object) -> None:
    with pytest.raises(FileError, match='expected a text: put .* in quotes'):
        Fields(Path('m.yaml'), {'a': value}, FileError).get('a', str)
