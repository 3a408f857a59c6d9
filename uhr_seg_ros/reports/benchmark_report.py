# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Numbers of a run as tables and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
import json
import os
from pathlib import Path
import platform
from typing import Any

from rich.console import Console
from rich.table import Table

from uhr_seg_ros.core.atomic_io import write_text
from uhr_seg_ros.core.timing import LatencyWindow, NODE_STAGES

PERCENTILES = ('p50', 'p95', 'p99', 'max')


def percentiles(milliseconds: Iterable[float]) -> dict[str, float]:
    """Return p50, p95, p99 and max, in ms with three digits; nothing for no values."""
    values = list(milliseconds)
    window = LatencyWindow(max(len(values), 1))
    for value in values:
        window.add(value)
    return {key: round(value, 3) for key, value in window.percentiles().items()}


def stage_percentiles(diagnostics: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Turn the node's keys such as `detail_p95_ms` into stage -> percentile -> ms."""
    stages: dict[str, dict[str, float]] = {}
    for key, value in diagnostics.items():
        stage, _, rest = key.rpartition('_p')
        if rest in ('50_ms', '95_ms', '99_ms'):
            stages.setdefault(stage, {})[f'p{rest[:2]}'] = float(value)
    return stages


def segmenter_stages(stages: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """
    Return the medians of the segmenter's stages: all that the node does not name as its own.

    Args:
        stages: stage -> percentile -> ms, as the node reports them.

    Returns:
        Stage -> ms.

    """
    return {name: times['p50'] for name, times in stages.items() if name not in NODE_STAGES}


def machine() -> dict[str, Any]:
    """Return what the numbers were measured on."""
    return {
        'machine': platform.machine(),
        'system': platform.system(),
        'python': platform.python_version(),
        'cpus': len(os.sched_getaffinity(0)),
    }


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a report; the file appears complete or not at all."""
    write_text(path, json.dumps(content, indent=2) + '\n')


def print_percentiles(title: str, rows: Mapping[str, Mapping[str, float]]) -> None:
    """Print a table of ms: one row per name, one column per percentile."""
    keys = [key for key in PERCENTILES if any(key in row for row in rows.values())]
    lines = [[name, *(_cell(row.get(key)) for key in keys)] for name, row in rows.items()]
    print_table(title, ['', *(f'{key} ms' for key in keys)], lines)


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a title and a table; the first column is text, the others are numbers."""
    table = Table()
    for index, name in enumerate(header):
        table.add_column(name, justify='right' if index else 'left')
    for row in rows:
        table.add_row(*row)
    console = Console()
    console.print(title)
    console.print(table)


def _cell(value: float | None) -> str:
    return '' if value is None else f'{value:.1f}'
