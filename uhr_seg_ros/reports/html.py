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

"""Parts of HTML reports: one style sheet inside the page, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
import json

STYLE = """
:root { --ink: #1c2430; --soft: #5c6776; --line: #dde2e9; --back: #f5f7f9; --hue: #2b6cb0; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 24px 20px 60px; }
h1 { font-size: 26px; line-height: 1.25; margin: 8px 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 36px 0 6px; }
p { margin: 4px 0 12px; max-width: 80ch; }
.soft { color: var(--soft); }
.cards { display: grid; gap: 10px; margin: 20px 0;
  grid-template-columns: repeat(4, 1fr); }
.card, .panel { background: #fff; border: 1px solid var(--line); border-radius: 8px; }
.card { padding: 10px 14px; }
.card b { display: block; font-size: 25px; line-height: 1.3; font-variant-numeric: tabular-nums; }
.card span { color: var(--soft); font-size: 13px; }
.panel { padding: 6px 14px; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 8px; text-align: right; white-space: nowrap; }
th { color: var(--soft); font-weight: 600; font-size: 13px; }
th:first-child, td:first-child { text-align: left; }
tr > th:first-child { position: sticky; left: 0; background: #fff; }
tbody tr + tr > * { border-top: 1px solid var(--line); }
tbody th { color: var(--ink); font-size: 15px; font-weight: 500; }
tr.mean > * { font-weight: 700; border-top: 2px solid var(--line); }
.swatch { display: inline-block; width: 12px; height: 12px; border-radius: 3px;
  margin-right: 7px; vertical-align: -1px; border: 1px solid rgba(0, 0, 0, .25); }
.charts { display: grid; gap: 12px; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); }
.charts h3 { font-size: 14px; margin: 6px 0; }
.bar { display: grid; grid-template-columns: 110px 1fr 44px; gap: 8px; align-items: center;
  font-size: 13px; margin: 4px 0; }
.bar i { display: block; height: 13px; border-radius: 2px; min-width: 1px;
  border: 1px solid rgba(0, 0, 0, .25); }
.bar span:first-child { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.bar span:last-child { text-align: right; font-variant-numeric: tabular-nums; }
.track { background: #edf0f4; border-radius: 2px; }
table.matrix { width: auto; }
table.matrix td { text-align: center; min-width: 58px; border: 1px solid #fff; }
table.matrix thead th { text-align: center; }
table.matrix tbody th { text-align: left; font-size: 14px; }
.views { display: grid; gap: 6px; grid-template-columns: repeat(4, 1fr); margin: 4px 0 18px; }
.views figure { margin: 0; }
.views img { width: 100%; display: block; border: 1px solid var(--line); border-radius: 4px; }
.views figcaption { font-size: 12px; color: var(--soft); }
h4 { margin: 12px 0 2px; font-size: 14px; overflow-wrap: anywhere; }
h4 small { font-weight: 400; color: var(--soft); font-size: 13px; }
td.path { white-space: normal; overflow-wrap: anywhere; text-align: left; }
@media (max-width: 640px) {
  main { padding: 12px 12px 40px; }
  h1 { font-size: 21px; }
  .views { grid-template-columns: repeat(2, 1fr); }
  .cards { grid-template-columns: repeat(2, 1fr); }
  .bar { grid-template-columns: 90px 1fr 40px; }
  th, td { padding: 4px 6px; }
}
@media print { body { background: #fff; } .views { break-inside: avoid; } }
"""


def page(title: str, body: str) -> str:
    """Put the parts of a page together; `body` is HTML, `title` is text."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{escape(title)}</title>\n<style>{STYLE}</style></head>\n'
        f'<body><main>\n{body}\n</main></body></html>\n'
    )


def section(title: str, note: str, content: str) -> str:
    """Return a part of the page: title and note are text, `content` is HTML."""
    note = f'<p class="soft">{escape(note)}</p>' if note else ''
    return f'<section><h2>{escape(title)}</h2>{note}{content}</section>'


def panel(content: str) -> str:
    """Frame HTML that may be wider than the screen."""
    return f'<div class="panel">{content}</div>'


def table(header: list[str], rows: list[list[str]], *, last_is_mean: bool = False) -> str:
    """Return a table: the header is text, the cells are HTML; the first one names the row."""
    head = ''.join(f'<th scope="col">{escape(name)}</th>' for name in header)
    lines = []
    for index, row in enumerate(rows):
        kind = ' class="mean"' if last_is_mean and index == len(rows) - 1 else ''
        cells = ''.join(f'<td>{cell}</td>' for cell in row[1:])
        lines.append(f'<tr{kind}><th scope="row">{row[0]}</th>{cells}</tr>')
    body = '\n'.join(lines)
    return f'<table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>'


def cards(values: Mapping[str, str]) -> str:
    """Return figures in large type: name (text) -> figure (HTML)."""
    inner = ''.join(
        f'<div class="card"><b>{value}</b><span>{escape(name)}</span></div>'
        for name, value in values.items()
    )
    return f'<div class="cards">{inner}</div>'


def settings(values: Mapping[str, object]) -> str:
    """Return a table of names and values of any type, both text."""
    rows = ''.join(
        f'<tr><th scope="row">{escape(name)}</th>'
        f'<td class="path">{escape(_plain(value))}</td></tr>'
        for name, value in values.items()
    )
    return f'<table><tbody>{rows}</tbody></table>'


def share(value: float | None, digits: int = 3) -> str:
    """Write a figure from 0 to 1; a dash where there is none."""
    return '–' if value is None else f'{value:.{digits}f}'


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
