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

"""Values that come from files, as texts of errors show them: one short line each."""

from __future__ import annotations

from collections.abc import Iterable
import reprlib

#: Longest value that is shown, characters.
MAX_SHOWN = 120

#: Longest text of an error about a file, characters.
MAX_TEXT = 1000


class _Short(reprlib.Repr):
    """Shows the beginning of what is long, deep or wide."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = self.maxfrozenset = 6
        self.maxstring = self.maxlong = self.maxother = MAX_SHOWN


_SHORT = _Short()


def shown(value: object, most: int = MAX_SHOWN) -> str:
    """
    Show a value in one line: a path or a name of ordinary characters as `repr` shows it.

    Args:
        value: any.
        most: longest result, characters.

    """
    if isinstance(value, str):
        return shortened(repr(value[: 2 * most]) if len(value) > 2 * most else repr(value), most)
    try:
        return shortened(_SHORT.repr(value), most)
    except (ValueError, RecursionError):  # such as a number that is too long for decimal digits
        return f'<{type(value).__name__}>'


def shortened(text: str, most: int = MAX_TEXT) -> str:
    """Leave out the middle of a text that is too long; the way out stands at its end."""
    if len(text) <= most:
        return text
    end = (most - 5) // 3
    return f'{text[: most - 5 - end]} ... {text[-end:]}'


def printable(text: str) -> str:
    """Put a question mark in the place of what cannot be printed."""
    return ''.join(each if each.isprintable() else '?' for each in text)


def one_line(text: object, most: int = MAX_TEXT) -> str:
    """Bring the text of somebody else's error into one short line."""
    # No more than this is looked at, or a long text would take long.
    words = ' '.join(str(text)[: 20 * most].split())
    return shortened(printable(words), most)


def listed(names: Iterable[object], most: int = 300) -> str:
    """Join names by commas, as many as fit."""
    return shortened(', '.join(map(str, names)), most)
