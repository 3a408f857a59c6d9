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
Count and draw the rooms of the package and who imports whom.

    python -m tools.structure                       # the working tree
    python -m tools.structure 401f757 .             # a commit beside it
    python -m tools.structure 401f757 . --titles before now \
      --image docs/images/structure.svg --update docs/architecture.md

A room is what lies directly in the package: a folder with all below it, or a module. An arrow
leads from a room to another one that it imports, wherever in its files. The floor of a room is one
above the highest room that it imports; rooms that import each other share a floor, and are named.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
import io
from pathlib import Path, PurePosixPath
import statistics
import subprocess
import sys
import tarfile

PACKAGE = 'uhr_seg_ros'
ROOT = Path(__file__).resolve().parents[1]
#: What is around the table in a document.
MARK = 'tools.structure'


@dataclass(frozen=True)
class Structure:
    """
    Rooms and arrows of one version.

    Attributes:
        title: What the version is called.
        rooms: Name of each room -> its files.
        arrows: Room and imported room -> how many imports.
        lines: Lines of each file of the package, without the license header.

    """

    title: str
    rooms: dict[str, list[str]]
    arrows: dict[tuple[str, str], int]
    lines: list[int]

    def below(self, room: str) -> set[str]:
        """Return the rooms that a room imports."""
        return {target for source, target in self.arrows if source == room}

    def cycles(self) -> list[set[str]]:
        """Return the groups of rooms that import each other, in a circle."""
        reached = {room: _reached(room, self.below) for room in self.rooms}
        groups = {
            frozenset(other for other in seen if room in reached[other])
            for room, seen in reached.items()
            if room in seen
        }
        return [set(group) for group in sorted(groups, key=sorted)]

    def floors(self) -> dict[str, int]:
        """Return the floor of each room, from 1."""
        reached = {room: _reached(room, self.below) for room in self.rooms}
        floors: dict[str, int] = {}

        def floor(room: str) -> int:
            if room not in floors:
                group = {other for other in reached[room] if room in reached[other]} | {room}
                lower = {target for member in group for target in self.below(member)} - group
                height = 1 + max((floor(target) for target in lower), default=0)
                floors.update(dict.fromkeys(group, height))
            return floors[room]

        for room in self.rooms:
            floor(room)
        return floors


def _reached(room: str, below: Callable[[str], Iterable[str]]) -> set[str]:
    """Return every room that can be reached along arrows from a room."""
    seen: set[str] = set()
    waiting = list(below(room))
    while waiting:
        target = waiting.pop()
        if target not in seen:
            seen.add(target)
            waiting += below(target)
    return seen


def read_tree(version: str) -> dict[str, str]:
    """
    Read the Python files of the package.

    Args:
        version: A commit, or `.` for the working tree.

    Returns:
        Path in the repository -> text.

    """
    if version == '.':
        files = sorted((ROOT / PACKAGE).rglob('*.py'))
        return {file.relative_to(ROOT).as_posix(): file.read_text('utf-8') for file in files}
    command = ['git', 'archive', '--format=tar', version, PACKAGE]
    archive = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    texts = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            content = tar.extractfile(member)
            if content is not None and member.name.endswith('.py'):
                texts[member.name] = content.read().decode('utf-8')
    return texts


def room_of(path: str) -> str | None:
    """Return the room of a file, None for the `__init__.py` of the package itself."""
    first = PurePosixPath(path).parts[1]
    return None if first == '__init__.py' else first.removesuffix('.py')


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the names of the package that a file imports, relative to the package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f'{node.module}.{alias.name}' for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            if name.startswith(f'{PACKAGE}.'):
                yield name.removeprefix(f'{PACKAGE}.')


