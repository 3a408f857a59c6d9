# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""What is labelled, on the console."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from uhr_seg_ros.data.label_check import Share


def show_shares(
    shares: Sequence[Share], names: Sequence[str], console: Console | None = None
) -> None:
    """
    Print a table of the classes: their pixels, their share of what is labelled, their images.

    Args:
        shares: What is labelled, such as in each of two splits.
        names: Names of the classes.
        console: Where to; None for standard output.
    """
    table = Table(title='labels')
    table.add_column('class', no_wrap=True)
    for share in shares:
        table.add_column(f'{escape(share.title)}\nMpx', justify='right')
        table.add_column('share', justify='right', vertical='bottom')
        table.add_column('images', justify='right', vertical='bottom')
    for index, name in enumerate(names):
        table.add_row(escape(name), *(cell for share in shares for cell in _cells(share, index)))
    table.add_section()
    table.add_row('ignored', *(cell for share in shares for cell in _ignored(share)))
    (console or Console()).print(table)


def warn(texts: Sequence[str]) -> None:
    """Print warnings to standard error, each in one line."""
    console = Console(stderr=True)
    for text in texts:
        console.print(f'warning: {text}', markup=False, highlight=False, soft_wrap=True)


def only(labeled: Sequence[str]) -> str:
    """Say that fewer than two classes are labelled, given the names of those that are."""
    return f'only {labeled[0]} is labelled' if labeled else 'nothing is labelled'


def _cells(share: Share, index: int) -> tuple[str, str, str]:
    pixels, images = share.pixels[index], (share.counts[:, index] > 0).sum()
    if not pixels:
        return '-', '-', '0'
    return _millions(pixels), _percent(pixels / share.pixels.sum()), str(images)


def _ignored(share: Share) -> tuple[str, str, str]:
    pixels = share.counts[:, -1]
    part = pixels.sum() / max(share.counts.sum(), 1)
    return _millions(pixels.sum()), _percent(part), str((pixels > 0).sum())


def _millions(pixels: int) -> str:
    return f'{pixels / 1e6:.6f}' if 0 < pixels < 1e4 else f'{pixels / 1e6:.2f}'


def _percent(share: float) -> str:
    return f'{100 * share:.1f} %' if share >= 1e-3 else '< 0.1 %' if share else '0.0 %'
