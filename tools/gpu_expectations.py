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

"""What was expected of a GPU on paper, beside what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import math
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from uhr_seg_ros.core.image_writing import write_image

#: Bandwidth of the memory by the vendor's data sheet, GB/s.
BANDWIDTH = {'H200': 4800.0, 'Orin': 204.8}

#: What share of it well-made kernels reach.
_SHARE = 0.75, 0.8

#: Range of a copy between host and GPU from locked memory, GB/s: PCIe 5 x16; within one DRAM.
_COPY = {'H200': (45.0, 57.0), 'Orin': (25.0, 60.0)}

_SHIPPED, _PAPER = 'hlrc_s, 4K, fp16', 'hlrc_cityscapes, 1024x2048, fp16'

#: Milliseconds of the engines on paper: bytes of the fused graphs over 75 to 80 % of bandwidth.
PAPER = {
    _SHIPPED: {'H200': (1.1, 3.0), 'Orin': (22.0, 31.0)},
    _PAPER: {'H200': (2.4, 6.2), 'Orin': (50.0, 75.0)},
}

#: Best form of the paper's network in PyTorch, as there is no engine without TensorRT.
_FORMS = ('CUDA graph fp16, channels last', 'CUDA graph fp16', 'eager fp16')


class Row(NamedTuple):
    """One figure: range that was expected, and what was measured, if it was."""

    what: str
    unit: str
    low: float
    high: float
    source: str
    measured: float | None

    @property
    def ratio(self) -> float:
        """What was measured over the nearer end of the range; 1 within it."""
        if self.measured is None or self.low <= self.measured <= self.high:
            return 1.0
        return self.measured / (self.high if self.measured > self.high else self.low)

    @property
    def verdict(self) -> str:
        """Say how the measurement lies to the range."""
        if self.measured is None:
            return 'not measured'
        return 'as expected' if self.ratio == 1.0 else f'{self.ratio:.2f} of it'


def rows_of(results: Mapping[str, Any]) -> list[Row]:
    """
    Compare with what was expected on this GPU.

    Args:
        results: as `publish` writes them.

    Returns:
        One row per figure; none where nothing is known of the GPU.

    """
    found = _Found(results)
    name = str(found('environment', 'gpu', 'name'))
    known = next((key for key in BANDWIDTH if key in name), None)
    if known is None:
        return []
    return [*_memory(found, known), *_frames(found, known), *_kernels(found, known)]


def draw(rows: list[Row], path: Path) -> None:
    """Draw measured over expected on a logarithmic axis, one bar per figure that was measured."""
    shown = [row for row in rows if row.measured is not None]
    picture = np.full((70 + 26 * len(shown), 1000, 3), 255, np.uint8)
    font, black = cv2.FONT_HERSHEY_SIMPLEX, (0, 0, 0)

    def put(text: str, place: tuple[int, int]) -> None:
        cv2.putText(picture, text, place, font, 0.45, black, 1, cv2.LINE_AA)

    for factor in (0.1, 0.3, 1, 3, 10):
        cv2.line(picture, (_x(factor), 40), (_x(factor), len(picture) - 10), (200,) * 3, 1)
        put(f'{factor} of it', (_x(factor) - 20, 30))
    for place, row in enumerate(shown):
        top = 50 + 26 * place
        color = (90, 160, 60) if row.ratio == 1.0 else (60, 120, 220)
        left, right = sorted((_x(1.0), _x(row.ratio)))
        cv2.rectangle(picture, (left - 3, top), (right + 3, top + 16), color, -1)
        put(row.what, (10, top + 13))
    write_image(path, picture)


def _x(factor: float) -> int:
    return round(720 + 220 * math.log10(min(max(factor, 0.1), 10.0)))


class _Found:
    """Figures by section, case and key."""

    def __init__(self, results: Mapping[str, Any]) -> None:
        self.results = results

    def __call__(self, section: str, case: str, *keys: str) -> Any:
        value = self.results['sections'].get(section, {}).get('result', {}).get(case)
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value


def _memory(found: _Found, gpu: str) -> Iterator[Row]:
    bandwidth, source = BANDWIDTH[gpu], 'data sheet'
    copy = found('pytorch', 'ceilings', 'copy_gb_per_s')
    yield Row('copy within the GPU', 'GB/s', 0.85 * bandwidth, bandwidth, source, copy)
    fill = found('kernels', 'fill', 'gb_per_s')
    yield Row('fill', 'GB/s', 0.75 * bandwidth, bandwidth, source, fill)
    for way in ('upload', 'download'):
        speed = found('kernels', f'pinned {way}', 'gb_per_s')
        yield Row(f'{way} from locked memory', 'GB/s', *_COPY[gpu], 'the bus', speed)
    if gpu == 'H200':
        product = found('pytorch', 'ceilings', 'half_tflops')
        yield Row('product of 8192 rows', 'TFLOP/s', 769.0, 798.0, 'seen in bf16', product)


def _frames(found: _Found, gpu: str) -> Iterator[Row]:
    paper = 'bytes of the fused graphs, 75 to 80 % of bandwidth'
    for what, case in ((_SHIPPED, '4K fp16'), (_PAPER, 'hlrc_cityscapes paper fp16')):
        engines = found('tensorrt', case, 'engines', 'median_ms')
        yield Row(f'{what}, TensorRT', 'ms', *PAPER[what][gpu], paper, engines)
    times = [found('pytorch', form, 'median_ms') for form in _FORMS]
    best = min((each for each in times if each is not None), default=None)
    yield Row(f'{_PAPER}, PyTorch', 'ms', *PAPER[_PAPER][gpu], f'{paper}, as TensorRT', best)
    for size, moved in found.results['kit']['traffic'].items():
        low, high = (moved / BANDWIDTH[gpu] / share / 1e6 for share in (0.8, 0.4))
        measured = found('pipeline', f'{size} fp16', 'engines', 'median_ms')
        source = 'bytes of the graphs without fusion, 40 to 80 % of bandwidth'
        yield Row(f'hlrc_s, {size}, fp16, PyTorch', 'ms', low, high, source, measured)
    for section, what in (('tensorrt', 'TensorRT'), ('pipeline', 'PyTorch')):
        for size in found.results['kit']['traffic']:
            share = found(section, f'{size} fp16', 'agreement')
            percent = None if share is None else 100 * share
            source = 'docs/tensorrt.md; emulated: 99.986 % at 4K'
            yield Row(f'agreement, {size}, fp16, {what}', '%', 99.9, 100.0, source, percent)
    download = found('pipeline', '4K fp16', 'download', 'median_ms')
    yield Row('download of a 4K mask', 'ms', 0.14, 0.8, '8.3 MB over the bus', download)
    whole, engines = (
        found('pipeline', '4K fp16', name, 'median_ms') for name in ('end to end', 'engines')
    )
    rest = None if whole is None else whole - engines
    yield Row('4K outside the engines', 'ms', 0.0, 3.0, 'aim', rest)
    ratio = found('pipeline', 'overlap 4K', 'ratio')
    yield Row('two streams over one', '', 0.5, 0.8, 'aim', ratio)


def _kernels(found: _Found, gpu: str) -> Iterator[Row]:
    low, high = (share * BANDWIDTH[gpu] for share in _SHARE)
    for case in ('prepare bgr8', 'prepare nv12', 'finish 5 classes', 'finish 19 classes', 'check'):
        speed = found('kernels', case, 'gb_per_s')
        yield Row(f'{case}, 4K', 'GB/s', low, high, '75 to 80 % of bandwidth', speed)
