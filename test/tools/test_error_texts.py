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

"""The pages of errors and the source say the same."""

from __future__ import annotations

import ast
import re

from tools.error_texts import error_classes, page, ROOT, texts_of

DOCS = ROOT / 'docs'


def test_page_has_the_errors_of_the_source() -> None:
    """`python -m tools.error_texts --update docs/errors.md` writes what is missing."""
    assert (DOCS / 'errors.md').read_text(encoding='utf-8') == page()


def test_frequent_errors_are_errors() -> None:
    """The first cell of a line quotes a text; three dots stand for what is between two parts."""
    texts = [re.sub('<[^>]*>', '', line) for line in page().splitlines()]
    quoted = re.findall(r'^\| `(.+?)` \|', (DOCS / 'troubleshooting.md').read_text(), re.M)
    assert len(quoted) > 30
    for quote in quoted:
        pattern = '.*'.join(re.escape(part.strip()) for part in quote.split('...'))
        assert any(re.search(pattern, text) for text in texts), quote


def test_texts_of_a_module() -> None:
    source = (
        'def read(path, count):\n'
        '    if count:\n'
        "        msg = f'{path.name} holds {len(count)} of the files'\n"
        '        if count > 3:\n'
        "            msg = f'{path} has too many of them: ' f'remove {shown(count)}'\n"
        '        raise ConfigError(msg) from None\n'
        "    raise ValueError('of somebody else')\n"
        '    def inner():\n'
        "        raise RecordingError('no such file at all')\n"
    )
    assert sorted(texts_of(ast.parse(source), error_classes())) == [
        '<name> holds <count> of the files',
        '<path> has too many of them: remove <count>',
        'no such file at all',
    ]
