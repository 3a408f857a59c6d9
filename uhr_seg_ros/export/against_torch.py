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

"""How much faster a network runs exported than in PyTorch, both in turn in one run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
import time

import numpy as np
import torch
from tqdm import tqdm

from uhr_seg_ros.core.classes import CLASS_SETS
from uhr_seg_ros.export.export import export_bundle
from uhr_seg_ros.networks.backbones.normalization import normalized
from uhr_seg_ros.networks.presets import build_network, NETWORKS, SegmentationNetwork
from uhr_seg_ros.pipelines.segmenter import Segmenter


def compare_speed(preset: str, height: int, width: int, repeat: int) -> dict[str, object]:
    """
    Time PyTorch eager against the exported bundle, from uint8 image to mask.

    The weights are random: they do not change what is computed.

    Args:
        preset: Network.
        height: px, a multiple of 16.
        width: px, a multiple of 16.
        repeat: Runs of each that count; one more warms up.

    Returns:
        ``eager_ms`` and ``exported_ms`` (all runs), and ``ratio`` of their medians.
    """
    network = build_network(preset).eval()
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    with TemporaryDirectory() as folder:
        bundle = export_bundle(
            network,
            Path(folder),
            name=preset,
            preset=preset,
            classes=CLASS_SETS[NETWORKS[preset].classes],
        )
        with Segmenter(bundle, 'onnxruntime') as segmenter:
            times: dict[str, list[float]] = {'eager_ms': [], 'exported_ms': []}
            for turn in tqdm(range(repeat + 1), desc=f'{preset} {width}x{height}', unit='pair'):
                pair = (
                    _milliseconds(lambda: _eager(network, bundle.mean, bundle.std, image)),
                    _milliseconds(lambda: segmenter(image)),
                )
                if turn:
                    for name, value in zip(times, pair, strict=True):
                        times[name].append(value)
    ratio = float(np.median(times['eager_ms']) / np.median(times['exported_ms']))
    return {'network': preset, 'size': f'{width}x{height}', **times, 'ratio': ratio}


def _eager(
    network: SegmentationNetwork,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    image: np.ndarray,
) -> np.ndarray:
    with torch.inference_mode():
        return network(normalized(image[None], mean, std)).argmax(1)[0].byte().numpy()


def _milliseconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e3
