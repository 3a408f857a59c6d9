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

"""Videos in chunks of frames: a mask and an overlay for each frame."""

from __future__ import annotations

import logging

import cv2

from uhr_seg_ros.core.errors import RecordingError, UhrSegError
from uhr_seg_ros.core.visualization import OverlayOptions
from uhr_seg_ros.fleet.fingerprints import content_of
from uhr_seg_ros.fleet.image_units import note_frame
from uhr_seg_ros.fleet.inputs import local_copy
from uhr_seg_ros.fleet.tools import Tools
from uhr_seg_ros.fleet.units import Outcome, Record, slot_of, Unit
from uhr_seg_ros.replay.frame_sources import Frame, VideoFile
from uhr_seg_ros.reports.result_files import Results

_LOG = logging.getLogger(__name__)

VIDEO = 'video'

#: A video has so many chunks at most: each decodes what comes before it, as no codec can be
#: trusted to begin at a frame.
MOST_CHUNKS = 16


def plan_video(tools: Tools, unit: Unit) -> Outcome:
    """Cut a video into chunks of frames; the last one is open, as containers only estimate."""
    options = tools.options
    with local_copy(unit.input, options.cache) as path:
        content, count = content_of(path), VideoFile(path, unit.name, options.every).count
    length = max(options.unit_frames, -(-count // MOST_CHUNKS))
    starts = list(range(0, max(count, 1), length))
    settings = options.settings_of_parts
    parts = []
    for start, stop in zip(starts, [*starts[1:], None], strict=True):
        place = f'from frame {start * options.every}'
        if stop is not None:
            place += f' to {(stop - 1) * options.every}'
        work = {'start': start, 'stop': stop, 'fingerprint': unit.work['fingerprint']}
        slot = slot_of(settings, VIDEO, unit.input, unit.name, place)
        parts.append(Unit(VIDEO, unit.input, unit.name, place, work, slot, content))
    # In the place of a plan that failed earlier.
    return Outcome([Record.of(unit)], [parts])


def segment_video(tools: Tools, unit: Unit) -> Outcome:
    """Segment the frames of a chunk."""
    options, work = tools.options, unit.work
    record = Record.of(unit, fingerprint=work['fingerprint'])
    start, stop = work['start'], work['stop']
    with tools.timed(record), local_copy(unit.input, options.cache) as path:
        frames = VideoFile(path, unit.name, options.every).frames()
        try:
            for index, frame in enumerate(frames):
                if stop is not None and index >= stop:
                    break
                if index >= start:
                    _segment(tools, record, frame)
        except RecordingError as err:  # cut short: told once, with the last chunk
            if stop is None:
                record.left_out, record.reason = record.left_out + 1, str(err)
    return Outcome([record])


def _segment(tools: Tools, record: Record, frame: Frame) -> None:
    options = tools.options
    results = Results(options.folder, overlay=options.overlay, mask_format=options.mask_format)
    try:
        image = frame.read()
        overlay = OverlayOptions(overlay=options.overlay)
        refinement = options.refinement
        result = tools.segmenter(image, overlay=overlay, refinement=refinement, novelty=True)
        files = results.files(frame.stem, image.shape[:2])
    except (UhrSegError, MemoryError, cv2.error) as err:
        record.left_out += 1
        record.reason = f'{frame.place}: {str(err).strip() or "out of memory"}'
        _LOG.warning('%s: left out: %s', record.input, record.reason)
        return
    files.write(result.mask, result.overlay)
    record.height, record.width = result.mask.shape
    written = [files.mask, *([files.overlay] if result.overlay is not None else [])]
    record.outputs += [tools.output(path) for path in written]
    note_frame(record, result, len(tools.segmenter.bundle.classes))
