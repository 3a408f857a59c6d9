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

"""The HTML page of a replay: one file that needs nothing else."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import cv2

from uhr_seg_ros.core.errors import ImageError
from uhr_seg_ros.core.image_writing import encode_image
from uhr_seg_ros.reports.bag_charts import (
    latency_distribution,
    latency_over_time,
    memory_over_time,
    stage_stack,
)
from uhr_seg_ros.reports.benchmark_console import mask_notes
from uhr_seg_ros.reports.html import cards, page, panel, section, settings, table

_COLUMNS = ('mean', 'p50', 'p90', 'p95', 'p99', 'max')

#: Width of a picture on the page, px.
_WIDTH = 640

_FRAMES = {
    'sent': 'sent',
    'masks': 'answered with a mask',
    'dropped': 'dropped by the node: a newer one took the place of one that waited',
    'rejected': 'rejected by the node: malformed',
    'lost_before_node': 'lost on the way to the node',
    'lost_after_node': 'masks lost on the way from the node',
    'unanswered': 'without a mask: dropped, rejected or lost',
}
_SPREADS = {
    'latency_ms': 'frame published to mask received',
    'stamp_to_mask_ms': 'stamp of the frame to mask received',
}


def build(report: Mapping[str, Any], overlays: Sequence[Path]) -> str:
    """
    Write the page.

    Args:
        report: what `benchmark_bag` gives.
        overlays: pictures to show.
    """
    title = f'{subject_name(report)} on {report["bag"]["name"]}'
    figures, series = report['figures'], report['series']
    parts = [
        f'<h1>{escape(title)}</h1>',
        f'<p class="soft">{escape(_subtitle(report))}</p>',
        _cards(report),
        section('Latency', _LATENCY, panel(latency_over_time(series))),
        panel(latency_distribution(series['latency_ms'])),
        panel(_spread_table({text: figures[key] for key, text in _SPREADS.items()})),
        _stages(report),
        section('Frames', '', panel(_frames(figures['frames']))),
        _trials(report),
        section('Load', '', panel(memory_over_time(series['memory']))),
        panel(_load(figures['load'], report['machine'])),
        section('Overlays', '', _pictures(overlays)) if overlays else '',
        _missing(report),
        section('Settings', '', panel(_settings(report))),
    ]
    return page(title, '\n'.join(parts))


_LATENCY = (
    'From the publication of a frame in one process to its mask in another, matched by stamp.'
)


def mode_text(mode: Mapping[str, Any]) -> str:
    """Return how a recording was played."""
    texts = {
        'realtime': 'as recorded',
        'max': 'each frame when the one before was answered',
        'peak': 'at the highest rate that was kept up with',
    }
    text = texts.get(mode['rate']) or f'{mode["rate"]:g} Hz'
    return f'{text}, {mode["duration_s"]:g} s' if mode['duration_s'] else text


def subject_name(report: Mapping[str, Any]) -> str:
    """Return what was measured: a bundle in our node, or the command of another one."""
    node = report['node']
    return str(node['command'] if 'command' in node else node['bundle'])


def _subtitle(report: Mapping[str, Any]) -> str:
    node, machine = report['node'], report['machine']
    where = machine['gpu'] or machine['cpu']
    if 'command' in node:
        how = f'measured from the outside, on {where}'
    else:
        how = f'{node["backend"]} {node["backend_version"]} on {where}, {node["precision"]}'
    return f'{mode_text(report["mode"])}; {how}; {report["date"]}'


def _cards(report: Mapping[str, Any]) -> str:
    figures = report['figures']
    latency = figures['latency_ms']
    values = {
        'masks per second': _number(figures['throughput_hz'], 2),
        **{f'latency {name}, ms': _number(latency.get(name)) for name in ('p50', 'p95', 'p99')},
        'answered': f'{100 * figures["answered"]:.1f} %',
        'frames sent per second': _number(figures['sent_hz'], 2),
        'jitter, mean, ms': _number(figures['jitter_ms'].get('mean')),
        'peak memory of the node, MB': _number(figures['load']['peak_mb'], 0),
    }
    return cards(values)


def _stages(report: Mapping[str, Any]) -> str:
    stages = report['figures']['stage_ms']
    if not stages:
        return ''
    chart = panel(stage_stack(report['series']['stage_ms']))
    note = 'Of every frame, as the node publishes them; wait: before the first stage.'
    return section('Stages', note, chart + panel(_spread_table(stages)))


def _spread_table(rows: Mapping[str, Mapping[str, float]]) -> str:
    cells = [
        [escape(name), *(_number(values.get(column)) for column in _COLUMNS)]
        for name, values in rows.items()
    ]
    return table(['ms', *_COLUMNS], cells)


def _missing(report: Mapping[str, Any]) -> str:
    missing = report['node'].get('missing')
    if not missing:
        return ''
    rows = [[escape(name), escape(why)] for name, why in missing.items()]
    notes = ' '.join(f'{line}.' for line in mask_notes(report))
    return section('Not known from the outside', notes, panel(table(['', ''], rows)))


def _frames(frames: Mapping[str, float]) -> str:
    rows = [[_FRAMES.get(key, escape(key)), _number(count, 0)] for key, count in frames.items()]
    return table(['', 'frames'], rows)


def _trials(report: Mapping[str, Any]) -> str:
    if 'trials' not in report:
        return ''
    rows = [
        [f'{trial["rate_hz"]:.2f} Hz', f'{100 * trial["answered"]:.1f} %']
        for trial in report['trials']
    ]
    note = f'Peak: {report["peak_hz"]:.2f} Hz. A rate is kept up with if 95 % are answered.'
    return section('Search', note, panel(table(['rate', 'answered'], rows)))


def _load(load: Mapping[str, Any], machine: Mapping[str, Any]) -> str:
    rows = [
        [f'CPU of the {escape(name)}, % of a core', _number(value)]
        for name, value in load['cpu_percent'].items()
    ]
    before, after = load['memory_mb']
    rows += [
        ['CPU idle before, % of the machine', _number(machine['idle_percent'])],
        ['memory of the node before and after, MB', f'{before:.0f}, {after:.0f}'],
        ['its peak, MB', _number(load['peak_mb'], 0)],
    ]
    rows += [
        [f'GPU {escape(name)}, mean and max', f'{seen["mean"]:.1f}, {seen["max"]:.1f}']
        for name, seen in load['gpu'].items()
    ]
    return table(['', ''], rows)


def _pictures(overlays: Sequence[Path]) -> str:
    figures = ''.join(
        f'<figure><img loading="lazy" alt="overlay" src="data:image/jpeg;base64,{data}"></figure>'
        for data in map(_thumbnail, overlays)
    )
    return f'<div class="views">{figures}</div>'


def _thumbnail(path: Path) -> str:
    picture = cv2.imread(str(path))
    if picture is None:
        msg = f'{path} cannot be read'
        raise ImageError(msg)
    height, width = picture.shape[:2]
    if width > _WIDTH:
        size = (_WIDTH, max(1, round(height * _WIDTH / width)))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return b64encode(encode_image('.jpg', picture)).decode()


def _settings(report: Mapping[str, Any]) -> str:
    groups = ('mode', 'bag', 'node', 'dds', 'commit', 'versions', 'machine')
    shown = {group: report.get(group) for group in groups}
    shown['node'] = {key: value for key, value in report['node'].items() if key != 'missing'}
    return settings(dict(pair for group in groups for pair in _flat(group, shown[group])))


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _flat(f'{name}: {key}', part)
    else:
        yield name, value


def _number(value: float | None, digits: int = 1) -> str:
    return '–' if value is None else f'{value:.{digits}f}'
