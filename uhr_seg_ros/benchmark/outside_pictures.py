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

"""Overlays of masks that a node of others has published, drawn here."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.core.image_writing import write_image
from uhr_seg_ros.core.visualization import OverlayPainter
from uhr_seg_ros.pipelines.mask_size import nearest
from uhr_seg_ros.replay.bags import ImageTopic, read_frame, read_messages
from uhr_seg_ros.replay.mask_collector import mask_file
from uhr_seg_ros.replay.topic_probe import is_whole


def draw_overlays(
    bag: Path,
    topic: ImageTopic,
    classes: ClassSet,
    stamps: Sequence[int],
    every: int,
    folder: Path,
) -> None:
    """
    Lay saved masks over their frames, those of another size enlarged to them.

    Args:
        bag: the recording.
        topic: its images.
        classes: of the masks; ids beyond them stay without a color.
        stamps: those of the frames that were played, in their order, ns.
        every: each `every`-th frame of the recording was played.
        folder: with `masks/`; gets `overlays/`.

    """
    (folder / 'overlays').mkdir(exist_ok=True)
    painter = OverlayPainter(classes)
    whole = (data for _, data in read_messages(bag, topic.name) if is_whole(data, topic.type))
    for stamp, data in zip(stamps, islice(whole, 0, None, every), strict=False):
        file = mask_file(folder, stamp)
        if not file.is_file():  # it has no ids, or was lost
            continue
        frame = read_frame(data, topic.type)[1].bgr
        mask = nearest(np.asarray(cv2.imread(str(file), cv2.IMREAD_UNCHANGED)), frame.shape[:2])
        overlay = painter.paint(frame, mask)
        write_image(folder / 'overlays' / f'{file.stem}.jpg', overlay, durable=False)
