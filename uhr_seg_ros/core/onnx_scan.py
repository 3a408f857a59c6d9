# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""
Whether an ONNX file is whole in itself: tensors may point to other files, which no hash covers.

The file is walked as the protocol buffer that it is, since a robot has no onnx package. What is
long, such as weights, is skipped over.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from uhr_seg_ros.core.text import shown

#: No protocol buffer is larger, bytes.
MAX_BYTES = (1 << 31) - 1

#: Message -> field number -> the message that it holds, for all that leads to tensors
#: (onnx.proto of ONNX 1.16).
_MESSAGES: dict[str, dict[int, str]] = {
    'model': {7: 'graph', 20: 'training', 25: 'function'},
    'training': {1: 'graph', 2: 'graph'},
    'function': {7: 'node', 11: 'attribute'},
    'graph': {1: 'node', 5: 'tensor', 15: 'sparse'},
    'node': {5: 'attribute'},
    'attribute': {
        5: 'tensor',
        6: 'graph',
        10: 'tensor',
        11: 'graph',
        22: 'sparse',
        23: 'sparse',
    },
    'sparse': {1: 'tensor', 2: 'tensor'},
}

#: Fields of a tensor: its name, the pairs that say where it lies, and whether it lies elsewhere.
_NAME, _EXTERNAL, _LOCATION = 8, 13, 14

#: What ONNX Runtime takes for a file in its own format, at this place.
_OWN_FORMAT, _OWN_PLACE = b'ORTM', slice(4, 8)

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class NoGraphError(Exception):
    """What is no ONNX file; says why."""


class Outside(NamedTuple):
    """A tensor whose values lie in another file."""

    tensor: str
    location: str


class _Field(NamedTuple):
    number: int
    kind: int
    #: Of a number.
    value: int
    start: int
    stop: int


def first_outside(content: bytes) -> Outside | None:
    """
    Find a tensor whose values are not in the file: in graphs, functions and attributes.

    Args:
        content: of an ONNX file.

    Returns:
        The first one; None if the file is whole in itself.

    Raises:
        NoGraphError: it is no ONNX file.

    """
    if content[_OWN_PLACE] == _OWN_FORMAT:
        msg = "it is in ONNX Runtime's own format"
        raise NoGraphError(msg)
    has_graph = False
    waiting = [('model', 0, len(content))]
    while waiting:
        message, start, stop = waiting.pop()
        if message == 'tensor':
            if outside := _outside(content, start, stop):
                return outside
            continue
        inner = _MESSAGES[message]
        for field in _fields(content, start, stop):
            kind = inner.get(field.number)
            if kind is None:
                continue
            if field.kind != _BYTES:
                raise NoGraphError(_BROKEN)
            has_graph = has_graph or (message, kind) == ('model', 'graph')
            waiting.append((kind, field.start, field.stop))
    if not has_graph:
        msg = 'there is no graph in it'
        raise NoGraphError(msg)
    return None


_BROKEN = 'it is cut, damaged or no ONNX file'


def _outside(content: bytes, start: int, stop: int) -> Outside | None:
    """Return where the values of a tensor lie, if not in it."""
    name, is_outside = '', False
    places: dict[str, str] = {}
    for field in _fields(content, start, stop):
        if field.number == _NAME and field.kind == _BYTES:
            name = _text(content, field)
        elif field.number == _LOCATION:
            is_outside = is_outside or field.kind != _VARINT or field.value != 0
        elif field.number == _EXTERNAL:
            is_outside = True
            pair = dict.fromkeys((1, 2), '')
            for each in _fields(content, field.start, field.stop):
                pair[each.number] = _text(content, each)
            places[pair[1]] = pair[2]
    return Outside(name, places.get('location', '')) if is_outside else None


def _fields(content: bytes, start: int, stop: int) -> Iterator[_Field]:
    """Walk the fields of one message."""
    place = start
    while place < stop:
        tag, place = _varint(content, place, stop)
        kind, value, first = tag & 7, 0, place
        if kind == _VARINT:
            value, place = _varint(content, place, stop)
        elif kind == _BYTES:
            length, first = _varint(content, place, stop)
            place = first + length
        elif kind in (_FIXED32, _FIXED64):
            place += 4 if kind == _FIXED32 else 8
        else:  # groups, which ONNX never had
            raise NoGraphError(_BROKEN)
        # Parsers cut tags to 32 bits: a longer one would hide what it is.
        if place > stop or not 8 <= tag < 1 << 32:
            raise NoGraphError(_BROKEN)
        yield _Field(tag >> 3, kind, value, first, place)


def _varint(content: bytes, place: int, stop: int) -> tuple[int, int]:
    """Return a number of variable length and the place after it."""
    value = shift = 0
    while place < stop and shift < 70:
        byte = content[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
    raise NoGraphError(_BROKEN)


def _text(content: bytes, field: _Field) -> str:
    return content[field.start : min(field.stop, field.start + 500)].decode('utf-8', 'replace')


def describe(outside: Outside) -> str:
    """Return which tensor lies where."""
    return f'tensor {shown(outside.tensor)} lies in another file, {shown(outside.location)}'
