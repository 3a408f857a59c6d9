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

"""What all data sets share: splits of labelled images, found on disk and checked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.core.domain import Domain
from uhr_seg_ros.core.errors import DataError
from uhr_seg_ros.data.image_io import BandRules
from uhr_seg_ros.data.label_map import LabelMap
from uhr_seg_ros.data.label_noise import NoisyRegion
from uhr_seg_ros.data.pairing import Files
from uhr_seg_ros.data.sample import Crop, FileSample, Sample

#: The usual names of splits, in their usual order.
SPLITS = ('train', 'val', 'test')

#: In place of the name of a split: before that of a ground, the images that show it, whatever
#: their split, or all others; before that of an image, that one.
ON_GROUND, OFF_GROUND, ONE_IMAGE = 'ground=', 'ground!=', 'image='
CHOICES = (ON_GROUND, OFF_GROUND, ONE_IMAGE)


class Dataset(ABC):
    """
    Labeled images on disk, by split: the base of every data set, also of a user's own.

    A subclass says what its classes are and which files belong to a split. docs/extending.md
    has an example.

    Attributes:
        name: Its name in `DATASETS`, or what a user's own set is called.
        root: Folder.
        classes: Names and colours.
        domain: What its images show, and how; empty where it does not say it.
        splits: Names of the splits that are there.
        ignored: Class ids that are trained as classes; evaluation leaves out the pixels that
            are labelled so.
        reported: The class whose IoU the literature reports in place of the mean, if it does.
        rules: Which bands of images are seen, and how their values become bytes; whoever opens
            the set may choose them before its images are opened.
        doubts: Name of an image -> where its labels are plainly wrong, for training to ignore.

    Raises:
        DataError: The folder is missing or holds no split.
    """

    name: str
    classes: ClassSet
    domain: Domain = Domain()
    splits: tuple[str, ...]
    ignored: tuple[int, ...] = ()
    reported: str | None = None
    rules: BandRules = BandRules()
    doubts: Mapping[str, Sequence[NoisyRegion]] = MappingProxyType({})

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            msg = f'{self.root} is no folder: give the root folder of the {self.name} set'
            raise DataError(msg)

    def images(self, split: str) -> list[FileSample]:
        """
        Return all images of a split; the files are found and their sizes compared.

        Every file that cannot be used is named, not the first one alone.

        Raises:
            DataError: There is no such split, or it is empty; a file or a folder is missing or
                damaged; sizes differ.
        """
        images, faults = self.open_images(split)
        if faults:
            raise faults_error(faults, f'split {split} of {self.root}')
        return images

    def open_images(self, split: str) -> tuple[list[FileSample], list[str]]:
        """
        Open the images of a split, as `images`, and go on where one cannot be used.

        Returns:
            The images that can be used, and what is wrong with each of the others.

        Args:
            split: Name of a split, or what begins with one of `CHOICES`.

        Raises:
            DataError: There is no such split or ground, it is empty, or a file is missing.
        """
        if split.startswith(CHOICES) and split not in self.splits:
            return self._open_chosen(split)
        if split not in self.splits:
            msg = f'{self.root} has no split {split!r}: {", ".join(self.splits)}'
            raise DataError(msg)
        encoding = self.label_map(split)
        images, faults = [], []
        for files in self.files(split):
            try:
                image = self.open_sample(files, encoding)
                if self.rules:
                    image.choose_bands(self.rules)
                images.append(image)
            except DataError as err:
                faults.append(str(err))
        return images, faults

    def grounds(self) -> dict[str, list[str]]:
        """
        Return the grounds of all splits and the names of the images that show each.

        Raises:
            DataError: As `images`.
        """
        found: dict[str, list[str]] = {}
        for split in self.splits:
            for image in self.images(split):
                found.setdefault(image.ground, []).append(image.name)
        return found

    def _open_chosen(self, choice: str) -> tuple[list[FileSample], list[str]]:
        opened = [self.open_images(split) for split in self.splits]
        images = [image for found, _ in opened for image in found]
        name, by_name = choice.split('=', 1)[1], choice.startswith(ONE_IMAGE)
        names = [image.name if by_name else image.ground for image in images]
        if name not in names:
            kind, known = choice.split('=')[0].rstrip('!'), named(list(dict.fromkeys(names)), 20)
            msg = f'{self.root} has no {kind} {name!r} (split {choice!r}): {known}'
            raise DataError(msg)
        wanted = not choice.startswith(OFF_GROUND)
        pairs = zip(images, names, strict=True)
        chosen = [image for image, own in pairs if (own == name) == wanted]
        if not chosen:
            msg = f'split {choice!r} of {self.root} is empty: all images show {name}'
            raise DataError(msg)
        return chosen, [fault for _, faults in opened for fault in faults]

    @abstractmethod
    def files(self, split: str) -> Sequence[Files]:
        """List the files of a split, at least one."""

    def label_map(self, split: str) -> LabelMap:
        """Tell what the values in the label files of a split mean; by default class ids."""
        return LabelMap.of_classes(len(self.classes))

    def open_sample(self, files: Files, encoding: LabelMap) -> FileSample:
        """Open the files of one image; by default an image file and a file of labels."""
        return FileSample(*files, encoding)


def hold_out(
    images: Sequence[Sample], name: str, share: float = 1 / 3
) -> tuple[list[Sample], Sample]:
    """
    Cut a validation part off the bottom of one training image.

    Args:
        images: The training images.
        name: The image to cut; it must show no ground that another one shows too.
        share: Share of its rows that is held out, above 0 and below 1.

    Returns:
        The images to train on, and the part to validate on.

    Raises:
        DataError: There is no such image, its ground is shown twice, or the share is none.
    """
    by_name = {image.name: image for image in images}
    if name not in by_name:
        msg = f'image {name!r} to hold out is not among {", ".join(by_name)}'
        raise DataError(msg)
    whole = by_name.pop(name)
    if same := [image.name for image in by_name.values() if image.ground == whole.ground]:
        msg = f'image {name!r} to hold out shows ground that {", ".join(same)} shows too'
        raise DataError(msg)
    height, width = whole.size
    cut = round(height * (1 - share))
    if not 0 < cut < height:
        msg = f'share {share} of {name!r} ({height} rows) to hold out leaves nothing on one side'
        raise DataError(msg)
    parts = {name: Crop(whole, (0, 0, cut, width))}
    training = [parts.get(image.name, image) for image in images]
    return training, Crop(whole, (cut, 0, height - cut, width))


#: So many files are named in one error.
NAMED = 20


def faults_error(faults: Sequence[str], where: str) -> DataError:
    """
    Build the error about files that cannot be used.

    Args:
        faults: A text about each.
        where: What they belong to, for the text where there are several.
    """
    if len(faults) == 1:
        return DataError(faults[0])
    more = [f'and {len(faults) - NAMED} more'] if len(faults) > NAMED else []
    lines = '\n  '.join([*faults[:NAMED], *more])
    return DataError(f'{where}: {len(faults)} files cannot be used\n  {lines}')


def named(names: Sequence[str], most: int = 5) -> str:
    """List the first names and say how many more there are."""
    more = f' and {len(names) - most} more' if len(names) > most else ''
    return ', '.join(names[:most]) + more
