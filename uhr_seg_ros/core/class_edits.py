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

"""Classes as their user wants them: some merged, some hidden, in other colors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
import re

from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.text import listed, shown

_COLOR = re.compile('#[0-9a-fA-F]{6}')


@dataclass(frozen=True)
class ClassEdits:
    """
    What becomes of the classes of a bundle, as users write it; empty texts say nothing.

    Example:
        >>> edits = ClassEdits(merge=('green=tree+grass',), hide=('sky',), colors=('car=#ff0000',))

    Attributes:
        merge: `new=a+b` makes one class of several; its id is the smallest of theirs, its color
            that of the class with this id. One class alone gets another name.
        hide: names of classes, after merging, whose pixels are unlabeled.
        colors: `name=#rrggbb` of classes, after merging.

    """

    merge: tuple[str, ...] = ()
    hide: tuple[str, ...] = ()
    colors: tuple[str, ...] = ()

    @property
    def merged(self) -> list[tuple[str, tuple[str, ...]]]:
        """
        New names, and the names of the classes that become one.

        Raises:
            ConfigError: a text of another form, or a name that is in two of them.

        """
        found = [_read_merge(text) for text in filter(None, self.merge)]
        _check_once('classes.merge', (name for _, members in found for name in members))
        _check_once('classes.merge', (new for new, _ in found))
        return found

    @property
    def recolored(self) -> dict[str, tuple[int, int, int]]:
        """
        RGB by the names of classes.

        Raises:
            ConfigError: a text of another form, or a name that is in two of them.

        """
        found = [_read_color(text) for text in filter(None, self.colors)]
        _check_once('classes.colors', (name for name, _ in found))
        return dict(found)

    @property
    def hidden(self) -> tuple[str, ...]:
        """
        Names of classes.

        Raises:
            ConfigError: a name that is there twice.

        """
        found = tuple(filter(None, self.hide))
        _check_once('classes.hide', found)
        return found

    def apply(self, classes: ClassSet) -> tuple[ClassSet, list[int | None]]:
        """
        Edit the classes of a bundle.

        Args:
            classes: of the bundle.

        Returns:
            The classes as masks have them, of the same length; and for every id of the bundle the
            id that it becomes, None for one that is hidden.

        Raises:
            ConfigError: a name that the bundle does not have, or any of the above.

        """
        names, colors = list(classes.names), list(classes.colors)
        became: list[int | None] = list(range(len(names)))
        into: dict[str, str] = {}
        for new, members in self.merged:
            ids = sorted(_id_of('classes.merge', name, classes.names) for name in members)
            if new in classes.names and new not in members:
                msg = f'classes.merge makes a second {shown(new)}: add it with +, or rename it'
                raise ConfigError(msg)
            for number in ids:
                into[classes.names[number]] = new
                names[number] = f'{classes.names[number]} (in {new})'
                became[number] = ids[0]
            names[ids[0]] = new
        absorbed = {number for number, target in enumerate(became) if target != number}
        known = [name for number, name in enumerate(names) if number not in absorbed]
        for name, color in self.recolored.items():
            number = names.index(_known('classes.colors', name, known, into))
            colors[number] = color
        hidden = {names.index(_known('classes.hide', name, known, into)) for name in self.hidden}
        if len(hidden) == len(known):
            msg = f'classes.hide leaves no class of {listed(known)}'
            raise ConfigError(msg)
        became = [None if target in hidden else target for target in became]
        return ClassSet(tuple(names), tuple(colors), frozenset(absorbed | hidden)), became


def syntax_fault(field: str) -> Callable[[Sequence[str]], str]:
    """Return what tells why texts of a field of `ClassEdits` cannot be read."""

    def fault(texts: Sequence[str]) -> str:
        edits = ClassEdits(**{field: tuple(texts)})
        try:
            edits.merged, edits.hidden, edits.recolored  # noqa: B018 - each raises
        except ConfigError as err:
            return str(err)
        return ''

    return fault


def require_class(where: str, name: str, names: Iterable[str]) -> None:
    """
    Check that there is a class of a name.

    Raises:
        ConfigError: there is none; names the nearest one.

    """
    names = list(names)
    if name not in names:
        near = get_close_matches(name, names, 1)
        meant = f' (is it {near[0]}?)' if near else ''
        msg = f'{where} has {shown(name)}{meant}: the bundle has {listed(names)}'
        raise ConfigError(msg)


def _read_merge(text: str) -> tuple[str, tuple[str, ...]]:
    new, _, members = text.partition('=')
    names = tuple(each.strip() for each in members.split('+'))
    if not new.strip() or not all(names):
        msg = f'classes.merge has {shown(text)}: expected new=a+b, such as vehicle=car+truck'
        raise ConfigError(msg)
    return new.strip(), names


def _read_color(text: str) -> tuple[str, tuple[int, int, int]]:
    name, _, color = (part.strip() for part in text.rpartition('='))
    if not name or not _COLOR.fullmatch(color):
        msg = f'classes.colors has {shown(text)}: expected name=#rrggbb, such as road=#804080'
        raise ConfigError(msg)
    red, green, blue = bytes.fromhex(color[1:])
    return name, (red, green, blue)


def _check_once(where: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            msg = f'{where} has {shown(name)} twice'
            raise ConfigError(msg)
        seen.add(name)


def _id_of(where: str, name: str, names: Sequence[str]) -> int:
    require_class(where, name, names)
    return names.index(name)


def _known(where: str, name: str, known: Sequence[str], into: dict[str, str]) -> str:
    """Return a name of a class after merging, or raise ConfigError."""
    if name in into and name not in known:
        msg = (
            f'{where} has {shown(name)}, which classes.merge makes {shown(into[name])}: name that'
        )
        raise ConfigError(msg)
    require_class(where, name, known)
    return name
