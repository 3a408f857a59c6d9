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

"""Masks beside the frames of a recording: topics as the node publishes them, below a prefix."""

from __future__ import annotations

from pathlib import Path
import re
from typing import Any

import numpy as np

from uhr_seg_ros.core.errors import RecordingError
from uhr_seg_ros.pipelines.segmenter import Segmentation
from uhr_seg_ros.replay.bag_writing import BagWriter
from uhr_seg_ros.replay.bags import topic_types
from uhr_seg_ros.replay.partial import check_absent

#: What the node would have published, below a prefix that is its name by default.
MASK, COLOR_MASK, OVERLAY = 'mask', 'color_mask', 'overlay'
PREFIX = '/segmentation'

# What ROS 2 takes for a topic, as long as a middleware takes it with what is put before it.
_NAME = re.compile(r'(/[A-Za-z_][A-Za-z0-9_]*)+')
_MAX_NAME = 247


def check_offline(source: Path, output: Path, prefix: str = PREFIX) -> str:
    """
    Check that masks can be added to a recording, before a model is loaded for them.

    Returns:
        The prefix with a slash in front and none at its end.

    Raises:
        RecordingError: it is not a recording, or the folder exists.
        RecordingError: the recording has topics below the prefix already, which is not a name of
            topics, or the folder lies in the recording.

    """
    name = f'/{prefix.strip("/")}'
    if not _NAME.fullmatch(name) or '__' in name or len(f'{name}/{COLOR_MASK}') > _MAX_NAME:
        msg = (
            f'{prefix!r} is not a prefix of topics: expected names of letters, digits and single '
            f'underscores with slashes between them, such as {PREFIX}_2, of at most '
            f'{_MAX_NAME - len(COLOR_MASK) - 1} characters'
        )
        raise RecordingError(msg)
    target, recording = output.resolve(), source.resolve()
    if (recording.parent / 'metadata.yaml').is_file():  # a file of a recording
        recording = recording.parent
    if recording in (target, *target.parents):
        msg = f'{output} lies in the recording {source}: choose a folder outside'
        raise RecordingError(msg)
    check_absent(output)
    there = [
        topic for topic in topic_types(source) if f'/{topic.strip("/")}/'.startswith(f'{name}/')
    ]
    if there:
        msg = (
            f'{source} has {", ".join(there)} already, and new masks are not mixed with those: '
            f'give the new ones another name, such as --prefix {name}_2'
        )
        raise RecordingError(msg)
    return name


def add_masks(
    bag: BagWriter, prefix: str, header: Any, result: Segmentation, time_ns: int
) -> None:
    """
    Add the mask of a frame, and the color mask and overlay that it has.

    Args:
        bag: to write to.
        prefix: of the topics, as `check_offline` gives it.
        header: that of the frame.
        result: of the frame.
        time_ns: when the frame was recorded.

    """
    mask_encoding = 'mono8' if result.mask.dtype == np.uint8 else 'mono16'
    bag.write_image(f'{prefix}/{MASK}', result.mask, mask_encoding, header, time_ns)
    for name, picture in ((COLOR_MASK, result.color_mask), (OVERLAY, result.overlay)):
        if picture is not None:
            bag.write_image(f'{prefix}/{name}', picture, 'bgr8', header, time_ns)