def measure(title: str, texts: Mapping[str, str]) -> Structure:
    """Find rooms and arrows in the files of a version."""
    rooms: dict[str, list[str]] = {}
    for path in sorted(texts):
        room = room_of(path)
        if room:
            rooms.setdefault(room, []).append(path)
    arrows: dict[tuple[str, str], int] = {}
    for room, paths in rooms.items():
        for path in paths:
            for name in imported(ast.parse(texts[path])):
                target = name.partition('.')[0]
                if target in rooms and target != room:
                    arrows[room, target] = arrows.get((room, target), 0) + 1
    lines = [_length(text) for text in texts.values()]
    return Structure(title, rooms, arrows, lines)


def _length(text: str) -> int:
    """Return how many lines a file has below its license header."""
    lines = text.splitlines()
    return len(lines) - next((n for n, line in enumerate(lines) if line[:1] != '#'), len(lines))


def figures(structure: Structure) -> dict[str, str]:
    """Return what is compared between versions."""
    lines = sorted(structure.lines)
    short = sum(count < 100 for count in lines)
    return {
        'rooms': str(len(structure.rooms)),
        'floors': str(max(structure.floors().values())),
        'arrows': str(len(structure.arrows)),
        'rooms that import each other': str(sum(map(len, structure.cycles()))),
        'files': str(len(lines)),
        'files with fewer than 100 lines': f'{short} ({short / len(lines):.0%})',
        'lines of a file: median, 90 %': f'{statistics.median(lines):.0f}, '
        f'{lines[int(0.9 * len(lines))]}',
    }


def table(structures: list[Structure]) -> str:
    """Return the figures as a table in Markdown."""
    columns = [figures(structure) for structure in structures]
    rows = ['| | ' + ' | '.join(structure.title for structure in structures) + ' |']
    rows.append('|---' * (len(structures) + 1) + '|')
    rows += [
        f'| {key} | ' + ' | '.join(each[key] for each in columns) + ' |' for key in columns[0]
    ]
    return '\n'.join(rows)


def update(file: Path, text: str) -> None:
    """Replace what stands between the two marks in a document."""
    before, start, rest = file.read_text('utf-8').partition(f'<!-- {MARK} -->\n')
    _, end, after = rest.partition(f'<!-- end of {MARK} -->')
    if not end:
        msg = f'{file} has no marks: expected <!-- {MARK} --> and <!-- end of {MARK} -->'
        raise SystemExit(msg)
    file.write_text(f'{before}{start}{text}\n{end}{after}', 'utf-8')


def layout(structure: Structure) -> dict[str, tuple[float, float]]:
    """Place the rooms: x from 0 to 1 along a floor, ordered to shorten arrows; y is the floor."""
    floors = structure.floors()
    order = {
        floor: sorted(room for room in structure.rooms if floors[room] == floor)
        for floor in sorted(set(floors.values()))
    }

    def positions() -> dict[str, float]:
        return {
            room: (index + 1) / (len(rooms) + 1)
            for rooms in order.values()
            for index, room in enumerate(rooms)
        }

    neighbors: dict[str, set[str]] = {room: set() for room in structure.rooms}
    for source, target in structure.arrows:
        neighbors[source].add(target)
        neighbors[target].add(source)
    for _ in range(20):
        for floor, rooms in order.items():
            x = positions()

            def middle(room: str, x: dict[str, float] = x) -> float:
                return statistics.fmean([x[other] for other in neighbors[room]] or [x[room]])

            order[floor] = sorted(rooms, key=middle)
    return {room: (x, floors[room]) for room, x in positions().items()}


