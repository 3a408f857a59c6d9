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

"""docs/commands.md has a line for every command and subcommand, and for no other."""

from __future__ import annotations

from pathlib import Path
import re

from uhr_seg_ros.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]

#: Command -> what its subcommands are called in the source; others have none.
TABLES = {'benchmark': r"^    '([\w-]+)': Kind\(", 'budget': r"^    '(\w+)': Part\("}
TABLES['cache'] = r"actions\.add_parser\('(\w+)'"


def subcommands(command: str) -> list[str]:
    """Read them without the packages that a command imports."""
    source = ROOT / 'uhr_seg_ros/cli' / f'{command}.py'
    return re.findall(TABLES[command], source.read_text(encoding='utf-8'), re.MULTILINE)


def test_every_command_is_on_the_page() -> None:
    page = (ROOT / 'docs/commands.md').read_text(encoding='utf-8')
    listed = re.findall(r'^\| `uhr_seg ((?:[\w-]+ ?)+)` \|', page, re.MULTILINE)
    listed = [each for each in listed if ' --' not in each]  # a second form of a command
    known = []
    for command in COMMANDS:
        if command in TABLES:
            assert len(subcommands(command)) > 1
            known += [f'{command} {name}' for name in subcommands(command)]
        else:
            known.append(command)
    assert sorted(listed) == sorted(known)
