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

"""The HTML report: complete, harmless, and on its own."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
import re

import pytest

pytest.importorskip('onnx', reason='the tiny bundle is made with onnx')

from tiny_bundle import make_tiny_bundle, TINY_CLASSES
from tiny_sets import write_set

from uhr_seg_ros.cli.main import main
from uhr_seg_ros.core.classes import ClassSet


class Page(HTMLParser):
    """Collects the tags, and checks that they are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.text = ''
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value for name, value in attrs if name in ('src', 'href') and value]
        if tag not in ('meta', 'img', 'br'):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ('red', 'green', '<b>blue</b>')
    classes = ClassSet(names, TINY_CLASSES.colors)
    bundle = make_tiny_bundle(tmp_path / 'bundle', classes, name='tiny <i>small</i>')
    root = write_set(tmp_path / 'set', names)
    path = tmp_path / 'out' / 'report.html'
    command = ['evaluate', '--bundle', str(bundle), '--dataset', 'folder', '--split', 'all']
    assert main([*command, '--root', str(root), '--report', str(path), '--mode', 'slide']) == 0
    text = path.read_text(encoding='utf-8')
    page = Page(text)
    assert page.open == []
    # Two images and one tile of each, in four pictures.
    assert len(page.sources) == 16
    assert all(source.startswith('data:image/') for source in page.sources)
    assert not re.search(r'https?:|<script|<link|@import|url\(', text)
    assert '<b>blue' not in text
    assert '<b>blue</b>' in page.text
    assert page.text.count('tiny <i>small</i> on folder all') == 2
    for heading in ('Confusion matrix', 'Worst tiles', 'Settings'):
        assert heading in page.text
    figure = re.search(r'([\d.]+)\s*mean IoU', page.text).group(1)
    assert f'mean IoU {figure}' in capsys.readouterr().out
