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

"""One table for the mask, and for all that shows it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tiny_bundle import paint, TINY_CLASSES

from uhr_seg_ros.core.class_edits import ClassEdits
from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.core.visualization import colorize, OverlayOptions, OverlayPainter
from uhr_seg_ros.pipelines.relabeling import Relabeling
from uhr_seg_ros.pipelines.segmenter import Segmenter


def test_a_segmenter_gives_the_ids_that_are_wanted(tiny_bundle: Path) -> None:
    stripes = np.tile(np.array([0, 1, 2, 1], np.uint8).repeat(16), (32, 1))
    image = paint(stripes)
    edits = ClassEdits(merge=('warm=red+blue',), hide=('green',), colors=('warm=#102030',))
    pictures = OverlayOptions(overlay=True, color_mask=True)
    labels = Relabeling(TINY_CLASSES, edits)
    with Segmenter(tiny_bundle, 'onnxruntime') as segmenter:
        result = segmenter(image, overlay=pictures, relabeling=labels)
        plain = segmenter(image, overlay=pictures)
        again = segmenter(image, confidence=True, relabeling=Relabeling(TINY_CLASSES))
        sure = segmenter(image, confidence=True).confidence
        limit = (float(sure.min()) + 1) / 255
        doubted = segmenter(image, relabeling=Relabeling(TINY_CLASSES, threshold=limit))
    np.testing.assert_array_equal(result.mask, np.where(stripes == 1, 255, 0))
    assert result.classes is labels.classes
    assert result.classes.ids == {'warm': 0}
    assert 'relabel' in result.stage_times
    np.testing.assert_array_equal(result.color_mask, colorize(result.mask, labels.classes))
    assert not result.color_mask[stripes == 1].any()
    shown = OverlayPainter(labels.classes).paint(image, result.mask)
    np.testing.assert_array_equal(result.overlay, shown)
    np.testing.assert_array_equal(shown[stripes == 1], image[stripes == 1])

    np.testing.assert_array_equal(plain.mask, stripes)
    assert plain.classes is TINY_CLASSES or plain.classes == TINY_CLASSES
    assert 'relabel' not in plain.stage_times
    np.testing.assert_array_equal(again.mask, stripes)

    assert doubted.confidence is None  # nobody wanted it
    assert (doubted.mask == 255).any()
    np.testing.assert_array_equal(doubted.mask, np.where(sure < limit * 255, 255, stripes))


def test_what_changes_nothing_is_known() -> None:
    assert not Relabeling(TINY_CLASSES).changes
    assert Relabeling(TINY_CLASSES, threshold=0.1).changes
    assert Relabeling(TINY_CLASSES, ClassEdits(colors=('red=#000001',))).changes


def test_many_classes() -> None:
    classes = ClassSet(tuple(map(str, range(300))), ((9, 9, 9),) * 300)
    labels = Relabeling(classes, ClassEdits(merge=('all=299+7',), hide=('1',)), threshold=0.5)
    mask = np.array([[0, 1, 7, 299, 65535]], np.uint16)
    confidence = np.array([[127, 255, 255, 128, 255]], np.uint8)
    found = labels.apply(mask, confidence)
    assert (found.dtype, found.tolist()) == (np.uint16, [[65535, 65535, 7, 7, 65535]])
