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

"""The tables and the picture about shrunk frames, from results that are made up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tools.shrink_results import panels, peer, SIDE, table, thin_pixels, TIMED, VARIANTS, ZOOM
from uhr_seg_ros.core.classes import CLASS_SETS

pytest.importorskip('rosbags')

AERIAL = CLASS_SETS['aerial']


def evaluation(value: float) -> dict[str, Any]:
    """Return what the table takes of `uhr_seg evaluate --json`."""
    sizes = ('below 16^2', '16^2 to 32^2', '32^2 to 96^2')
    return {
        'mean_iou': value,
        'boundary_f': {'2 px': {'mean': value / 2}},
        'object_recall': {size: {'recall': value} for size in sizes},
        'iou': {'road': value, 'building': value},
        'per_image': [
            {'name': 'tile2', 'mean_iou': 0.0},
            {'name': 'tile5', 'mean_iou': value / 4},
        ],
    }


def timed(latency: float) -> dict[str, Any]:
    """Return what the table takes of `uhr_seg benchmark bag --json`."""
    return {
        'figures': {
            'latency_ms': {'p50': latency, 'p95': 2 * latency},
            'throughput_hz': 1e3 / latency,
            'answered': 0.25,
            'load': {'cpu_percent': {'node': 150.0}, 'peak_mb': 900},
        },
        'accuracy': {'mean_iou': 0.8},
        'machine': {'cpu': 'cpu', 'cpus': 2, 'flags': [], 'governor': 'unknown'},
        'versions': {'uhr_seg_ros': '0', 'onnxruntime': '1'},
        'commit': None,
        'date': '2026-11-30T00:00:00+00:00',
        'rmw': 'rmw',
    }


def test_tables_have_a_row_for_all_that_was_measured() -> None:
    found = {'ours': evaluation(0.6), 'semantic_512': evaluation(0.5)}
    lines = table(found).splitlines()
    assert lines[2].startswith(f'| {VARIANTS["ours"][0]} | 60.0 | 30.0 | 60.0 |')
    assert lines[2].endswith('| 60.0 | 0.0 | 15.0 |')
    assert lines[4:] == ['', 'Time of a 4K frame over DDS: not measured yet.']
    for name in TIMED:
        found |= {f'{name}_lockstep': timed(500.0), f'{name}_10hz': timed(250.0)}
    row = next(each for each in table(found).splitlines() if ' 500 | 1000 ' in each)
    assert row.endswith('| 500 | 1000 | 2.00 | 4.00 | 25% | 150 | 900 | 80.0 |')
    rows = [each.count('|') for each in table(found).splitlines() if each.startswith('|')]
    assert len(rows) == 4 + 2 + len(TIMED) and set(rows[:4]) == {11} and set(rows[4:]) == {10}


def test_the_picture_shows_where_labels_are_thin() -> None:
    labels = np.zeros((2 * SIDE, 3 * SIDE), np.uint8)
    labels[SIDE : SIDE + 3, 2 * SIDE - 50 : 2 * SIDE + 50] = 2  # a road of 3 px
    labels[:40, :40] = 3
    thin = thin_pixels(labels)
    assert thin[SIDE + 1, 2 * SIDE] and not thin[20, 20] and not thin[300, 20]
    frame = np.zeros((*labels.shape, 3), np.uint8)
    picture = panels(frame, labels, [labels, labels * 0], AERIAL)
    assert picture.shape == (ZOOM * SIDE, 4 * ZOOM * SIDE + 3 * 6, 3)
    road = np.round(0.6 * AERIAL.palette_bgr()[2].astype(float))
    parts = [
        picture[:, start : start + ZOOM * SIDE]
        for start in range(0, picture.shape[1], ZOOM * SIDE + 6)
    ]
    has_road = [bool((np.abs(part - road).max(-1) < 2).any()) for part in parts]
    assert has_road == [False, True, True, False]


def test_the_node_is_started_with_the_topics_of_the_measurement() -> None:
    command = peer('some folder/bundle')[1]
    assert 'image:={image_topic}' in command and "'bundle:=some folder/bundle'" in command
