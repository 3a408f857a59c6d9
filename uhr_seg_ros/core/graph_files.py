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
The graph files of a bundle: what is opened is what was hashed, and nothing beside it.

Tensors of an ONNX file may point to other files, which no hash covers. So the file is walked as
the protocol buffer that it is, since a robot has no onnx package; what is long, such as weights,
is skipped over.
"""

from __future__ import annotations

from collections.abc import Iterator
import dataclasses
from dataclasses import dataclass, replace
import hashlib
import os
from pathlib import Path
from typing import NamedTuple
import weakref

from uhr_seg_ros.core.errors import BundleError
from uhr_seg_ros.core.regular_files import FileFault, open_regular, read_regular
from uhr_seg_ros.core.text import shown

MODEL_FILE = 'model.yaml'

#: How to get out of every fault of a bundle.
REEXPORT_HINT = 'export or convert the model again, or fetch the bundle again'

#: Hashes of graphs that were found to be whole in themselves.
_whole: set[str] = set()


@dataclass(frozen=True)
class Graph:
    """One ONNX file of a bundle and the names of its tensors."""

    name: str
    path: Path
    sha256: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    #: A file that stays readable when its name is another's or nobody's; see `held`.
    descriptor: int | None = dataclasses.field(default=None, compare=False, repr=False)

    def held(self) -> Graph:
        """
        Return the same graph with its file held open, for what reads it again while frames come.

        Raises:
            BundleError: the file cannot be opened.

        """
        try:
            with open_regular(self.path) as file:
                descriptor = os.dup(file.fileno())
        except FileFault as err:
            msg = f'graph file {err}: {REEXPORT_HINT}'
            raise BundleError(msg) from err
        graph = replace(self, descriptor=descriptor)
        weakref.finalize(graph, os.close, descriptor)
        return graph

    def read(self) -> bytes:
        """
        Return the content of the file, which has the recorded sha256 and no tensor outside of it.

        Whatever runs is opened from these bytes: a file can be replaced after it was verified.

        Raises:
            BundleError: the file cannot be read, or is another one by now.

        """
        content = (
            _content(self.path) if self.descriptor is None else _held(self.path, self.descriptor)
        )
        found = hashlib.sha256(content).hexdigest()
        if found != self.sha256:
            msg = (
                f'graph file {self.path} has sha256 {found}, {MODEL_FILE} expects '
                f'{self.sha256}: {REEXPORT_HINT}'
            )
            raise BundleError(msg)
        _check_whole(self.path, content, found)
        return content

    def with_file(self, path: Path) -> Graph:
        """Return the same graph with another file as it is now, such as that of a draft."""
        return replace(self, path=path, sha256=hash_graph(path), descriptor=None)


def hash_graph(path: Path) -> str:
    """
    Return the sha256 of a graph file that may be part of a bundle.

    Raises:
        BundleError: it cannot be read, is no ONNX file, or keeps tensors in other files.

    """
    content = _content(path)
    sha256 = hashlib.sha256(content).hexdigest()
    _check_whole(path, content, sha256)
    return sha256


def _content(path: Path) -> bytes:
    try:
        return read_regular(path, MAX_BYTES)
    except FileFault as err:
        msg = f'graph file {err}: {REEXPORT_HINT}'
        raise BundleError(msg) from err


def _held(path: Path, descriptor: int) -> bytes:
    try:
        with open(descriptor, 'rb', closefd=False) as file:
            file.seek(0)
            return file.read(MAX_BYTES)
    except OSError as err:
        msg = f'graph file {path} cannot be read ({err.strerror}): {REEXPORT_HINT}'
        raise BundleError(msg) from err


def _check_whole(path: Path, content: bytes, sha256: str) -> None:
    if sha256 in _whole:
        return
    try:
        outside = first_outside(content)
    except NoGraphError as err:
        msg = f'graph file {path} is no ONNX graph ({err}): {REEXPORT_HINT}'
        raise BundleError(msg) from err
    if outside:
        msg = (
            f'graph file {path}: {describe(outside)}, which no hash covers: bring all tensors '
            "inside with the package onnx, onnx.save(onnx.load('old.onnx'), 'new.onnx'), and "
            'write the bundle again'
        )
        raise BundleError(msg)
    _whole.add(sha256)


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
