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

"""What to turn where frames were dropped, and when not to trust the figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: A machine with less of its time to spare before the start was at work on something else, %.
IDLE_ENOUGH = 80.0
#: A rate in this share of what a frame takes leaves room for what comes in between.
ROOM = 0.8


def drop_advice(report: Mapping[str, Any]) -> list[str]:
    """
    Say what to turn where a node did not answer every frame; nothing where it did.

    Args:
        report: as `benchmark.bag_benchmark.benchmark_bag` returns it.
    """
    figures = report['figures']
    frames = figures['frames']
    if frames.get('unanswered'):
        return [
            f'{frames["unanswered"]:.0f} of {frames["sent"]:.0f} frames have no mask: dropped, '
            'rejected or lost, which cannot be told from outside of the node'
        ]
    dropped = frames.get('dropped')
    if not dropped:
        return []
    parameters = report['node'].get('parameters', {})
    lines = [
        f'{dropped:.0f} of {figures["frames"]["sent"]:.0f} frames were dropped: they come faster '
        'than they are segmented. What to turn (docs/rate.md):'
    ]
    if taken := _frame_ms(figures):
        rate = ROOM * 1e3 / taken
        lines.append(f'  rate       a frame takes {taken:.0f} ms: play or record {rate:.2g} Hz')
        if parameters.get('detail', 'whole') == 'whole':
            budget = ROOM * 1e3 / figures['sent_hz'] if figures['sent_hz'] else taken / 2
            lines.append(f'  budget     detail: budget, latency.budget_ms: {budget:.0f}')
    lines.append('  roi        roi.rectangles: look at a part of the frame only')
    lines.append('  scale      send half its size, as image_proc does')
    if parameters.get('precision', 'auto') in ('auto', 'fp32'):
        lines.append('  precision  int8 on a CPU (uhr_seg quantize), fp16 with TensorRT')
    if parameters.get('threads'):
        lines.append(f'  threads    0, all cores, in place of {parameters["threads"]}')
    return lines


def trust_warning(idle_percent: float | None) -> str:
    """Say that other work took the machine, by its idle share before the start; or nothing."""
    if idle_percent is None or idle_percent >= IDLE_ENOUGH:
        return ''
    return (
        f'do not trust these figures: other work took {100 - idle_percent:.0f} % of this machine '
        'before the start; measure again when it is idle'
    )


def _frame_ms(figures: Mapping[str, Any]) -> float:
    """Return the median of what a frame takes in the node, without waiting for its turn."""
    stages = figures['stage_ms']
    return sum(spread['p50'] for name, spread in stages.items() if name not in ('wait', 'latency'))
