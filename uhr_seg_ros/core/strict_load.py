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
YAML and JSON to plain values, strictly: nothing is guessed, repeated, unfolded or built.

PyYAML splits the text into events; what they mean is decided here, since its own constructors
take the last of repeated keys, read `1:30` as 90 and fail on `2024-99-99` with errors of their
own.
"""

from __future__ import annotations

from collections.abc import Iterator
import json
import re
from typing import Any, NamedTuple

import yaml

from uhr_seg_ros.core.text import one_line, shown

#: Deepest nesting of lists and mappings.
MAX_LEVELS = 40

#: Most values, with those that aliases repeat.
MAX_VALUES = 2_000_000

#: Longest number, characters.
MAX_DIGITS = 100

_TAG = 'tag:yaml.org,2002:'
_MERGE = f'{_TAG}merge'
_QUOTE = 'put it in quotes if it is a text'

# The same events, ten times as fast, where PyYAML was built with libyaml.
_LOADER = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)


class ValueFault(Exception):
    """Why a text does not hold plain values, in one line with the number of the line."""


class _Node(NamedTuple):
    """A value, and how many values it is made of."""

    value: Any
    size: int = 1


def load_yaml(text: str) -> Any:
    """
    Read one YAML document.

    Returns:
        Mappings (keys are texts or whole numbers), lists, texts, numbers, truth values, dates
        and None.

    Raises:
        ValueFault: no YAML, or something that is not taken: repeated keys, tags of other types,
            numbers with colons, nesting and aliases without end.

    """
    try:
        return _Composer(yaml.parse(text, Loader=_LOADER)).document()
    except yaml.MarkedYAMLError as err:
        where = f'line {err.problem_mark.line + 1}: ' if err.problem_mark else ''
        raise ValueFault(where + one_line(err.problem or err, 300)) from err
    except yaml.YAMLError as err:
        raise ValueFault(one_line(err, 300)) from err


def checked_text(text: str) -> str:
    """
    Return a text that can be a name, be printed and be written to a file.

    Raises:
        ValueFault: it holds a NUL, or half of a surrogate pair.

    """
    if not text.isascii() and any('\ud800' <= each <= '\udfff' for each in text):
        msg = f'{shown(text)} holds half of a surrogate pair'
        raise ValueFault(msg)
    if '\0' in text:
        msg = f'{shown(text)} holds a NUL'
        raise ValueFault(msg)
    return text


class _Composer:
    """Puts the events of a document together."""

    def __init__(self, events: Iterator[yaml.Event]) -> None:
        self._events = events
        self._resolver = yaml.resolver.Resolver()
        # None while a list or a mapping is not complete.
        self._anchors: dict[str, _Node | None] = {}

    def document(self) -> Any:
        """Return the value of the only document; None if there is none."""
        value = None
        count = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                count += 1
                if count > 1:
                    raise _fault(event, 'a second document begins, expected one')
                value = self._value(next(self._events), 0).value
        return value

    def _value(self, event: yaml.Event, level: int) -> _Node:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if not isinstance(event, (yaml.ScalarEvent, yaml.CollectionStartEvent)):
            raise _fault(event, 'a value is missing')  # which the parser rules out
        anchor = event.anchor
        if anchor is not None:
            if anchor in self._anchors:
                raise _fault(event, f'anchor &{shown(anchor)} is there twice')
            self._anchors[anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            node = _Node(_scalar(event, self._tag(event)))
        else:
            if level >= MAX_LEVELS:
                raise _fault(event, f'nested deeper than {MAX_LEVELS} levels')
            is_list = isinstance(event, yaml.SequenceStartEvent)
            allowed = f'{_TAG}seq' if is_list else f'{_TAG}map'
            if event.tag not in (None, '!', allowed):
                raise _fault(event, f'tag {shown(event.tag)} is not taken, only plain values are')
            node = self._list(level) if is_list else self._mapping(level)
        if anchor is not None:
            self._anchors[anchor] = node
        return node

    def _alias(self, event: yaml.AliasEvent) -> _Node:
        if event.anchor not in self._anchors:
            raise _fault(event, f'alias *{shown(event.anchor)} stands for nothing')
        node = self._anchors[event.anchor]
        if node is None:
            raise _fault(event, f'alias *{shown(event.anchor)} stands for what it is part of')
        return node

    def _list(self, level: int) -> _Node:
        values, size = [], 1
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            node = self._value(event, level + 1)
            values.append(node.value)
            size = _added(event, size, node)
        return _Node(values, size)

    def _mapping(self, level: int) -> _Node:
        own: dict[Any, Any] = {}
        lines: dict[Any, int] = {}
        merged: list[tuple[yaml.Event, Any]] = []
        size = 1
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event)
            if key in lines:
                text = f'{shown(key)} is there twice, first in line {lines[key]}: keep one'
                raise _fault(event, text)
            lines[key] = _line(event)
            node = self._value(next(self._events), level + 1)
            size = _added(event, size, node)
            if key is _MERGE_KEY:
                merged.append((event, node.value))
            else:
                own[key] = node.value
        for event, value in merged:
            own = {**_merged(event, value), **own}
        return _Node(own, size)

    def _key(self, event: yaml.Event) -> Any:
        if isinstance(event, yaml.ScalarEvent) and event.tag is None:
            if self._tag(event) == _MERGE:
                return _MERGE_KEY
        elif not isinstance(event, (yaml.ScalarEvent, yaml.AliasEvent)):
            raise _fault(event, 'a list or a mapping is no key')
        key = self._value(event, 0).value
        if isinstance(key, bool) or not isinstance(key, (str, int)):
            raise _fault(event, f'{shown(key)} is no key, {_QUOTE}')
        return key

    def _tag(self, event: yaml.ScalarEvent) -> str:
        if event.tag not in (None, '!'):
            return event.tag
        return self._resolver.resolve(yaml.ScalarNode, event.value, event.implicit)


#: Stands for the key `<<`, which no text is.
_MERGE_KEY = object()


def _merged(event: yaml.Event, value: Any) -> dict[Any, Any]:
    """Return what `<<` brings; of several mappings the first one decides."""
    mappings = value if isinstance(value, list) else [value]
    result: dict[Any, Any] = {}
    for mapping in mappings:
        if not isinstance(mapping, dict):
            raise _fault(event, f'<< takes mappings, not {shown(mapping)}')
        result = {**mapping, **result}
    return result


def _added(event: yaml.Event, size: int, node: _Node) -> int:
    if size + node.size > MAX_VALUES:
        raise _fault(event, f'more than {MAX_VALUES} values, counted as aliases repeat them')
    return size + node.size


def _scalar(event: yaml.ScalarEvent, tag: str) -> Any:
    text = event.value
    read = _SCALARS.get(tag.removeprefix(_TAG)) if tag.startswith(_TAG) else None
    if read is None:
        raise _fault(event, f'tag {shown(tag)} is not taken, only plain values are')
    try:
        return read(text)
    except ValueFault as err:
        raise _fault(event, str(err)) from err
    except (ValueError, KeyError, OverflowError, AttributeError) as err:
        name = tag.removeprefix(_TAG)
        raise _fault(event, f'{shown(text)} is no {_NAMES.get(name, name)}, {_QUOTE}') from err


def _whole_number(text: str) -> int:
    _check_number(text)
    digits = text.replace('_', '')
    if re.fullmatch(r'[-+]?0[0-9]+', digits):
        msg = f'{shown(text)} begins with a zero: leave it out, or put a text in quotes'
        raise ValueFault(msg)
    return int(digits, 0)


def _number(text: str) -> float:
    _check_number(text)
    plain = text.replace('_', '').lower()
    if plain.lstrip('+-') in ('.inf', '.nan'):
        return float(plain.replace('.', ''))
    return float(plain)


def _check_number(text: str) -> None:
    if len(text) > MAX_DIGITS:
        msg = f'a number of {len(text)} characters, at most {MAX_DIGITS} are read'
        raise ValueFault(msg)
    if ':' in text:
        msg = f'{shown(text)} is a number to the base 60 in YAML: put it in quotes'
        raise ValueFault(msg)


def _date(text: str) -> Any:
    constructor = yaml.constructor.SafeConstructor()
    return constructor.construct_yaml_timestamp(yaml.ScalarNode(f'{_TAG}timestamp', text))


_SCALARS = {
    'str': checked_text,
    'value': checked_text,
    'null': lambda text: None,
    'bool': lambda text: yaml.constructor.SafeConstructor.bool_values[text.lower()],
    'int': _whole_number,
    'float': _number,
    'timestamp': _date,
}

_NAMES = {'int': 'whole number', 'float': 'number', 'bool': 'truth value', 'timestamp': 'date'}


def _fault(event: yaml.Event, text: str) -> ValueFault:
    return ValueFault(f'line {_line(event)}: {text}')


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 0


def load_json(text: str) -> Any:
    """
    Read one JSON document; `NaN` and `Infinity` are numbers, as Python writes them.

    Raises:
        ValueFault: no JSON, repeated keys, or nesting and numbers without end.

    """
    try:
        content = json.loads(
            text, object_pairs_hook=_unique, parse_int=_json_int, parse_float=_json_float
        )
    except RecursionError as err:
        raise ValueFault(_TOO_DEEP) from err
    except json.JSONDecodeError as err:
        msg = f'line {err.lineno}: {one_line(err.msg, 200)}'
        raise ValueFault(msg) from err
    _check_values(content)
    return content


_TOO_DEEP = f'nested deeper than {MAX_LEVELS} levels'


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                msg = f'{shown(key)} is there twice in one mapping: keep one'
                raise ValueFault(msg)
            seen.add(key)
    return result


def _json_int(text: str) -> int:
    return int(_bounded(text))


def _json_float(text: str) -> float:
    return float(_bounded(text))


def _bounded(text: str) -> str:
    if len(text) > MAX_DIGITS:
        msg = f'a number of {len(text)} characters, at most {MAX_DIGITS} are read'
        raise ValueFault(msg)
    return text


def _check_values(content: Any) -> None:
    """Check texts and depth, without recursion."""
    waiting = [(content, 0)]
    while waiting:
        value, level = waiting.pop()
        if isinstance(value, str):
            checked_text(value)
        elif isinstance(value, (list, dict)):
            if level >= MAX_LEVELS:
                raise ValueFault(_TOO_DEEP)
            inner = value if isinstance(value, list) else [*value, *value.values()]
            waiting += [(each, level + 1) for each in inner]
