# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""What the labels do not show, in words: no figure can tell it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from uhr_seg_ros.data.errors import named
from uhr_seg_ros.data.label_table import only

#: So many classes are named.
_CLASSES = 20


def remark(report: Mapping[str, Any], name: str) -> str:
    """Return what stands behind the name of a class in a table of figures; mostly nothing."""
    if name in report['ignored']:
        return ' (ignored)'
    return ' (no labels)' if name in report['classes_without_labels'] else ''


def notes(report: Mapping[str, Any]) -> list[str]:
    """
    Return which classes and images have no labels, and what that does to the figures.

    Args:
        report: What the JSON file holds, see docs/evaluation.md.
    """
    missing = report['classes_without_labels']
    found = report['classes_found_without_labels']
    left = [name for name in report['iou'] if name not in (*missing, *report['ignored'])]
    texts = []
    if missing:
        texts.append(f'No pixel is labelled {named(missing, _CLASSES)}.')
    if found:
        texts.append(
            f'Found, but labelled nowhere: {named(found, _CLASSES)}. By definition their IoU and '
            'F1 are 0, which enters the means.'
        )
    if len(left) < 2:
        text = f'{only(left)}: there is nothing to tell apart, and no mean over classes.'
        texts.append(text[0].upper() + text[1:])
    elif all(each['mean'] is None for each in report['boundary_f'].values()):
        texts.append('The labels have no contour between two classes: there is no boundary F.')
    empty = [image['name'] for image in report['per_image'] if image['accuracy'] is None]
    if empty:
        count = f'{len(empty)} of {len(report["per_image"])} images'
        texts.append(f'No pixel is labelled in {count}: {named(empty)}.')
    return texts
