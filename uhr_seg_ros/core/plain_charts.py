# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Charts that look the same wherever they are drawn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def plain_charts() -> Iterator[None]:
    """
    Draw as matplotlib does by default, whatever a `matplotlibrc` says; also a decorator.

    One of the current folder is read first, and may lie beside a downloaded recording: it can have
    LaTeX run with lines of its own. Where matplotlib is missing, the block runs, and tells so.
    """
    try:
        from matplotlib import style
    except ImportError:
        yield
        return
    with style.context('default'):
        yield
