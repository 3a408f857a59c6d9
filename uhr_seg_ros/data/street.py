# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""CamVid as SegNet published it: streets from a car, 480x360 px, 11 classes."""

from __future__ import annotations

from uhr_seg_ros.core.classes import CLASS_SETS, UNLABELED
from uhr_seg_ros.core.domain import DOMAINS
from uhr_seg_ros.data.dataset import Layout, SplitFolders
from uhr_seg_ros.data.label_map import LabelMap

VOID = 11


class Street(SplitFolders):
    """CamVid (Brostow et al., 2009) in the split of SegNet; its value 11, void, is ignored."""

    name = 'street'
    classes = CLASS_SETS['street']
    domain = DOMAINS['street']
    layout = Layout('{split}/images', '.jpg', '{split}/labels', '.png')

    def _encoding(self, split: str) -> LabelMap:
        return LabelMap({**{value: value for value in range(VOID)}, VOID: UNLABELED})
