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

"""`uhr_seg cache`: what lies in the engine cache, and making room."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table

from uhr_seg_ros.backends.tensorrt.cache import EngineCache, Entry
from uhr_seg_ros.cli.arguments import add_cache
from uhr_seg_ros.core.command_line import CommandParser


def add_arguments(parser: CommandParser) -> None:
    """Declare the arguments of the command."""
    actions = parser.add_subparsers(dest='action', metavar='ACTION', required=True)
    listing = actions.add_parser('list', help='show what was built, the last used first')
    pruning = actions.add_parser('prune', help='remove what was not used for longest')
    pruning.add_argument('--keep-mb', type=float, default=0.0, metavar='MB', help='keep this much')
    pruning.keep_old_name('--keep', '--keep-mb')
    for action in (listing, pruning):
        add_cache(action)


def run(args: argparse.Namespace) -> int:
    """List or remove entries."""
    cache, console = EngineCache(args.cache), Console()
    if args.action == 'list':
        entries = cache.entries()
        if entries:
            console.print(_table(entries, str(cache.directory)))
        total = sum(entry.size for entry in entries) / 1e6
        console.print(f'{len(entries)} entries, {total:.0f} MB: {cache.directory}', soft_wrap=True)
        return 0
    removed = cache.prune(args.keep_mb)
    total = sum(entry.size for entry in removed) / 1e6
    console.print(
        f'removed {len(removed)} entries, {total:.0f} MB: {cache.directory}', soft_wrap=True
    )
    return 0


def _table(entries: Sequence[Entry], title: str) -> Table:
    table = Table('what', 'kind', 'made by', 'agreement', 'MB', 'last used', title=title)
    for entry in entries:
        fields = entry.facts.get('fields', {})
        agreement = entry.facts.get('agreement')
        table.add_row(
            entry.facts.get('name', entry.path.name),
            entry.facts.get('kind', '?'),
            ', '.join(filter(None, (fields.get('tensorrt'), fields.get('gpu')))),
            '' if agreement is None else f'{agreement:.3%}',
            f'{entry.size / 1e6:.1f}',
            datetime.fromtimestamp(entry.used).strftime('%Y-%m-%d %H:%M'),
        )
    return table
