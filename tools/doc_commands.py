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

"""Every shell command in README.md, CONTRIBUTING.md, docs/ and models/, as words of a shell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
import re
import shlex

ROOT = Path(__file__).resolve().parents[1]

#: Where documents lie; the history in CHANGELOG.rst names commands of its time.
PAGES = ('README.md', 'CONTRIBUTING.md', 'docs/**/*.md', 'models/**/*.md')

#: A page of texts out of the source, in which commands are cut and have places to fill.
_NOT_WRITTEN_BY_HAND = ('docs/errors.md',)

_BLOCK = re.compile(r'^( *)```(?:bash|sh|console|shell)\n(.*?)^ *```', re.MULTILINE | re.DOTALL)
_OTHER_BLOCK = re.compile(r'^( *)```.*?^ *```', re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r'`([^`]+)`')

#: Programs by which a span in a sentence is known as a command.
_IS_COMMAND = re.compile(
    r'(?:\.venv/bin/)?(?:uhr_seg|ros2|bash|python3? -m|segmentation_node|torchrun) '
)

#: What a shell puts in place of words, as far as documents need it.
_FILLED = {
    r'\$\(ros2 pkg prefix --share uhr_seg_ros\)': str(ROOT),
    r'\$PWD/': '',
    r'"?\$OUT"?': 'out',
}


@dataclass(frozen=True)
class Command:
    """
    A command of a document.

    Attributes:
        page: path below the root.
        line: where it begins, from 1.
        words: of the command, without variables, redirections and comments; a word in brackets,
            which may be left out, is there without them.
        variables: what is set before it, as `OUT=piece1`.
        whole: it stands in a block and can be typed; else it is named in a sentence, where words
            may be missing.

    """

    page: str
    line: int
    words: tuple[str, ...]
    variables: tuple[str, ...] = ()
    whole: bool = True

    @property
    def text(self) -> str:
        """The words, as one types them."""
        return shlex.join(self.words)

    @property
    def place(self) -> str:
        """Where it stands, as editors jump to it."""
        return f'{self.page}:{self.line}'


def pages(root: Path = ROOT) -> list[Path]:
    """Return the documents, in a fixed order."""
    found = (page for pattern in PAGES for page in sorted(root.glob(pattern)))
    return [page for page in found if str(page.relative_to(root)) not in _NOT_WRITTEN_BY_HAND]


def commands(root: Path = ROOT) -> list[Command]:
    """Return the commands of all documents, in the order of the pages."""
    return [command for page in pages(root) for command in commands_of(page, root)]


def commands_of(page: Path, root: Path = ROOT) -> list[Command]:
    """Return the commands of a page, blocks and sentences, in their order."""
    text, name = page.read_text(encoding='utf-8'), str(page.relative_to(root))
    found = []
    for block in _BLOCK.finditer(text):
        first = text.count('\n', 0, block.start(2)) + 1
        found += [
            command
            for offset, one in _split(block[2])
            for command in _read(name, first + offset, one, whole=True)
        ]
    sentences = _OTHER_BLOCK.sub(lambda block: re.sub(r'[^\n]', ' ', block[0]), text)
    for span in _SPAN.finditer(sentences):
        one = re.sub(r'\s+', ' ', span[1]).strip()
        if _IS_COMMAND.match(one):
            line = text.count('\n', 0, span.start()) + 1
            found += _read(name, line, one, whole=False)
    return sorted(found, key=lambda command: command.line)


def _split(block: str) -> Iterator[tuple[int, str]]:
    """Yield the commands of a block with the number of their first line, from 0."""
    lines: list[str] = []
    start = 0
    for number, line in enumerate(block.splitlines()):
        if not lines:
            start = number
        lines.append(line)
        text = '\n'.join(lines)
        if line.endswith('\\') or _is_open(text):
            continue
        yield start, text
        lines = []
    if lines:
        msg = f'a command never ends: {lines[0]!r}'
        raise ValueError(msg)


def _is_open(text: str) -> bool:
    try:
        shlex.split(text, comments=True)
    except ValueError:  # a quotation that is not closed
        return True
    return False


def _read(page: str, line: int, text: str, *, whole: bool) -> Iterator[Command]:
    """Yield the commands of a line, which `&&` may join."""
    for pattern, filled in _FILLED.items():
        text = re.sub(pattern, filled.replace('\\', r'\\'), text)
    words = shlex.split(text.replace('\\\n', ' '), comments=True)
    for part in _parts(words):
        count = next((i for i, word in enumerate(part) if not re.match(r'[A-Z_]+=', word)), 0)
        variables, rest = part[:count], [_bare(word) for word in part[count:]]
        rest = [word for word in rest if word != '...']
        if rest:
            yield Command(page, line, tuple(rest), tuple(variables), whole)


def _parts(words: list[str]) -> Iterator[list[str]]:
    """Cut at `&&` and pipes, and leave out where the output goes to."""
    part: list[str] = []
    target = False
    for word in [*words, '&&']:
        if word in ('&&', '|', ';'):
            yield part
            part = []
        elif not target and word != '>':
            part.append(word)
        target = word == '>'


def _bare(word: str) -> str:
    """Take the brackets of what may be left out off a word; those of a list stay."""
    if word.startswith('[-') or re.fullmatch(r'[^\[\]]+\]', word):
        return word.strip('[]')
    return word
