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

"""Checks of the values of a recipe; an error names the field, its value and what was expected."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import fields, MISSING
from typing import Any, NamedTuple, TYPE_CHECKING, TypeVar

from uhr_seg_ros.core.config_reader import is_number, quoting_hint
from uhr_seg_ros.core.errors import TrainingError
from uhr_seg_ros.core.text import listed, shown

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar('T', bound='DataclassInstance')


class Check(NamedTuple):
    """What a value has to be, as a test and in words."""

    passes: Callable[[Any], bool]
    expected: str


def whole(lowest: int) -> Check:
    """Take whole numbers from ``lowest`` on."""

    def passes(value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= lowest

    return Check(passes, f'a whole number from {lowest} on')


def number(lowest: float, highest: float) -> Check:
    """Take numbers in a closed range."""
    return Check(
        lambda value: is_number(value) and lowest <= value <= highest,
        f'a number from {lowest:g} to {highest:g}',
    )


def one_of(known: Collection[str]) -> Check:
    """Take one of the known names."""
    return Check(
        lambda value: isinstance(value, str) and value in known, f'one of {", ".join(known)}'
    )


def mapping_of(check: Check, known: Collection[str] | None = None) -> Check:
    """Take mappings of names, only known ones if they are given, to values that pass a check."""

    def passes(value: object) -> bool:
        return isinstance(value, dict) and all(
            isinstance(name, str) and (known is None or name in known) and check.passes(inner)
            for name, inner in value.items()
        )

    names = 'names' if known is None else f'any of {", ".join(known)}'
    return Check(passes, f'a mapping of {names} to {check.expected}')


def list_of(check: Check) -> Check:
    """Take lists of values that pass a check."""

    def passes(value: object) -> bool:
        return isinstance(value, list) and all(map(check.passes, value))

    return Check(passes, f'a list, each {check.expected}')


def either(name: str, check: Check) -> Check:
    """Take a name, or values that pass a check."""
    return Check(
        lambda value: value == name or check.passes(value), f'{name}, or {check.expected}'
    )


TEXT = Check(lambda value: isinstance(value, str) and value != '', 'a text')
TRUTH = Check(lambda value: isinstance(value, bool), 'true or false')


def _is_plain(value: object) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


PLAIN = Check(_is_plain, 'plain values')


def check_fields(owner: object, checks: Mapping[str, Check], prefix: str = '') -> None:
    """
    Check attributes of an object.

    Raises:
        TrainingError: Names the first field that is wrong.
    """
    for name, check in checks.items():
        value = getattr(owner, name)
        if not check.passes(value):
            raise field_error(prefix + name, value, check.expected)


def field_error(name: str, value: object, expected: str) -> TrainingError:
    """Build the error about a field."""
    hint = quoting_hint(value) if expected == TEXT.expected else ''
    if isinstance(value, str) and expected.startswith('a number') and _reads_as_number(value):
        hint = ', written with a point, as 1.0e-3'  # PyYAML takes 1e-3 for a text
    return TrainingError(f'field {name} is {shown(value)}, expected {expected}{hint}')


def _reads_as_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def from_fields(kind: type[T], content: object, prefix: str = '', **known: Any) -> T:
    """
    Make a dataclass from a mapping that was read from YAML.

    Args:
        kind: The dataclass.
        content: The mapping.
        prefix: What its fields are called by in errors.
        known: Fields that do not come from the mapping.

    Raises:
        TrainingError: Not a mapping, or a field is missing, unknown or wrong.
    """
    if not isinstance(content, dict):
        raise field_error(prefix.rstrip('.'), content, 'a mapping of fields')
    own = [field for field in fields(kind) if field.name not in known]
    missing = sorted(
        prefix + field.name
        for field in own
        if field.default is MISSING
        and field.default_factory is MISSING
        and field.name not in content
    )
    unknown = sorted(prefix + str(name) for name in set(content) - {field.name for field in own})
    if missing or unknown:
        found = (listed(names) or 'none' for names in (missing, unknown))
        msg = 'fields missing: {}; unknown: {}'.format(*found)
        raise TrainingError(msg)
    return kind(**content, **known)
