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
List the texts of all errors of the package, as docs/errors.md has them.

    python -m tools.error_texts                           # print them
    python -m tools.error_texts --update docs/errors.md

They come from the source: what a `raise` of an error of the package, or of a wrong argument, is
given. Values are shown by their names, such as <path>.
"""

from __future__ import annotations

import argparse
import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
import re
import sys

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'uhr_seg_ros'

#: Raised beside the errors of the package: for wrong arguments, within a file, and by functions
#: that are given the error or make it.
OTHERS = {'ArgumentTypeError', 'Damaged', 'error', 'error_class'}

_MATTERS = re.compile(r'\braise [\w.]+\(|^class .*Error\)', re.MULTILINE)

# Where statements have statements in them.
_PARTS = ('body', 'orelse', 'handlers', 'finalbody', 'cases')

# Shorter texts are only passed on.
_SHORTEST = 12


@cache
def _trees() -> dict[Path, ast.Module]:
    texts = {path: path.read_text(encoding='utf-8') for path in sorted(PACKAGE.rglob('*.py'))}
    # Parsing takes the time; the others neither raise nor derive an error.
    return {path: ast.parse(text) for path, text in texts.items() if _MATTERS.search(text)}


def error_classes() -> set[str]:
    """Return the names of all errors of the package, and of what makes one."""
    found, known = {'UhrSegError'}, 0
    bases = {
        node.name: {ast.unparse(base) for base in node.bases}
        for tree in _trees().values()
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    }
    while known != len(found):
        known = len(found)
        found |= {name for name, above in bases.items() if above & found}
    return found | OTHERS


def texts_of(tree: ast.AST, classes: set[str]) -> Iterator[str]:
    """Yield the texts of errors of a module, in its order."""
    for scope in _functions(tree):
        assigned: defaultdict[str, list[ast.expr]] = defaultdict(list)
        for node in _own(scope):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                assigned[node.targets[0].id].append(node.value)
            elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                yield from _raised(node.exc, assigned, classes)
                assigned.clear()


def _functions(scope: ast.AST) -> Iterator[ast.AST]:
    """Yield the functions of a module or a class and those within; expressions hold none."""
    for part in _PARTS:
        for node in getattr(scope, part, ()):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node
            yield from _functions(node)


def _own(scope: ast.AST) -> Iterator[ast.AST]:
    """Yield the statements of a function without those of functions in it."""
    for part in _PARTS:
        for node in getattr(scope, part, ()):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield node
                yield from _own(node)


def _raised(
    call: ast.Call, assigned: dict[str, list[ast.expr]], classes: set[str]
) -> Iterator[str]:
    if ast.unparse(call.func).rpartition('.')[2] not in classes:
        return
    for argument in call.args:
        values = assigned[argument.id] if isinstance(argument, ast.Name) else [argument]
        for value in values:
            text = ' '.join(shown(value).split())
            if len(re.sub('<[^>]*>', '', text)) >= _SHORTEST:
                yield text


def shown(value: ast.expr) -> str:
    """Return a text with the names of its values in place of them; empty if it is none."""
    if isinstance(value, ast.Constant):
        return value.value if isinstance(value.value, str) else ''
    if isinstance(value, ast.JoinedStr):
        return ''.join(
            str(part.value) if isinstance(part, ast.Constant) else f'<{_name(part)}>'
            for part in value.values
        )
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
        return shown(value.left) + shown(value.right)
    if isinstance(value, ast.IfExp):
        return shown(value.body)
    return ''


def _name(part: ast.expr) -> str:
    """Name a value by the last word of its expression that tells something."""
    source = ast.unparse(part.value) if isinstance(part, ast.FormattedValue) else ''
    words = re.findall(r'[A-Za-z_]{2,}', re.sub(r"'[^']*'", '', source))
    known = [word for word in words if word not in _EMPTY_WORDS]
    return known[-1].strip('_').replace('_', ' ') if known else '...'


_EMPTY_WORDS = {
    'None',
    'join',
    'shown',
    'len',
    'map',
    'str',
    'if',
    'else',
    'or',
    'in',
    'for',
    'self',
    'err',
}


def by_room() -> dict[str, list[str]]:
    """Return the texts of every room in the order of letters, none twice."""
    classes = error_classes()
    rooms: defaultdict[str, set[str]] = defaultdict(set)
    for path, tree in _trees().items():
        rooms[path.relative_to(PACKAGE).parts[0]].update(texts_of(tree, classes))
    return {room: sorted(texts, key=_letters) for room, texts in sorted(rooms.items()) if texts}


def _letters(text: str) -> tuple[str, str]:
    return re.sub('<[^>]*>', '', text).strip().lower(), text


def page() -> str:
    """Return docs/errors.md."""
    lines = [_HEAD]
    for room, texts in by_room().items():
        lines += [f'## {room}', '', '```', *texts, '```', '']
    return '\n'.join(lines)


_HEAD = """\
# Texts of errors

Every text that ends a command, refuses a parameter or leaves out a picture, by the room of the
package that says it. `<...>` stands for a value: search for the words between the values.
[Troubleshooting](troubleshooting.md) has the frequent ones with their ways out.
`python -m tools.error_texts --update docs/errors.md` writes this page.
"""


def main(arguments: list[str] | None = None) -> int:
    """Print the page, or write it; the exit code is 0."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('--update', type=Path, metavar='FILE', help='write the page to this file')
    options = parser.parse_args(arguments)
    if options.update:
        options.update.write_text(page(), encoding='utf-8')
    else:
        print(page(), end='')
    return 0


if __name__ == '__main__':
    sys.exit(main())
