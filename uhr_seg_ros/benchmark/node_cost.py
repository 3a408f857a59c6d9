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

"""What the node itself costs beside the segmenter: receive, convert, publish."""

from __future__ import annotations

from collections.abc import Mapping
import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

from uhr_seg_ros.benchmark.figures import percentiles, segmenter_stages, stage_percentiles
from uhr_seg_ros.benchmark.stages import benchmark_image
from uhr_seg_ros.benchmark.transport import measure_transport, SETTINGS
from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.replay.bag_writing import BagWriter
from uhr_seg_ros.replay.session import replay
from uhr_seg_ros.replay.topics import choose_topic

TRANSPORT_RATE_HZ = 5.0


def measure_node(
    bundle: str,
    size: tuple[int, int],
    count: int,
    rate_hz: float,
    chosen: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """
    Play frames to the real node, slowly enough that none waits, and take the times apart.

    Args:
        bundle: folder or name.
        size: height and width of the frames.
        count: number of frames.
        rate_hz: frames per second, below what the model can do.
        chosen: parameters of the node, such as `backend`.

    Returns:
        `latency_ms`: publication of the frame to arrival of its mask in another process;
        `stage_ms`: as the node reports them; `segmenter_ms`: median of the segmenter;
        `receive_ms`: median of taking a frame out of DDS, measured in a process that does nothing
        else; `node_ms`: median from there to the mask's publication, less the segmenter;
        `outside_ms`: median of the rest: the camera sends, the mask travels and is taken.

    """
    loaded = load_bundle(bundle)
    parameters = {
        'bundle': str(loaded.path.resolve()),
        'input_size': list(size[::-1]),
        **chosen,
    }
    image = benchmark_image(size)
    with TemporaryDirectory(prefix='uhr_seg_') as name:
        folder = Path(name)
        with BagWriter(folder / 'frames') as bag:
            for index in range(count):
                bag.write(image, (index + 1) * 1_000_000_000)
        topic = choose_topic(folder / 'frames', log_level=logging.DEBUG)
        result, _ = replay(
            folder / 'frames',
            parameters,
            folder,
            rate_hz=rate_hz,
            topic=topic,
            save=False,
            on_mask=lambda *_: None,
        )
    transport = measure_transport(SETTINGS[-1], size, count, TRANSPORT_RATE_HZ)
    receive_ms = transport['receive_ms']['p50']
    latency = percentiles(ms for _, ms, _ in result.latencies())
    stages = stage_percentiles(result.report.values or {})
    segmenter_ms = sum(segmenter_stages(stages, loaded.kind).values())
    return {
        'size': list(size),
        'frames_played': count,
        'frames_processed': result.report.count('processed'),
        'latency_ms': latency,
        'stage_ms': stages,
        'segmenter_ms': round(segmenter_ms, 3),
        'node_ms': round(stages['latency']['p50'] - segmenter_ms, 3),
        'receive_ms': receive_ms,
        'outside_ms': round(latency['p50'] - stages['latency']['p50'] - receive_ms, 3),
    }
