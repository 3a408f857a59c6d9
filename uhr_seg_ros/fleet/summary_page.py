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

"""`summary.html` of a batch: one file that needs nothing else."""

from __future__ import annotations

from base64 import b64encode
from html import escape
from pathlib import Path

import cv2
import numpy as np

from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.core.errors import UhrSegError
from uhr_seg_ros.core.image_writing import encode_image
from uhr_seg_ros.fleet.options import BatchOptions
from uhr_seg_ros.fleet.summary import Totals
from uhr_seg_ros.fleet.units import Record
from uhr_seg_ros.image_io.files import read_image
from uhr_seg_ros.reports.html import cards, page, panel, section, settings, table

#: Width of a picture on the page, px.
_WIDTH = 320


def build(totals: Totals, options: BatchOptions, classes: ClassSet, run: dict[str, str]) -> str:
    """
    Write the page.

    Args:
        totals: of the folder.
        options: of the run.
        classes: of the bundle.
        run: what is told of the run, by names.

    """
    title = f'{options.folder.name}: {totals.done:,} results'
    megapixels = max(1e-6, totals.areas.pixels.sum() / 1e6)
    figures = {
        'results': f'{totals.done:,}',
        'failed': f'{totals.failed:,}',
        'frames': f'{totals.frames:,}',
        'gigapixels': f'{megapixels / 1e3:,.2f}',
        'hours of workers': f'{totals.seconds / 3600:,.2f}',
        'seconds of a core per megapixel': f'{totals.cpu_seconds / megapixels:.2f}',
        'left out': f'{totals.left_out:,}',
        'outside of what the model knows': f'{totals.unknown:,}',
    }
    parts = [
        f'<h1>{escape(title)}</h1>',
        f'<p class="soft">{escape(_subtitle(totals))}</p>',
        cards(figures),
        section('Classes', _area_note(totals), panel(_classes(totals, classes))),
        _failures(totals),
        section('Slowest', 'Of a worker, from reading to writing.', panel(_slowest(totals))),
        _pictures(totals, options),
        section('Run', '', panel(settings(run))),
    ]
    return page(title, '\n'.join(filter(None, parts)))


def _subtitle(totals: Totals) -> str:
    kinds = ', '.join(f'{number:,} of kind {kind}' for kind, number in totals.kinds.items())
    backends = ', '.join(name for name in totals.backends if name)
    systems = ''
    if len(totals.systems) > 1:
        named = ', '.join(f'{name} ({number})' for name, number in totals.systems.items())
        systems = f'; coordinate systems: {named}, each mask keeps its own'
    return f'{kinds}; on {backends}{systems}' if backends else kinds


def _area_note(totals: Totals) -> str:
    known = sum(bool(row.m2_per_pixel) for row in totals.areas.rows)
    if not known:
        return ''
    return f'Square kilometers of {known:,} results, whose ground resolution is known.'


def _classes(totals: Totals, classes: ClassSet) -> str:
    pixels, m2 = totals.areas.pixels, totals.areas.m2
    shares = pixels / max(1, pixels.sum())
    rows = []
    for index in np.argsort(-shares, kind='stable'):
        red, green, blue = classes.colors[index]
        color = f'rgb({red}, {green}, {blue})'
        swatch = f'<span class="swatch" style="background: {color}"></span>'
        bar = (
            f'<div class="track"><i style="display: block; height: 13px; background: {color}; '
            f'width: {100 * shares[index]:.2f}%"></i></div>'
        )
        area = [] if m2 is None else [f'{m2[index] / 1e6:,.3f}']
        name = f'{swatch}{escape(classes.names[index])}'
        rows.append([name, f'{100 * shares[index]:.2f} %', *area, bar])
    return table(['class', 'share', *([] if m2 is None else ['km²']), ''], rows)


def _failures(totals: Totals) -> str:
    if not totals.failures:
        return ''
    rows = [
        [
            escape(str(record)),
            escape(record.status),
            str(record.attempts),
            f'<span class="path">{escape(record.reason)}</span>',
        ]
        for record in totals.failures
    ]
    more = totals.failed - len(totals.failures)
    note = f'The first {len(rows)}; {more:,} more are in the manifest.' if more > 0 else ''
    return section('Failed, or incomplete', note, panel(table(_FAILED, rows)))


_FAILED = ['input', 'status', 'attempts', 'reason']


def _slowest(totals: Totals) -> str:
    rows = [
        [
            escape(str(record)),
            f'{record.seconds:.1f}',
            f'{record.frames}',
            f'{record.width}x{record.height}',
            escape(record.worker),
        ]
        for record in totals.slowest
    ]
    return table(['input', 'seconds', 'frames', 'size', 'worker'], rows)


def _pictures(totals: Totals, options: BatchOptions) -> str:
    figures = [
        f'<figure><img alt="" src="data:image/jpeg;base64,{picture}">'
        f'<figcaption>{escape(record.name)}</figcaption></figure>'
        for record in totals.pictures
        if (picture := _picture(record, options))
    ]
    if not figures:
        return ''
    return section('Overlays', '', f'<div class="views">{"".join(figures)}</div>')


def _picture(record: Record, options: BatchOptions) -> str:
    """Return an overlay in small; empty where there is none."""
    names = [each for each in record.outputs if '_overlay.' in Path(each).name]
    path = options.folder / names[0] if names else options.thumbnail(record.slot)
    try:
        image = read_image(path)
        scale = min(1.0, _WIDTH / image.shape[1])
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        return b64encode(encode_image('.jpg', small)).decode('ascii')
    except (UhrSegError, cv2.error, MemoryError):
        return ''