def draw(structures: list[Structure], file: Path) -> None:
    """Draw floors, rooms and arrows side by side; arrows that skip floors are paler."""
    import matplotlib

    matplotlib.use('agg')
    matplotlib.rcParams |= {'svg.hashsalt': PACKAGE, 'svg.fonttype': 'none'}
    import matplotlib.pyplot as plt

    highest = max(max(each.floors().values()) for each in structures)
    figure, axes = plt.subplots(
        1, len(structures), figsize=(7.5 * len(structures), 1 + 0.72 * highest), squeeze=False
    )
    for axis, structure in zip(axes[0], structures, strict=True):
        places = layout(structure)
        for (source, target), _ in sorted(structure.arrows.items()):
            (x0, y0), (x1, y1) = places[source], places[target]
            near = abs(y0 - y1) <= 1
            bend = 0.0 if near else 0.12 if x1 >= x0 else -0.12
            axis.annotate(
                '',
                xy=(x1, y1 + 0.17),
                xytext=(x0, y0 - 0.17),
                arrowprops={
                    'arrowstyle': '-|>',
                    'color': '#1f5a96' if near else '#9db4cc',
                    'linewidth': 1.0 if near else 0.6,
                    'shrinkA': 0,
                    'shrinkB': 0,
                    'connectionstyle': f'arc3,rad={bend}',
                },
                zorder=2 if near else 1,
            )
        for room, (x, y) in places.items():
            axis.text(
                x,
                y,
                f'{room} {len(structure.rooms[room])}',
                ha='center',
                va='center',
                fontsize=8,
                bbox={
                    'boxstyle': 'round,pad=0.25',
                    'facecolor': '#f4f1e8',
                    'edgecolor': '#444444',
                },
                zorder=3,
            )
        counts = figures(structure)
        axis.set_title(
            f'{structure.title}: {counts["rooms"]} rooms, {counts["floors"]} floors, '
            f'{counts["arrows"]} arrows',
            fontsize=11,
        )
        axis.set_xlim(0, 1)
        axis.set_ylim(0.5, highest + 0.5)
        axis.set_yticks(range(1, highest + 1))
        axis.set_xticks([])
        axis.tick_params(length=0, labelsize=8, labelcolor='#777777')
        for spine in axis.spines.values():
            spine.set_visible(False)
    figure.text(
        0.5,
        0.005,
        'A number is how many files a room has.',
        ha='center',
        fontsize=8,
        color='#777777',
    )
    figure.tight_layout(rect=(0, 0.02, 1, 1))
    metadata = {'Date': None} if file.suffix == '.svg' else None
    figure.savefig(file, dpi=110, metadata=metadata)


def main(arguments: list[str] | None = None) -> int:
    """Print the table, and draw it if a file is named."""
    parser = argparse.ArgumentParser(description='Rooms of the package and who imports whom.')
    parser.add_argument(
        'versions', nargs='*', default=['.'], help='commits; . is the working tree'
    )
    parser.add_argument('--image', type=Path, metavar='FILE', help='an SVG or PNG file to draw to')
    parser.add_argument('--titles', nargs='+', metavar='TEXT', help='names of the versions')
    parser.add_argument(
        '--update', type=Path, metavar='FILE', help='a document that holds the table'
    )
    options = parser.parse_args(arguments)
    titles = options.titles or ['now' if each == '.' else each for each in options.versions]
    if len(titles) != len(options.versions):
        parser.error(f'{len(options.versions)} versions, but {len(titles)} titles')
    structures = [
        measure(title, read_tree(version))
        for title, version in zip(titles, options.versions, strict=True)
    ]
    print(table(structures))
    for structure in structures:
        for group in structure.cycles():
            print(f'{structure.title}: import each other: {", ".join(sorted(group))}')
    newest = structures[-1]
    floors = newest.floors()
    print(f'\nRooms of {newest.title}, floor by floor:')
    for floor in sorted(set(floors.values()), reverse=True):
        for room in sorted(room for room in newest.rooms if floors[room] == floor):
            below = ', '.join(sorted(newest.below(room))) or 'nothing'
            print(f'{floor}  {room} ({len(newest.rooms[room])} files) imports {below}')
    if options.update:
        update(options.update, table(structures))
    if options.image:
        draw(structures, options.image)
    return 0


if __name__ == '__main__':
    sys.exit(main())
