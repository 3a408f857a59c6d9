# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""The frames of a recording, decoded: a bad message costs itself only."""

from __future__ import annotations

from collections.abc import Iterator
import logging
from pathlib import Path

import numpy as np

from uhr_seg_ros.core.errors import RecordingError, UhrSegError
from uhr_seg_ros.replay.bags import read_frame, read_messages
from uhr_seg_ros.replay.topics import choose_topic

_LOG = logging.getLogger(__name__)

# So many of the messages that are left out are described; all are counted.
_DESCRIBED = 3


def recorded_frames(path: Path, topic: str = '') -> Iterator[np.ndarray]:
    """
    Read the frames of one topic, one at a time, (H, W, 3) uint8 BGR; log what is left out.

    Args:
        path: a recording.
        topic: one of its image topics; empty: the only likely one, see `choose_topic`.

    Raises:
        RecordingError: no such topic, a damaged recording, or none of its messages is a frame.

    """
    chosen = choose_topic(path, topic)
    read = left_out = 0
    try:
        for _, message in read_messages(path, chosen.name):
            try:
                frame = read_frame(message, chosen.type)[1].bgr
            except UhrSegError as err:
                left_out += 1
                if left_out <= _DESCRIBED:
                    _LOG.warning('%s: frame left out: %s', path.name, err)
                reason = err
            else:
                read += 1
                yield frame
        if not read:
            what = f'none of the {left_out} messages' if left_out else 'no message'
            cause = f', the last one: {reason}' if left_out else ''
            msg = f'{path}: {what} on {chosen.name} is a frame{cause}'
            raise RecordingError(msg)
    finally:
        if left_out and read:
            _LOG.warning(
                '%s: %d of %d frames on %s left out',
                path.name,
                left_out,
                read + left_out,
                chosen.name,
            )
