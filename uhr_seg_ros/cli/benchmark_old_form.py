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

"""`uhr_seg benchmark` as it was called before it had subcommands; goes with the next release."""

from __future__ import annotations

from collections.abc import Container, Sequence
import logging
import shlex

from uhr_seg_ros.core.errors import ConfigError

_LOG = logging.getLogger(__name__)

#: Flag that chose what is measured -> how many values it has; the first that is there decides.
FLAGS = {'--compare': 2, '--bag': 1, '--torch': 1, '--transport': 0, '--cloud': 0, '--node': 0}

#: Counted only with `--bag`.
OFFLINE = '--offline'

#: Options that flags could be mistaken for when they are cut short.
_OTHERS = (
    '--backend',
    '--bundle',
    '--duration',
    '--help',
    '--json',
    '--memory-limit-mb',
    '--points',
    '--precision',
    '--prefix',
    '--processes',
    '--rate',
    '--repeat',
    '--report',
    '--size',
    '--threads',
    '--topic',
)


def to_subcommand(words: Sequence[str], kinds: Container[str]) -> Sequence[str]:
    """
    Turn the earlier form into the one with a subcommand, and name that in one line.

    Args:
        words: what follows `uhr_seg benchmark`.
        kinds: the subcommands.

    Returns:
        The words of the new form; those that begin with a subcommand or ask for help as they are.

    Raises:
        ConfigError: flags that exclude each other.

    """
    if words and (words[0] in kinds or words[0] in ('-h', '--help') or words[0][:1] != '-'):
        return words
    flags, rest = _split(words)
    chosen = next((flag for flag in FLAGS if flag in flags), '')
    idle = [flag for flag in flags if flag not in (chosen, OFFLINE if chosen == '--bag' else '')]
    if idle:
        beside = f'beside {chosen}' if chosen else 'without --bag'
        msg = f'{", ".join(idle)} has no effect {beside}: see `uhr_seg benchmark --help`'
        raise ConfigError(msg)
    kind = chosen.removeprefix('--') or 'stages'
    if OFFLINE in flags:
        kind = 'offline'
    values = list(flags.get(chosen, []))
    if chosen == '--torch':
        values = ['--network', *values]
    if OFFLINE in flags:
        values += ['--output', *flags[OFFLINE]]
    updated = [kind, *values, *rest]
    _LOG.warning(
        'uhr_seg: `benchmark` without a subcommand goes with the next release, use: '
        'uhr_seg benchmark %s',
        shlex.join(updated),
    )
    return updated


def _split(words: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Return the flags with their values, and all other words in their order."""
    counts = {**FLAGS, OFFLINE: 1}
    flags: dict[str, list[str]] = {}
    rest: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        name, has_value, value = word.partition('=')
        flag = _full_name(name, (*counts, *_OTHERS))
        if flag not in counts:
            rest.append(word)
            continue
        values = [value] if has_value else []
        missing = counts[flag] - len(values)
        flags[flag] = [*values, *left[:missing]]
        del left[:missing]
        if len(flags[flag]) != counts[flag]:
            msg = f'{flag} needs {counts[flag]} values'
            raise ConfigError(msg)
    return flags, rest


def _full_name(name: str, options: Sequence[str]) -> str:
    """Complete an option that is cut short, as argparse does."""
    if name in options:
        return name
    found = [each for each in options if name.startswith('--') and each.startswith(name)]
    return found[0] if len(found) == 1 else name
