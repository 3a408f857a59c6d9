# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Typed fields of a YAML file, with errors that name the file, the field and the value."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, TypeVar

import yaml

from uhr_seg_ros.errors import UhrSegError

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
        """Build an error that starts with the file name."""
        return self._error_class(f'{self.path}: {text}')

    def has(self, key: str) -> bool:
        """Tell if there is a value for a dotted key."""
        return self._find(key) is not None

    def get(self, key: str, kind: type[T]) -> T:
        """Give the value of a field; raises when it is missing or of another type."""
        value = self._find(key)
        if value is None:
            raise self.error(f'field {key} is missing')
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self.error(f'field {key} is {value!r}, expected {_KIND_NAMES[kind]}')
        return value

    def positive_int(self, key: str) -> int:
        """Give a whole number above zero."""
        value = self.get(key, int)
        if value < 1:
            raise self.error(f'field {key} is {value}, expected a number above zero')
        return value

    def positive_number(self, key: str) -> float:
        """Give a finite number above zero."""
        value = self._find(key)
        if not is_number(value) or not 0 < value < math.inf:
            raise self.error(f'field {key} is {value!r}, expected a number above zero')
        return float(value)

    def numbers(self, key: str, count: int) -> tuple[float, ...]:
        """Give a list of exactly `count` numbers."""
        values = self.get(key, list)
        if len(values) != count or not all(is_number(value) for value in values):
            raise self.error(f'field {key} is {values!r}, expected {count} numbers')
        return tuple(float(value) for value in values)

    def strings(self, key: str) -> tuple[str, ...]:
        """Give a list of strings."""
        values = self.get(key, list)
        if not all(isinstance(value, str) for value in values):
            raise self.error(f'field {key} is {values!r}, expected a list of names')
        return tuple(values)

    def _find(self, key: str) -> Any:
        value: Any = self._content
        for part in key.split('.'):
            value = value.get(part) if isinstance(value, dict) else None
        return value


def read_mapping(path: Path, error_class: type[UhrSegError], advice: str) -> dict[str, Any]:
    """
    Read a YAML file that holds a mapping.

    Args:
        path: the file.
        error_class: what is raised when it cannot be read or holds something else.
        advice: the way out, the end of the text of the error.

    """
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as err:
        msg = f'{path} cannot be read ({" ".join(str(err).split())}): {advice}'
        raise error_class(msg) from err
    if not isinstance(content, dict):
        msg = f'{path} is not a mapping of fields: {advice}'
        raise error_class(msg)
    return content


def is_number(value: object) -> bool:
    """Tell if a value is an int or a float; a truth value is none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_KIND_NAMES: dict[type, str] = {
    str: 'a text',
    int: 'a whole number',
    list: 'a list',
    dict: 'a mapping',
}
