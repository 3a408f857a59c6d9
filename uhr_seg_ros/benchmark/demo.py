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

"""The demo: record a flight, play it to the node, save what comes out, report times."""

from __future__ import annotations

from dataclasses import dataclass, field
import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from uhr_seg_ros.benchmark.demo_cloud import cloud_figures, draw_saved_cloud
from uhr_seg_ros.benchmark.figures import percentiles, stage_percentiles
from uhr_seg_ros.benchmark.host import write_results
from uhr_seg_ros.benchmark.sources import prepare_bag
from uhr_seg_ros.core.bundle import Bundle, load_bundle
from uhr_seg_ros.core.image_writing import write_image
from uhr_seg_ros.core.interruption import note_progress
from uhr_seg_ros.core.work_folders import lock_folder
from uhr_seg_ros.replay.collector import STAMP_PATTERN
from uhr_seg_ros.replay.image_source import read_image
from uhr_seg_ros.replay.results import COUNTERS, Replay
from uhr_seg_ros.replay.session import replay
from uhr_seg_ros.replay.topics import choose_topic
from uhr_seg_ros.replay.video import is_video
from uhr_seg_ros.synthetic.flight import FRAME_SIZE
from uhr_seg_ros.synthetic.flight_cloud import (
    cloud_delay_ns,
    INFO_TOPIC,
    node_parameters,
    POINTS_TOPIC,
)

_THUMBNAIL = (480, 270)
_COLUMNS = 4


@dataclass(frozen=True)
class DemoOptions:
    """
    What to show.

    Attributes:
        paths: see `prepare_bag`.
        bundle: folder or name of a bundle.
        output: folder of everything that is written.
        frames: length of a flight.
        rate_hz: frames per second; 0: a recording as it was recorded.
        size: height and width of the frames of a flight.
        cloud: whether a LiDAR flies along, whose points are labeled.
        topic: of a recording; empty: the only likely one, see `choose_topic`.
        every: 2 for every second frame of a recording or of other inputs.
        parameters: of the node, beside the bundle.

    """

    paths: tuple[Path, ...]
    bundle: str
    output: Path
    frames: int
    rate_hz: float
    size: tuple[int, int] = FRAME_SIZE
    cloud: bool = False
    topic: str = ''
    every: int = 1
    parameters: dict[str, Any] = field(default_factory=dict)


def run_demo(options: DemoOptions) -> dict[str, Any]:
    """
    Run the demo.

    Returns:
        What it also writes to `report.json`.

    Raises:
        UhrSegError: no such bundle, recording, topic or image; clouds beside a recording, or a
            topic without one; the node or the player failed.

    """
    bundle = load_bundle(options.bundle)
    with (
        lock_folder(options.output),
        note_progress(lambda: f'{len(_masks(options.output))} masks saved: {options.output}'),
    ):
        return _run(options, bundle)


def _run(options: DemoOptions, bundle: Bundle) -> dict[str, Any]:
    output = options.output
    flight_rate = options.rate_hz or 1.0
    bag = prepare_bag(
        options.paths,
        output / 'flight',
        count=options.frames,
        rate_hz=flight_rate,
        size=options.size,
        cloud=options.cloud,
        topic=options.topic,
        every=options.every,
    )
    is_given = bag != output / 'flight'
    name = options.topic if is_given else ''
    if options.paths:  # a flight is over a scene that the default model knows
        print(bundle.domain_line)
    topic = choose_topic(bag, name, log_level=logging.INFO if is_given else logging.DEBUG)
    _remove_results(output)
    parameters = {**options.parameters, 'bundle': str(bundle.path.resolve())}
    if options.cloud:
        parameters |= node_parameters()
    result, exit_code = replay(
        bag,
        parameters,
        output,
        # As flights: a video at its own rate would leave most frames without a mask.
        rate_hz=flight_rate if is_video(bag) else options.rate_hz,
        every=options.every if is_given else 1,
        topic=topic,
        clouds=options.cloud,
        extra_topics=(INFO_TOPIC, POINTS_TOPIC) if options.cloud else (),
    )
    report = {
        'bundle': bundle.name,
        'domain': str(bundle.domain),
        'recording': bag.name,
        'topic': topic.name,
        **_figures(result),
        'node_exit_code': exit_code,
        'masks_saved': len(_masks(output)),
        'files_not_saved': list(result.unsaved),
    }
    if options.cloud:
        delay_ns = cloud_delay_ns(flight_rate)
        report['clouds'] = cloud_figures(result, output, bundle.classes, delay_ns)
        draw_saved_cloud(output, bundle.classes)
    write_results(output / 'report.json', report)
    draw_overview(output)
    return report


def draw_overview(output: Path) -> None:
    """Lay the overlays out on one sheet, `overview.jpg`."""
    files = sorted(output.glob(f'overlays/{STAMP_PATTERN}_overlay.jpg'))[: 5 * _COLUMNS]
    if not files:
        return
    tiles = [
        cv2.resize(read_image(file), _THUMBNAIL, interpolation=cv2.INTER_AREA) for file in files
    ]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % min(_COLUMNS, len(tiles)))
    columns = min(_COLUMNS, len(tiles))
    rows = [np.hstack(tiles[start : start + columns]) for start in range(0, len(tiles), columns)]
    write_image(output / 'overview.jpg', np.vstack(rows))


def _figures(result: Replay) -> dict[str, Any]:
    report = result.report
    return {
        'backend': report.value('backend'),
        'frames_played': len(result.played),
        'messages_skipped': result.skipped,
        'stamps_repeated': len(result.played) - len({stamp for stamp, *_ in result.played}),
        **{f'frames_{name}': report.count(name) for name in COUNTERS},
        'latency_ms': percentiles(ms for _, ms, _ in result.latencies()),
        'stage_ms': stage_percentiles(report.values or {}),
    }


def _masks(output: Path) -> list[Path]:
    return sorted(output.glob(f'masks/{STAMP_PATTERN}_mask.png'))


def _remove_results(output: Path) -> None:
    """Remove what an earlier run has saved, and nothing that only looks alike."""
    for pattern in (
        f'masks/{STAMP_PATTERN}_mask.png',
        f'overlays/{STAMP_PATTERN}_overlay.jpg',
        f'clouds/{STAMP_PATTERN}_points.ply',
        'cloud.jpg',
        'overview.jpg',
        'report.json',
    ):
        for file in output.glob(pattern):
            file.unlink()
