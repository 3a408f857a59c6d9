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

"""Bars and the confusion matrix of the report, as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.reports.html import share

#: Color of a full cell of the matrix on the diagonal and beside it, RGB.
RIGHT, MISTAKEN = (38, 110, 170), (196, 62, 48)


def swatch(color: Sequence[int]) -> str:
    """Return a small square of a color (RGB)."""
    return f'<span class="swatch" style="background:{_css(color)}"></span>'


def class_cell(classes: ClassSet, index: int) -> str:
    """Return the name of a class with its color."""
    return swatch(classes.colors[index]) + escape(classes.names[index])


def bars(title: str, values: Mapping[str, float | None], classes: ClassSet) -> str:
    """
    Return one horizontal bar per class.

    Args:
        title: What is shown.
        values: Class -> 0 to 1, or None.
        classes: Names and colors.
    """
    lines = []
    for name, color in zip(classes.names, classes.colors, strict=True):
        value = values[name]
        length = f'width:{100 * (value or 0):.1f}%;background:{_css(color)}'
        bar = '' if value is None else f'<i style="{length}"></i>'
        lines.append(
            f'<div class="bar"><span title="{escape(name)}">{escape(name)}</span>'
            f'<span class="track">{bar}</span><span>{share(value, 2)}</span></div>'
        )
    return f'<div class="panel"><h3>{escape(title)}</h3>{"".join(lines)}</div>'


def matrix(counts: Sequence[Sequence[int]], classes: ClassSet) -> str:
    """
    Return the confusion matrix; every row is a share of the pixels of its label.

    Args:
        counts: Rows are labels, columns masks.
        classes: Names and colors.
    """
    found = ''.join(f'<th scope="col">{escape(name)}</th>' for name in classes.names)
    lines = []
    for index, row in enumerate(counts):
        total = sum(row)
        cells = ''.join(
            _matrix_cell(count / total if total else None, index == column)
            for column, count in enumerate(row)
        )
        head = f'<th scope="row">{class_cell(classes, index)}</th>'
        lines.append(f'<tr>{head}{cells}<td class="soft">{_millions(total)}</td></tr>')
    return (
        '<table class="matrix"><thead><tr><th>label \\ found</th>'
        f'{found}<th>Mpx</th></tr></thead><tbody>{"".join(lines)}</tbody></table>'
    )


def _matrix_cell(value: float | None, is_right: bool) -> str:
    if value is None:
        return '<td>–</td>'
    full = RIGHT if is_right else MISTAKEN
    # A root makes small shares visible.
    depth = value if is_right else min(1.0, value**0.5)
    color = tuple(round(255 + (part - 255) * depth) for part in full)
    ink = '#fff' if depth > 0.6 else 'inherit'
    return f'<td style="background:{_css(color)};color:{ink}">{100 * value:.1f}</td>'


def _millions(pixels: int) -> str:
    return f'{pixels / 1e6:.2f}'


def _css(color: Sequence[int]) -> str:
    return '#' + ''.join(f'{part:02x}' for part in color)
