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

"""Graphs under the roof of a machine: what they compute per byte, and how fast."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from uhr_seg_ros.core.atomic_io import atomic_write
from uhr_seg_ros.core.visualization import plain_charts, series_colors

#: Operations per byte that the roof is drawn over.
INTENSITIES = np.geomspace(0.1, 1000, 200)


@plain_charts()
def draw_roofline(report: Mapping[str, Any], path: Path) -> None:
    """
    Draw what `benchmark.roofline.measure_roofline` returns.

    Args:
        report: of the measurement.
        path: a file whose ending tells the format: `.svg` or `.png`.

    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.4), layout='constrained')
    axes = figure.subplots()
    peaks = report['peaks']
    precisions = list(dict.fromkeys(each['precision'] for each in report['graphs']))
    for precision, color in zip(precisions, series_colors(len(precisions)), strict=True):
        peak, copy = peaks['gflops'][precision], peaks['copy_gb_s']
        roof = np.minimum(peak, copy * INTENSITIES)
        label = f'{precision}: {peak:.0f} G operations/s, {copy:.0f} GB/s'
        axes.plot(INTENSITIES, roof, color=color, label=label)
        for graph in report['graphs']:
            if graph['precision'] == precision:
                place = graph['gflop'] * 1e3 / graph['mb'], graph['gflop'] * 1e3 / graph['min_ms']
                axes.plot(*place, 'o', color=color)
                axes.annotate(
                    graph['name'], place, textcoords='offset points', xytext=(6, -10), color=color
                )
    height, width = report['size']
    axes.set(
        xscale='log',
        yscale='log',
        xlabel='operations per byte',
        ylabel='G operations per second',
        title=f'{report["bundle"]} at {width}x{height}, {report["threads"]} threads',
    )
    axes.grid(alpha=0.3)
    axes.legend(loc='lower right', fontsize='small')
    with atomic_write(path) as unfinished:
        figure.savefig(unfinished, dpi=110)
