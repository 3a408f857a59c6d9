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
"""How well the node's masks agree with the labels that a recording holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
import json
import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from uhr_seg_ros.benchmark.labeled_flight import COMPRESSED, LABEL_INFO_TOPIC, LABEL_TOPIC
from uhr_seg_ros.core.classes import ClassSet, UNLABELED
from uhr_seg_ros.evaluation.metrics import ConfusionMatrix, number
from uhr_seg_ros.pipelines.mask_size import nearest
from uhr_seg_ros.replay.bags import (
    image_topics,
    ImageTopic,
    read_frame,
    read_messages,
    read_topics,
    topic_types,
)
from uhr_seg_ros.replay.mask_collector import mask_file

_LOG = logging.getLogger(__name__)


def label_accuracy(
    bag: Path,
    topic: ImageTopic,
    classes: ClassSet,
    stamps: Sequence[int],
    every: int,
    folder: Path,
    *,
    at_frame_size: bool = False,
) -> dict[str, Any] | None:
    """
    Compare masks with the labels of a recording that `benchmark make-bag` has made.

    Args:
        bag: the recording.
        topic: its images.
        classes: of the masks.
        stamps: those of the frames that were played, in their order, ns.
        every: each `every`-th frame of the recording was played.
        folder: with `masks/`, as a `Collector` writes it.
        at_frame_size: enlarge masks of another size to that of the labels; else the labels get
            the size of the mask, as our node makes a mask that was asked for smaller.

    Returns:
        `frames` that have a mask; `mean_iou`, `accuracy`, and `iou` of each class, None for one
        that does not occur. None without labels, with labels of other classes, without masks, or
        with masks of ids beyond the classes. Pixels that a mask has as 255 do not count.

    """
    counts = {each.name: each for each in image_topics(bag)}
    labels = next(
        (counts[name] for name in (LABEL_TOPIC, LABEL_TOPIC + COMPRESSED) if name in counts), None
    )
    if labels is None:
        return None
    if labels.count != topic.count or _names(bag) != list(classes.names):
        _LOG.warning(
            '%s: the labels on %s are not compared: they are of other classes, or not one for '
            'each frame',
            bag.name,
            labels.name,
        )
        return None
    confusion, frames = ConfusionMatrix(len(classes)), 0
    for stamp, truth in zip(stamps, islice(_labels(bag, labels), 0, None, every), strict=False):
        file = mask_file(folder, stamp)
        if file.is_file():  # a mask may have been lost
            mask = np.asarray(cv2.imread(str(file), cv2.IMREAD_UNCHANGED))
            labels_there = truth()
            if at_frame_size and mask.shape != labels_there.shape:
                mask = nearest(mask, labels_there.shape)
            seen = _seen(labels_there, mask)
            if (highest := int(mask[seen != UNLABELED].max(initial=0))) >= len(classes):
                _LOG.warning(
                    '%s: masks have the id %d, and the classes are %d: masks are not compared',
                    bag.name,
                    highest,
                    len(classes),
                )
                return None
            confusion.add(seen, mask)
            frames += 1
    if not frames:
        _LOG.warning('%s: no mask of class ids came that labels could be compared with', bag.name)
        return None
    return {
        'frames': frames,
        'mean_iou': number(confusion.mean_iou()),
        'accuracy': number(confusion.accuracy()),
        'iou': dict(zip(classes.names, map(number, confusion.iou()), strict=True)),
    }


def _seen(labels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return labels in the size of the mask, 255 where the node did not look (`roi`)."""
    if labels.shape != mask.shape:
        labels = nearest(labels, mask.shape)  # as the node has made the mask (`mask.scale`)
    return np.where(mask == UNLABELED, UNLABELED, labels)


def _labels(bag: Path, topic: ImageTopic) -> Iterator[Any]:
    """Yield what reads the labels (H, W) uint8 of each frame."""
    for _, message in read_messages(bag, topic.name):
        yield lambda message=message: read_frame(message, topic.type)[1].bgr[..., 0]


def _names(bag: Path) -> list[str]:
    """Return the names of the classes of the labels, in the order of their ids."""
    if topic_types(bag).get(LABEL_INFO_TOPIC) != 'std_msgs/msg/String':
        return []
    texts = read_topics(bag, '', (LABEL_INFO_TOPIC,))
    data = next((data for *_, data in texts), b'')
    # A string in CDR: four bytes of header, four of length, the text and a zero.
    content = json.loads(data[8:].rstrip(b'\0') or b'{}')
    return [entry['class_name'] for entry in content.get('class_map', [])]
