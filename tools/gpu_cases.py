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

"""What the GPU acceptance measures on: sizes, bundles and frames, and how times are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from uhr_seg_ros.backends.options import PRECISIONS
from uhr_seg_ros.core.bundle import Bundle, load_bundle
from uhr_seg_ros.core.raw_frame import memory_shape, RawFrame

SIZES = {'1080p': (1080, 1920), '4K': (2160, 3840), '8K': (4320, 7680)}
PAPER_SIZE = (1024, 2048)
PAPER_NETWORK = 'hlrc_cityscapes'
FRAMES = 40

#: (bundle, size, precision), the most important ones first.
CASES = (
    ('hlrc_s_aerial', '4K', 'fp16'),
    (PAPER_NETWORK, '2048x1024', 'fp16'),
    ('hlrc_s_aerial', '1080p', 'fp16'),
    ('hlrc_s_aerial', '4K', 'int8'),
    ('hlrc_s_aerial', '8K', 'fp16'),
    ('hlrc_s_aerial', '4K', 'fp32'),
    (PAPER_NETWORK, '2048x1024', 'fp32'),
    (PAPER_NETWORK, '4K', 'fp16'),
)


def size_of(name: str) -> tuple[int, int]:
    """Read `4K` or `2048x1024` as (height, width)."""
    if name in SIZES:
        return SIZES[name]
    width, height = name.split('x')
    return int(height), int(width)


def random_frame(name: str, size: tuple[int, int]) -> RawFrame:
    """Make a frame of random bytes."""
    data = np.random.default_rng(0).integers(0, 256, memory_shape(name, *size), np.uint8)
    return RawFrame(data, name, *size)


def spread(times: Sequence[float]) -> dict[str, Any]:
    """Return median and 95th percentile of times in ms."""
    median, p95 = np.percentile(times, (50, 95)).tolist()
    return {'median_ms': round(median, 3), 'p95_ms': round(p95, 3), 'runs': len(times)}


def paper_bundle(work: Path, name: str) -> Bundle:
    """Load a bundle; that of the paper's network is exported first, with seeded weights."""
    if name != PAPER_NETWORK:
        return load_bundle(name)
    folder = work / name
    if not (folder / 'model.yaml').is_file():
        from uhr_seg_ros.core.classes import CLASS_SETS
        from uhr_seg_ros.export.export import export_bundle

        export_bundle(
            paper_network(), folder, name=name, preset=name, classes=CLASS_SETS['cityscapes']
        )
    # Random weights leave many pixels between two classes, which a rounding decides.
    return replace(load_bundle(folder), agreement=dict.fromkeys(PRECISIONS, 0.9))


def paper_network() -> Any:
    """Build the network of the paper, with seeded weights."""
    import torch

    from uhr_seg_ros.networks.presets import build_network

    torch.manual_seed(0)
    return build_network(PAPER_NETWORK).eval()
