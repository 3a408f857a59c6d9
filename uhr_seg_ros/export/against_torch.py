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

"""How much faster a network runs exported than in PyTorch, both in turn in fresh processes."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
import json
from pathlib import Path
import subprocess
import sys
from tempfile import TemporaryDirectory
import time
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.core.classes import CLASS_SETS
from uhr_seg_ros.core.errors import ProcessError
from uhr_seg_ros.core.subprocesses import python_child
from uhr_seg_ros.export.export import export_bundle
from uhr_seg_ros.networks.backbones.normalization import normalized
from uhr_seg_ros.networks.presets import build_network, NETWORKS, SegmentationNetwork
from uhr_seg_ros.pipelines.segmenter import Segmenter


def compare_speed(
    preset: str, height: int, width: int, repeat: int, processes: int
) -> list[dict[str, list[float]]]:
    """
    Time PyTorch eager against the exported bundle, from uint8 image to mask.

    The weights are random: they do not change what is computed.

    Args:
        preset: Network.
        height: px, a multiple of 16.
        width: px, a multiple of 16.
        repeat: Runs of each that count, in each process; one more warms up.
        processes: That measure, one after the other.

    Returns:
        ``eager_ms`` and ``exported_ms`` of each process, all runs.

    Raises:
        ProcessError: A process failed.
    """
    with TemporaryDirectory(prefix='uhr_seg_') as folder:
        export_bundle(
            build_network(preset).eval(),
            Path(folder),
            name=preset,
            preset=preset,
            classes=CLASS_SETS[NETWORKS[preset].classes],
        )
        options = json.dumps([preset, folder, height, width, repeat])
        title = f'{preset} {width}x{height}'
        return [_measured(options) for _ in tqdm(range(processes), desc=title, unit='process')]


def _measured(options: str) -> dict[str, list[float]]:
    child = python_child('uhr_seg_ros.export.against_torch', options)
    result = subprocess.run(**child, capture_output=True, text=True, check=False)
    if result.returncode:
        last = (result.stderr.strip().splitlines() or [f'exit code {result.returncode}'])[-1]
        msg = f'timing PyTorch against its export failed: {last}'
        raise ProcessError(msg)
    return json.loads(result.stdout)


def measure_here(
    preset: str, folder: str, height: int, width: int, repeat: int
) -> dict[str, list[float]]:
    """Measure in this process, both in turn; see `compare_speed`."""
    network, bundle = build_network(preset).eval(), load_bundle(folder)
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    times: dict[str, list[float]] = {'eager_ms': [], 'exported_ms': []}
    with Segmenter(bundle, 'onnxruntime') as segmenter:
        for turn in range(repeat + 1):
            pair = (
                _milliseconds(lambda: _eager(network, bundle.mean, bundle.std, image)),
                _milliseconds(lambda: segmenter(image)),
            )
            if turn:
                for name, value in zip(times, pair, strict=True):
                    times[name].append(value)
    return times


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure with the options given as JSON, and print the times as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('options', type=json.loads)
    options: list[Any] = parser.parse_args(arguments).options
    print(json.dumps(measure_here(*options)))
    return 0


if __name__ == '__main__':
    sys.exit(main())
