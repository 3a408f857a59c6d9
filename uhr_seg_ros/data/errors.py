# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""What is wrong with data."""

from __future__ import annotations

from collections.abc import Sequence

from uhr_seg_ros.core.errors import DataError

#: So many files are named in one error.
NAMED = 20


def faults_error(faults: Sequence[str], where: str) -> DataError:
    """
    Build the error about files that cannot be used.

    Args:
        faults: A text about each.
        where: What they belong to, for the text where there are several.
    """
    if len(faults) == 1:
        return DataError(faults[0])
    more = [f'and {len(faults) - NAMED} more'] if len(faults) > NAMED else []
    lines = '\n  '.join([*faults[:NAMED], *more])
    return DataError(f'{where}: {len(faults)} files cannot be used\n  {lines}')


def named(names: Sequence[str], most: int = 5) -> str:
    """List the first names and say how many more there are."""
    more = f' and {len(names) - most} more' if len(names) > most else ''
    return ', '.join(names[:most]) + more
