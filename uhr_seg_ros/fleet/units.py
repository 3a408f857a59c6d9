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

"""What drivers and workers hand each other: units, and records of what became of them; JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
import hashlib
import json
from typing import Any

#: What a record says: its results are there; they could not be made; they are those of an
#: earlier run, whose record only gets another fingerprint.
DONE, FAILED, KEPT = 'done', 'failed', 'kept'

#: Kinds of records whose outputs are results; others are steps on the way.
RESULTS = ('image', 'video', 'bag', 'raster')
#: Kind of unit -> kind of the result that it is a step to.
RESULT_OF = {
    **{kind: 'bag' for kind in ('plan_bag', 'frames', 'bag')},
    **{kind: 'video' for kind in ('plan_video', 'video')},
    **{kind: 'raster' for kind in ('plan_raster', 'tokens', 'rows', 'raster')},
}


@dataclass(frozen=True)
class Unit:
    """
    A piece of work that needs nothing but its inputs and what earlier stages left in files.

    Attributes:
        kind: which handler does it, see `handlers.HANDLERS`.
        input: the file or folder as the user calls it.
        name: of its results.
        place: in the input; empty: all of it.
        work: what the handler needs; values that JSON holds.
        slot: identifies it among runs with the same options, see `slot_of`; empty: the unit is
            several of them, such as a shard of images.
        content: hash of what it is made from; empty where the worker finds that out.

    """

    kind: str
    input: str
    name: str
    place: str = ''
    work: dict[str, Any] = field(default_factory=dict)
    slot: str = ''
    content: str = ''

    def __str__(self) -> str:
        return f'{self.input} {self.place}' if self.place else self.input

    def as_dict(self) -> dict[str, Any]:
        """Return the attributes by their names, as `Unit(**...)` takes them."""
        return asdict(self)


@dataclass
class Record:
    """
    What became of a unit, or of an image of one.

    Attributes:
        kind: of the unit; `image` for an image of a shard.
        input: as of `Unit`.
        name: as of `Unit`.
        place: as of `Unit`.
        slot: as of `Unit`.
        settings: hash of bundle and options that it was made with.
        status: `DONE`, `FAILED` or `KEPT`.
        reason: why it failed.
        fingerprint: of the input as it was: what changes when somebody writes to it.
        content: hash of the input.
        outputs: files, below the output folder.
        frames: that were segmented.
        left_out: frames, or blocks of a raster, that could not be read.
        width: px, of a frame.
        height: px.
        pixels: of every class, of all frames.
        m2_per_pixel: of the ground; 0 where it is not known.
        crs: coordinate reference system of a raster; empty without one.
        unknown: frames, or blocks, outside of what the model knows.
        seconds: that it took.
        cpu_seconds: that all threads of the worker were at work meanwhile.
        finished: when, in seconds from 1970.
        attempts: after so many it was done or given up.
        worker: who did it.
        backend: that it ran on.

    """

    kind: str
    input: str
    name: str
    place: str = ''
    slot: str = ''
    settings: str = ''
    status: str = DONE
    reason: str = ''
    fingerprint: str = ''
    content: str = ''
    outputs: list[str] = field(default_factory=list)
    frames: int = 0
    left_out: int = 0
    width: int = 0
    height: int = 0
    pixels: list[int] = field(default_factory=list)
    m2_per_pixel: float = 0.0
    crs: str = ''
    unknown: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    finished: float = 0.0
    attempts: int = 1
    worker: str = ''
    backend: str = ''

    def __str__(self) -> str:
        return f'{self.input} {self.place}' if self.place else self.input

    @property
    def key(self) -> str:
        """Hash of input, bundle, options and place: the same where the result is."""
        return digest([self.content, self.settings, self.kind, self.place, self.name])

    def as_dict(self) -> dict[str, Any]:
        """Return the attributes by their names, as `Record(**...)` takes them."""
        return asdict(self)

    @classmethod
    def of(cls, unit: Unit, **values: Any) -> Record:
        """Return a record of a unit."""
        return cls(
            unit.kind,
            unit.input,
            unit.name,
            unit.place,
            unit.slot,
            **{'content': unit.content, **values},
        )


@dataclass
class Outcome:
    """
    What a worker answers.

    Attributes:
        records: of the unit, or of its images.
        stages: units that follow for the same input: those of a stage in any order, when all of
            the stage before are done.
        error: why the unit could not be done; it may be tried again.
        is_fatal: whether no other unit could be done either, as with a full disk.

    """

    records: list[Record] = field(default_factory=list)
    stages: list[list[Unit]] = field(default_factory=list)
    error: str = ''
    is_fatal: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON holds."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Outcome:
        """Return what `as_dict` was made of."""
        return cls(
            [Record(**each) for each in values['records']],
            [[Unit(**each) for each in stage] for stage in values['stages']],
            values['error'],
            values['is_fatal'],
        )


def digest(value: Any) -> str:
    """Return the SHA-256 of what JSON holds, in hexadecimal."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def slot_of(settings: str, kind: str, place_of_input: str, name: str, place: str = '') -> str:
    """Identify a unit among runs: by options, kind, absolute path or address, name and place."""
    return digest([settings, kind, place_of_input, name, place])[:24]
