# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Cityscapes (Cordts et al., CVPR 2016): streets from a car, 2048x1024 px, 19 classes."""

from __future__ import annotations

from collections.abc import Sequence

from uhr_seg_ros.core.classes import CLASS_SETS, UNLABELED
from uhr_seg_ros.core.domain import DOMAINS
from uhr_seg_ros.data.dataset import Layout, SplitFolders
from uhr_seg_ros.data.label_map import LabelMap
from uhr_seg_ros.data.pairing import Files, find

#: Values of `labelIds` files: there are 34 of them, and -1, which is stored as 255 ...
LABEL_IDS = (*range(34), UNLABELED)
#: ... of which these are evaluated; their order is that of the 19 classes.
TRAINED_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)

_IMAGES = ('leftImg8bit/{split}', '_leftImg8bit.png', 'gtFine/{split}')
_TRAIN_IDS = Layout(*_IMAGES, '_gtFine_labelTrainIds.png')
_LABEL_IDS = Layout(*_IMAGES, '_gtFine_labelIds.png')


class Cityscapes(SplitFolders):
    """
    Cityscapes with fine labels.

    Train ids are read where a split has them, otherwise the 34 label ids, of which 19 become
    classes and the rest is ignored. The labels of the official test split ignore everything.
    """

    name = 'cityscapes'
    classes = CLASS_SETS['cityscapes']
    domain = DOMAINS['cityscapes']
    layout = _TRAIN_IDS

    def _files(self, split: str) -> Sequence[Files]:
        return self._layout_of(split).files(self.root, split)

    def _encoding(self, split: str) -> LabelMap:
        if self._layout_of(split) is _TRAIN_IDS:
            return super()._encoding(split)
        ids = dict.fromkeys(LABEL_IDS, UNLABELED)
        return LabelMap(ids | {value: index for index, value in enumerate(TRAINED_IDS)})

    def _layout_of(self, split: str) -> Layout:
        folder = self.root / _TRAIN_IDS.labels.format(split=split)
        return _TRAIN_IDS if find(folder, (_TRAIN_IDS.label_end,)) else _LABEL_IDS
