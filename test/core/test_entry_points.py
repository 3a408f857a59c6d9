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

"""Functions of a user's own modules, by name."""

import pytest

from uhr_seg_ros.core.entry_points import check_result, is_entry_point, load_entry_point
from uhr_seg_ros.core.errors import ConfigError

_MODULE = """
class Box:
    @staticmethod
    def open(): return 'opened'
number = 3
"""


@pytest.fixture(autouse=True)
def modules(tmp_path, monkeypatch):
    """Make a folder of PYTHONPATH with modules of a user."""
    package = tmp_path / 'users_own'
    package.mkdir()
    (package / '__init__.py').touch()
    (package / 'boxes.py').write_text(_MODULE)
    (package / 'broken.py').write_text('import users_own.boxes\n1 / 0\n')
    (package / 'needy.py').write_text('import no_such_package\n')
    monkeypatch.syspath_prepend(tmp_path)


def _load(name):
    return load_entry_point(name, 'network', ConfigError)


@pytest.mark.parametrize('name', ['users_own.boxes:Box', 'users_own.boxes:Box.open'])
def test_attribute_is_found(name):
    assert _load(name)


def test_nested_attribute_is_the_one_that_is_named():
    assert _load('users_own.boxes:Box.open')() == 'opened'


@pytest.mark.parametrize(
    'name, reason',
    [
        ('users_own.boxes:', 'expected module:attribute'),
        (':open', 'expected module:attribute'),
        ('users_own/boxes.py:open', 'expected module:attribute'),
        ('users_own.boxes:Box:open', 'expected module:attribute'),
        ('nobodys.boxes:open', 'no module nobodys: install'),
        ('users_own.crates:open', 'no module users_own.crates: install'),
        ('users_own.boxes:close', 'users_own.boxes has no close'),
        ('users_own.boxes:Box.close', 'users_own.boxes has no Box.close'),
        ('users_own.boxes:number', 'is 3, expected a function or a class'),
        ('users_own.broken:open', r'cannot be imported \(ZeroDivisionError'),
        ('users_own.needy:open', r"needy cannot be imported .*'no_such_package'"),
    ],
)
def test_what_is_wrong_is_told(name, reason):
    with pytest.raises(ConfigError, match=f'^network is .*{reason}'):
        _load(name)


def test_result_is_checked():
    assert check_result(3, int, 'a:b', 'network', ConfigError) == 3
    with pytest.raises(
        ConfigError, match="^network is 'a:b', which returned None, expected .*int"
    ):
        check_result(None, int, 'a:b', 'network', ConfigError)


def test_name_of_what_is_built_in_is_not_one():
    assert is_entry_point('a:b')
    assert not is_entry_point('aerial')
    assert not is_entry_point(None)
