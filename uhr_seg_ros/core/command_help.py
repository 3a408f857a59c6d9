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

"""What `--help` of every command shows: each option with its default, and examples."""

from __future__ import annotations

from argparse import Action, HelpFormatter, SUPPRESS
from collections.abc import Iterable
import math
from typing import Any


class DefaultsFormatter(HelpFormatter):
    """Adds the default to the help of every option that has one, and leaves examples as lines."""

    def _get_help_string(self, action: Action) -> str | None:
        text = action.help
        if not text or not shows_default(action) or 'default: ' in text:
            return text
        return f'{text} (default: {format_default(action.default)})'.replace('%)', '%%)')

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if '\n' not in text:
            return super()._fill_text(text, width, indent)
        return ''.join(indent + line for line in text.splitlines(keepends=True))


def shows_default(action: Action) -> bool:
    """Tell if there is something that happens where an option or argument is left out."""
    if action.required or action.nargs == 0 or action.default is SUPPRESS:
        return False
    return bool(action.option_strings) or action.default is not None


def format_default(value: Any) -> str:
    """
    Write the default of an option as a user would give it.

    Args:
        value: (height, width) is a size, infinity no limit, nothing `none`.
    """
    if value is None or value in ('', [], ()):
        return 'none'
    if value == math.inf:
        return 'no limit'
    if isinstance(value, tuple | list):
        if len(value) == 2 and isinstance(value, tuple) and all(type(v) is int for v in value):
            return f'{value[1]}x{value[0]}'
        return ' '.join(map(format_default, value))
    return f'{value:g}' if isinstance(value, float) else str(value)


def examples_text(commands: Iterable[str]) -> str:
    """Return the end of a help: a command per line."""
    return 'examples:\n' + '\n'.join(f'  {each}' for each in commands)
