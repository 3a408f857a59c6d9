# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Inria Aerial and DeepGlobe, in the folders that HLRC's README asks for."""

from __future__ import annotations

from uhr_seg_ros.core.classes import CLASS_SETS
from uhr_seg_ros.core.domain import DOMAINS
from uhr_seg_ros.data.dataset import Layout, SplitFolders
from uhr_seg_ros.data.label_map import LabelMap


class Inria(SplitFolders):
    """
    Inria Aerial (Maggiori et al., IGARSS 2017): 5000x5000 px at 0.3 m, buildings.

    The figure that the literature calls mIoU is the IoU of the class building.
    """

    name = 'inria'
    classes = CLASS_SETS['inria']
    domain = DOMAINS['inria']
    reported = 'building'
    layout = Layout('imgs/{split}', '_sat.tif', 'labels/{split}', '_mask.png')

    def _encoding(self, split: str) -> LabelMap:
        return LabelMap({0: 0, 1: 1})


class DeepGlobe(SplitFolders):
    """
    DeepGlobe land cover (Demir et al., CVPR Workshops 2018): 2448x2448 px at 0.5 m, 7 classes.

    Unknown is trained as class 0 and left out where it is labelled in evaluation; predicted
    elsewhere it counts as wrong.
    """

    name = 'deepglobe'
    classes = CLASS_SETS['deepglobe']
    domain = DOMAINS['deepglobe']
    ignored = (0,)
    layout = Layout('img_dir/{split}', '_sat.jpg', 'rgb2id/{split}', '_mask.png')
