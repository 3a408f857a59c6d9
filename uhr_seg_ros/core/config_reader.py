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

"""
Plain values from YAML and JSON files, with errors that name the file, the field and the value.

Everything that is configured comes through here.
"""

from __future__ import annotations

from collections.abc import Callable
import datetime
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

from uhr_seg_ros.core.errors import UhrSegError
from uhr_seg_ros.core.regular_files import FileFault, read_regular
from uhr_seg_ros.core.strict_load import load_json, load_yaml, ValueFault
from uhr_seg_ros.core.text import printable, shortened, shown

#: Largest files, bytes: 65,535 classes take 5 MB; a report of a long recording some.
MAX_YAML_BYTES, MAX_JSON_BYTES = 8 << 20, 64 << 20

#: Longest name of a model, a class and the like, characters.
MAX_NAME = 200

#: Largest whole number that is taken where a field has no limit of its own.
MAX_WHOLE = 2**31 - 1

T = TypeVar('T')


class Fields:
    """
    Read the fields of a nested mapping by dotted key.

    Args:
        path: the file that the mapping came from, for the texts of errors.
        content: the mapping.
        error_class: what is raised; the error class of the module that owns the file.

    """

    def __init__(
        self, path: Path, content: dict[str, Any], error_class: type[UhrSegError]
    ) -> None:
        self.path = path
        self._content = content
        self._error_class = error_class

    def error(self, text: str) -> UhrSegError:
        """Build an error that starts with the file name, in one line of bounded length."""
        return self._error_class(f'{_named(self.path)}: {shortened(printable(text))}')

    def has(self, key: str) -> bool:
        """Tell if there is a value for a dotted key."""
        return self._find(key) is not None

    def value(self, key: str) -> Any:
        """Return the value for a dotted key, whatever it is; None where there is none."""
        return self._find(key)

    def get(self, key: str, kind: type[T]) -> T:
        """Return the value of a field; raises when it is missing or of another type."""
        value = self._find(key)
        if value is None:
            raise self.error(f'field {key} is missing')
        if not isinstance(value, kind) or isinstance(value, bool):
            hint = quoting_hint(value) if kind is str else ''
            raise self.error(f'field {key} is {shown(value)}, expected {_KIND_NAMES[kind]}{hint}')
        return value

    def name(self, key: str) -> str:
        """Return a text that can be shown and be the name of something; see `name_fault`."""
        value = self.get(key, str)
        if fault := name_fault(value):
            raise self.error(f'field {key} is {shown(value)}, expected {fault}')
        return value

    def positive_int(self, key: str, most: int = MAX_WHOLE) -> int:
        """Return a whole number above zero, up to a limit."""
        value = self.get(key, int)
        if value < 1:
            raise self.error(f'field {key} is {shown(value)}, expected a number above zero')
        if value > most:
            raise self.error(f'field {key} is {shown(value)}, expected at most {most}')
        return value

    def positive_number(self, key: str) -> float:
        """Return a finite number above zero."""
        value = self._find(key)
        if not is_finite(value) or value <= 0:
            raise self.error(f'field {key} is {shown(value)}, expected a number above zero')
        return float(value)

    def numbers(self, key: str, count: int) -> tuple[float, ...]:
        """Return a list of exactly `count` finite numbers."""
        values = self.get(key, list)
        if len(values) != count or not all(is_finite(value) for value in values):
            raise self.error(f'field {key} is {shown(values)}, expected {count} numbers')
        return tuple(float(value) for value in values)

    def strings(self, key: str) -> tuple[str, ...]:
        """Return a list of strings."""
        values = self.get(key, list)
        for value in values:
            if not isinstance(value, str):
                text = f'field {key} has {shown(value)}, expected a list of names'
                raise self.error(text + quoting_hint(value))
        return tuple(values)

    def _find(self, key: str) -> Any:
        value: Any = self._content
        for part in key.split('.'):
            value = value.get(part) if isinstance(value, dict) else None
        return value


