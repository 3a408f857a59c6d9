# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""The labels that an evaluation is about, looked at before anything is segmented."""

from __future__ import annotations

from uhr_seg_ros.data import image_io
from uhr_seg_ros.data.dataset import Dataset
from uhr_seg_ros.data.label_check import checked_images, Share
from uhr_seg_ros.data.label_table import show_shares, warn
from uhr_seg_ros.data.sample import LabeledImage

#: Labels are looked at once, one file after the other: few of them need to be kept, bytes.
SCAN_CACHE = 1 << 28


def evaluated_images(dataset: Dataset, split: str) -> list[LabeledImage]:
    """
    Open the images of a split after a look at all of their labels, and print what is labelled.

    Raises:
        DataError: As `checked_images`; or nothing is labelled but classes that are left out.
    """
    with image_io.cache.limited(SCAN_CACHE):
        opened, warnings = checked_images(dataset, [split])
    images, names = opened[split], dataset.classes.names
    labeled = Share.of(f'split {split}', images)
    counted = labeled.without(dataset.ignored)
    counted.check()
    show_shares([labeled], names)
    warn([*warnings, *counted.warnings(names, dataset.ignored)])
    return images
