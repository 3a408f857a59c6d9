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

"""Published data sets whose splits have a folder of images and a folder of labels each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from uhr_seg_ros.core.classes import CLASS_SETS, UNLABELED
from uhr_seg_ros.core.domain import DOMAINS
from uhr_seg_ros.core.errors import DataError
from uhr_seg_ros.data.dataset import Dataset, SPLITS
from uhr_seg_ros.data.label_map import LabelMap
from uhr_seg_ros.data.pairing import Files, find, pair


@dataclass(frozen=True)
class Layout:
    """
    Names of files where each split has a folder of images and a folder of labels.

    Attributes:
        images: Folder of the images, with ``{split}`` in it.
        image_end: What follows the name of an image.
        labels: Folder of the labels.
        label_end: What follows the name of an image in the name of its labels.
    """

    images: str
    image_end: str
    labels: str
    label_end: str

    def splits(self, root: Path) -> tuple[str, ...]:
        """
        Return the usual splits that have a folder of images.

        Raises:
            DataError: There is none.
        """
        found = tuple(s for s in SPLITS if (root / self.images.format(split=s)).is_dir())
        if not found:
            folders = ', '.join(self.images.format(split=split) for split in SPLITS)
            msg = f'{root} has no folder of images: expected at least one of {folders}'
            raise DataError(msg)
        return found

    def files(self, root: Path, split: str) -> list[Files]:
        """Pair the files of a split, as `pair`."""
        image_folder, label_folder = (
            root / folder.format(split=split) for folder in (self.images, self.labels)
        )
        return pair(image_folder, self.image_end, label_folder, self.label_end)


class SplitFolders(Dataset):
    """A data set that is described by its layout."""

    layout: Layout

    def __init__(self, root: str | Path) -> None:
        super().__init__(root)
        self.splits = self.layout.splits(self.root)

    def files(self, split: str) -> Sequence[Files]:
        return self.layout.files(self.root, split)


#: Values of `labelIds` files: there are 34 of them, and -1, which is stored as 255 ...
LABEL_IDS = (*range(34), UNLABELED)
#: ... of which these are evaluated; their order is that of the 19 classes.
TRAINED_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)


def label_ids() -> LabelMap:
    """Tell what the values of ``labelIds`` files mean: 19 are classes, the rest is ignored."""
    ids = dict.fromkeys(LABEL_IDS, UNLABELED)
    return LabelMap(ids | {value: index for index, value in enumerate(TRAINED_IDS)})


_IMAGES = ('leftImg8bit/{split}', '_leftImg8bit.png', 'gtFine/{split}')
_TRAIN_IDS = Layout(*_IMAGES, '_gtFine_labelTrainIds.png')
_LABEL_IDS = Layout(*_IMAGES, '_gtFine_labelIds.png')


class Cityscapes(SplitFolders):
    """
    Cityscapes (Cordts et al., CVPR 2016) with fine labels: streets, 2048x1024 px, 19 classes.

    Train ids are read where a split has them, otherwise the 34 label ids, of which 19 become
    classes and the rest is ignored. The labels of the official test split ignore everything.
    """

    name = 'cityscapes'
    classes = CLASS_SETS['cityscapes']
    domain = DOMAINS['cityscapes']
    layout = _TRAIN_IDS

    def files(self, split: str) -> Sequence[Files]:
        return self._layout_of(split).files(self.root, split)

    def label_map(self, split: str) -> LabelMap:
        if self._layout_of(split) is _TRAIN_IDS:
            return super().label_map(split)
        return label_ids()

    def _layout_of(self, split: str) -> Layout:
        folder = self.root / _TRAIN_IDS.labels.format(split=split)
        return _TRAIN_IDS if find(folder, (_TRAIN_IDS.label_end,)) else _LABEL_IDS


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

    def label_map(self, split: str) -> LabelMap:
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


#: Value of the pixels of CamVid that are ignored.
VOID = 11


class Street(SplitFolders):
    """CamVid (Brostow et al., 2009) in the split of SegNet, 480x360 px; void is ignored."""

    name = 'street'
    classes = CLASS_SETS['street']
    domain = DOMAINS['street']
    layout = Layout('{split}/images', '.jpg', '{split}/labels', '.png')

    def label_map(self, split: str) -> LabelMap:
        return LabelMap({**{value: value for value in range(VOID)}, VOID: UNLABELED})