def read_mapping(path: Path, error_class: type[UhrSegError], advice: str) -> dict[str, Any]:
    """
    Read a YAML file that holds a mapping; see `load_yaml` for what it may hold.

    Args:
        path: the file.
        error_class: what is raised when it cannot be read or holds something else.
        advice: the way out, the end of the text of the error.

    """
    return parse_mapping(read_content(path, error_class, advice), path, error_class, advice)


def parse_mapping(
    content: bytes, path: Path, error_class: type[UhrSegError], advice: str
) -> dict[str, Any]:
    """Take the mapping out of the content of a YAML file; see `read_mapping`."""
    return _mapping(load_yaml, content, path, error_class, advice)


def read_json(path: Path, error_class: type[UhrSegError], advice: str) -> dict[str, Any]:
    """
    Read a JSON file that holds a mapping; see `load_json` for what it may hold.

    Args:
        path: the file.
        error_class: what is raised when it cannot be read or holds something else.
        advice: the way out, the end of the text of the error.

    """
    content = read_content(path, error_class, advice, MAX_JSON_BYTES)
    return _mapping(load_json, content, path, error_class, advice)


def read_content(
    path: Path,
    error_class: type[UhrSegError],
    advice: str,
    most: int = MAX_YAML_BYTES,
) -> bytes:
    """
    Read a regular file; nothing is read of a pipe, a device or too large a file.

    Args:
        path: the file.
        error_class: what is raised when it cannot be read.
        advice: the way out, the end of the text of the error.
        most: largest size, bytes.

    """
    try:
        return read_regular(path, most)
    except FileFault as err:
        raise _unreadable(path, err.reason, error_class, advice) from err


def _mapping(
    load: Callable[[str], Any],
    content: bytes,
    path: Path,
    error_class: type[UhrSegError],
    advice: str,
) -> dict[str, Any]:
    try:
        found = load(content.decode('utf-8-sig'))
    except UnicodeDecodeError as err:
        reason = f'byte {err.start} is not UTF-8'
        if content[:2] in (b'\xff\xfe', b'\xfe\xff'):
            reason = 'it is UTF-16: save it as UTF-8'
        raise _unreadable(path, reason, error_class, advice) from err
    except ValueFault as err:
        raise _unreadable(path, str(err), error_class, advice) from err
    if not isinstance(found, dict):
        msg = f'{_named(path)} is not a mapping of fields: {advice}'
        raise error_class(msg)
    return found


def is_number(value: object) -> TypeGuard[int | float]:
    """Tell if a value is an int or a float; a truth value is none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_finite(value: object) -> TypeGuard[int | float]:
    """Tell if a value is a number that a float can hold, neither infinite nor NaN."""
    return is_number(value) and -_LARGEST <= value <= _LARGEST


def name_fault(value: str) -> str:
    """Return what a name has to be if this text is none; empty if it is one."""
    if not value.strip():
        return 'a text that is not empty'
    if len(value) > MAX_NAME:
        return f'at most {MAX_NAME} characters'
    if not value.isprintable():
        return 'a text without control characters'
    return ''


def quoting_hint(value: object) -> str:
    """Return how a text is written that YAML takes for something else."""
    if isinstance(value, bool):
        return ': put yes, no, on, off, true and false in quotes'
    if value is None or isinstance(value, (int, float, datetime.date)):
        return ': put it in quotes'
    return ''


def _named(path: Path) -> str:
    return shortened(printable(str(path)), 300)


def _unreadable(
    path: Path, reason: str, error_class: type[UhrSegError], advice: str
) -> UhrSegError:
    text = shortened(printable(reason))
    return error_class(f'{_named(path)} cannot be read ({text}): {advice}')


_LARGEST = 1e300

_KIND_NAMES: dict[type, str] = {
    str: 'a text',
    int: 'a whole number',
    list: 'a list',
    dict: 'a mapping',
}
