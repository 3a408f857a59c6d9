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

"""The parser of commands, and options without effect beside others: refused by a table each."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, SUPPRESS
from collections.abc import Callable, Sequence
from dataclasses import dataclass
import logging
import sys
from typing import Any

from uhr_seg_ros.core.command_help import DefaultsFormatter
from uhr_seg_ros.core.errors import ConfigError

_LOG = logging.getLogger(__name__)

#: Attribute of the parsed arguments: the options that were given, such as ``--bag``, whatever
#: their values.
GIVEN = 'given'


class CommandParser(ArgumentParser):
    """
    A parser of a command.

    It tells which options were given, which their defaults hide, shows defaults in its help, and
    takes names of the last release, with a line that names those of today.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault('formatter_class', DefaultsFormatter)
        super().__init__(*args, **kwargs)
        self.old_names: dict[str, str] = {}
        self._old_places: dict[str, tuple[str, bool]] = {}
        self._told: set[str] = set()

    def keep_old_name(self, old: str, name: str) -> None:
        """Take an option of this parser under the name of the last release too, for this one."""
        self.old_names[old] = name

    def keep_old_place(self, name: str, **options: Any) -> None:
        """
        Take the value of an option without its name too, as in the last release, for this one.

        Args:
            name: of the option, which was declared before.
            options: of the argument, as `type`.
        """
        action = self._option_string_actions[name]
        place = f'old_{action.dest}'
        self._old_places[place] = (name, action.required)
        self.add_argument(place, nargs='?', help=SUPPRESS, **options)

    def parse_known_args(  # type: ignore[override]  # overloads that nobody here needs
        self, args: Sequence[str] | None = None, namespace: Namespace | None = None
    ) -> tuple[Namespace, list[str]]:
        """Parse as usual, and note the names of what was given as ``given``."""
        words = [self._of_today(word) for word in (sys.argv[1:] if args is None else args)]
        self._require_old_places(False)  # which is checked once both are known
        found, rest = super().parse_known_args(words, namespace)
        absent = _Absent()
        probe = Namespace(**{action.dest: absent for action in self._actions})
        super().parse_known_args(words, probe)
        self._require_old_places(True)
        given = {
            action.option_strings[-1]
            for action in self._actions
            if action.option_strings and getattr(probe, action.dest) is not absent
        }
        given |= self._take_old_places(found, rest)
        setattr(found, GIVEN, frozenset(given | getattr(found, GIVEN, frozenset())))
        return found, rest

    def format_help(self) -> str:
        """Show as required what is."""
        self._require_old_places(True)
        return super().format_help()

    def format_usage(self) -> str:
        """Show as required what is."""
        self._require_old_places(True)
        return super().format_usage()

    def _require_old_places(self, required: bool) -> None:
        for name, is_required in self._old_places.values():
            self._option_string_actions[name].required = required and is_required

    def _of_today(self, word: str) -> str:
        name, equals, value = word.partition('=')
        if name not in self.old_names:
            return word
        self._tell(f'{name} goes with the next release, use {self.old_names[name]}')
        return f'{self.old_names[name]}{equals}{value}'

    def _take_old_places(self, found: Namespace, rest: list[str]) -> set[str]:
        given = set()
        for place, (name, required) in self._old_places.items():
            value = vars(found).pop(place, None)
            action = self._option_string_actions[name]
            dest = action.dest
            if value is None and rest and rest[0][:1] != '-':  # it came behind options
                value = self._get_value(action, rest.pop(0))
            if value is not None:
                if getattr(found, dest) != self.get_default(dest):
                    self.error(f'unrecognized arguments: {value}')
                self._tell(
                    f'{value} without {name} goes with the next release, use {name} {value}'
                )
                setattr(found, dest, value)
                given.add(name)
            elif required and getattr(found, dest) is None:
                self.error(f'the following arguments are required: {name}')
        return given

    def _tell(self, text: str) -> None:
        if text not in self._told:  # a command is parsed more than once
            self._told.add(text)
            _LOG.warning('uhr_seg: %s', text)


class _Absent(list):
    """The value of an option that is not given; a list, since options may add to it."""


@dataclass(frozen=True)
class Mode:
    """
    A way to use a command.

    Attributes:
        name: The options that choose it, as users write them, such as ``--bag``; empty for the
            usual way.
        takes: Options that have an effect in it, beside those of its name; separated by spaces.
        holds: Tells from the parsed arguments if this is the way that was chosen.
    """

    name: str
    takes: str
    holds: Callable[[Any], bool] = lambda _: True

    @property
    def options(self) -> frozenset[str]:
        """The options that have an effect."""
        words = (*self.name.split(), *self.takes.split())
        return frozenset(word for word in words if word.startswith('-'))


def refuse_without_effect(arguments: Namespace, *tables: Sequence[Mode]) -> None:
    """
    Refuse options that have no effect beside the others.

    Args:
        arguments: What ``CommandParser`` has parsed; of other origin, nothing is refused.
        tables: Each tells the modes of which one holds, the first of them that says so; the
            last one always. Options that are in none of its modes are not its business.

    Raises:
        ConfigError: Names the option and what it does not go with.
    """
    given: frozenset[str] = getattr(arguments, GIVEN, frozenset())
    for modes in tables:
        mode = next(mode for mode in modes if mode.holds(arguments))
        known = frozenset().union(*(each.options for each in modes))
        if idle := sorted((given & known) - mode.options):
            raise ConfigError(_complaint(idle, mode, modes))


def _complaint(idle: Sequence[str], mode: Mode, modes: Sequence[Mode]) -> str:
    several = len(idle) > 1
    subject = f'{", ".join(idle)} {"have" if several else "has"} no effect'
    if mode.name:
        it = 'them' if several else 'it'
        return f'{subject} beside {mode.name}: leave {it} out, or call without {mode.name}'
    ways = [
        [word for word in each.name.split() if word not in idle]
        for each in modes
        if idle[0] in each.options
    ]
    shortest = [way for way in ways if not any(set(other) < set(way) for other in ways)]
    return f'{subject} without {" or ".join(dict.fromkeys(map(" ".join, shortest)))}'
