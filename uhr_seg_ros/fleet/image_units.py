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

"""Shards of images: a mask and an overlay for each, a broken one fails alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2

from uhr_seg_ros.core.errors import UhrSegError
from uhr_seg_ros.core.visualization import OverlayOptions
from uhr_seg_ros.fleet.fingerprints import content_of
from uhr_seg_ros.fleet.inputs import local_copy
from uhr_seg_ros.fleet.tools import Tools
from uhr_seg_ros.fleet.units import FAILED, KEPT, Outcome, Record, Unit
from uhr_seg_ros.image_io.georeference import ground_pixel
from uhr_seg_ros.pipelines.segmenter import Segmentation
from uhr_seg_ros.replay.frame_sources import read_image
from uhr_seg_ros.reports.class_areas import count_pixels
from uhr_seg_ros.reports.result_files import Results

IMAGE = 'image'


def segment_images(tools: Tools, unit: Unit) -> Outcome:
    """
    Segment the images of a shard.

    Args:
        tools: of the worker.
        unit: see `try_images`; `known` of each image is content and outputs as an earlier run has
            noted them, or nothing.

    """
    return try_images(tools, unit, IMAGE, lambda record, known: _segment(tools, record, known))


def try_images(
    tools: Tools, unit: Unit, kind: str, do: Callable[[Record, dict[str, Any] | None], object]
) -> Outcome:
    """
    Do the images of a shard; those that fail are tried again when the others are done.

    Args:
        tools: of the worker.
        unit: `work['images']` lists `input`, `name` and `slot`, and may have `fingerprint` and
            `known`, of each.
        kind: of the records.
        do: does an image, and completes its record.

    """
    outcome = Outcome()
    waiting = unit.work['images']
    for attempt in range(1, tools.options.retries + 2):
        failed = []
        for image in waiting:
            record = Record(
                kind,
                image['input'],
                image['name'],
                slot=image['slot'],
                fingerprint=image.get('fingerprint', ''),
                attempts=attempt,
            )
            try:
                with tools.timed(record):
                    do(record, image.get('known'))
            except (UhrSegError, MemoryError, cv2.error) as err:
                record.status = FAILED
                record.reason = str(err).strip() or 'out of memory'
                failed.append((image, record))
            else:
                outcome.records.append(record)
        if not failed:
            break
        waiting = [image for image, _ in failed]
    outcome.records += [record for _, record in failed]
    return outcome


def _segment(tools: Tools, record: Record, known: dict[str, Any] | None) -> None:
    options = tools.options
    with local_copy(record.input, options.cache) as path:
        record.content = content_of(path)
        if known and known['content'] == record.content and tools.has(known['outputs']):
            record.status = KEPT
            return
        image = read_image(path)
        record.height, record.width = image.shape[:2]
        record.m2_per_pixel = options.ground_resolution**2 or ground_pixel(path).m2
    results = Results(options.folder, overlay=options.overlay, mask_format=options.mask_format)
    files = results.files(record.name, image.shape[:2])
    overlay = OverlayOptions(overlay=options.overlay)
    refinement = options.refinement
    result = tools.segmenter(image, overlay=overlay, refinement=refinement, novelty=True)
    files.write(result.mask, result.overlay)
    written = [files.mask, *([files.overlay] if result.overlay is not None else [])]
    record.outputs = [tools.output(path) for path in written]
    note_frame(record, result, len(tools.segmenter.bundle.classes))


def note_frame(record: Record, result: Segmentation, classes: int) -> None:
    """Add a frame to what a record counts."""
    pixels = count_pixels(result.mask, classes)
    before = record.pixels or [0] * classes
    record.pixels = [first + second for first, second in zip(before, pixels, strict=True)]
    record.frames += 1
    record.unknown += result.novelty is not None and result.novelty > 1
