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

"""
All labels of a data set, looked at before anything is trained or measured with them.

A wrong value would otherwise be found when a crop meets it, after hours. A mask of 0 and 255 would
never be found: there 255 stands for the foreground, and a data set ignores what is labelled 255.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from tqdm import tqdm

from uhr_seg_ros.core.classes import UNLABELED
from uhr_seg_ros.core.errors import DataError
from uhr_seg_ros.data.dataset import Dataset, faults_error, named
from uhr_seg_ros.data.label_counts import count_ids, scan
from uhr_seg_ros.data.sample import FileSample, Sample

_WAY_OUT = (
    '255 is ignored here. If it is the foreground of your masks, write class ids: divide by 255; '
    'docs/data.md has a command'
)


@dataclass(frozen=True)
class Share:
    """
    What is labelled in some images.

    Attributes:
        title: What they are, such as the name of a split.
        images: The images.
        counts: (images, 256) int64 px of each class id, 255 for what is ignored.
    """

    title: str
    images: Sequence[Sample]
    counts: np.ndarray

    @classmethod
    def of(cls, title: str, images: Sequence[Sample]) -> Share:
        """Count what is labelled, after everything that ignores a part of it."""
        # Files are known by now; what ignores large regions has to look for them first.
        progress = tqdm(images, 'counting labels', leave=False, unit='image', delay=1)
        counts = [count_ids(image) for image in progress]
        return cls(title, images, np.array(counts, np.int64).reshape(-1, 256))

    def without(self, ids: Sequence[int]) -> Share:
        """Ignore what is labelled as some classes."""
        counts = self.counts.copy()
        counts[:, UNLABELED] += counts[:, list(ids)].sum(1)
        counts[:, list(ids)] = 0
        return Share(self.title, self.images, counts)

    @property
    def pixels(self) -> np.ndarray:
        """Labelled px of each class id, (255,) int64."""
        return self.counts.sum(0)[:UNLABELED]

    @property
    def labeled(self) -> list[int]:
        """Class ids with at least one pixel."""
        return np.flatnonzero(self.pixels).tolist()

    def missing(self, names: Sequence[str]) -> list[str]:
        """Names of the classes without a labelled pixel."""
        return [name for index, name in enumerate(names) if not self.pixels[index]]

    @property
    def ignored_images(self) -> list[str]:
        """Names of the images without a labelled pixel."""
        empty = ~np.any(self.counts[:, :UNLABELED], axis=1)
        return [image.name for image, nothing in zip(self.images, empty, strict=True) if nothing]

    def check(self) -> None:
        """
        Refuse images that are ignored throughout, all of them.

        Raises:
            DataError: No pixel is labelled.
        """
        if not self.labeled:
            count = f'{len(self.images)} image{"" if len(self.images) == 1 else "s"}'
            msg = f'{self.title}: no pixel of {count} is labelled, all are ignored'
            raise DataError(msg)

    def warnings(self, names: Sequence[str], ignored: Sequence[int] = ()) -> list[str]:
        """Tell about classes (but for the ids that are ignored) and images without labels."""
        kept = [name for index, name in enumerate(names) if index not in ignored]
        texts = []
        if missing := [name for name in self.missing(names) if name in kept]:
            texts.append(f'{self.title}: no pixel is labelled {named(missing, 20)}')
        if empty := self.ignored_images:
            texts.append(
                f'{self.title}: {len(empty)} of {len(self.images)} images are ignored '
                f'throughout: {named(empty)}'
            )
        return texts


def checked_images(
    dataset: Dataset, splits: Sequence[str], *, quiet: bool = False
) -> tuple[dict[str, list[FileSample]], list[str]]:
    """
    Open the images of splits and look at every value of their labels.

    Args:
        dataset: The data set.
        splits: Which of its splits.
        quiet: Show no progress.

    Returns:
        Split -> its images, and warnings.

    Raises:
        DataError: As `Dataset.images`; or labels are damaged, hold values without a meaning or
            only 0 and 255. Every file is named.
    """
    opened = {split: dataset.open_images(split) for split in dict.fromkeys(splits)}
    faults = [fault for _, wrong in opened.values() for fault in wrong]
    values: dict[str, np.ndarray] = {}
    for split, (images, _) in opened.items():
        found = scan(images, dataset.root, quiet=quiet)
        for image, counts in zip(images, found, strict=True):
            if isinstance(counts, DataError):
                faults.append(str(counts))
            elif text := image.encoding.fault(counts):
                faults.append(f'{image.label_path} {text}')
        if not faults:
            values[split] = np.array(found, np.int64).reshape(-1, 256)
    if faults:
        where = f'{"split" if len(opened) == 1 else "splits"} {", ".join(opened)}'
        raise faults_error(list(dict.fromkeys(faults)), f'{where} of {dataset.root}')
    warnings = []
    for split, (images, _) in opened.items():
        warnings += _masks(dataset, split, images, values)
    return {split: images for split, (images, _) in opened.items()}, warnings


def _masks(
    dataset: Dataset, split: str, images: Sequence[FileSample], values: dict[str, np.ndarray]
) -> list[str]:
    """Find masks of 0 and 255 where 255 is ignored."""
    encoding = images[0].encoding
    if encoding.ids.get(UNLABELED) != UNLABELED or len(encoding.classes) < 2:
        return []
    counts = values[split]
    looks_so = counts[:, UNLABELED].astype(bool) & ~counts[:, 1:UNLABELED].any(1)
    suspects = [image for image, found in zip(images, looks_so, strict=True) if found]
    if not suspects or any(map(_ignores, values.values())):
        return []
    first = suspects[0].label_path
    if counts[:, 1:UNLABELED].any():
        return [
            f'split {split}: {len(suspects)} of {len(images)} label files hold no value but 0 and '
            f'255, such as {first}, while the others hold classes and no 255. {_WAY_OUT}'
        ]
    if _ignored_elsewhere(dataset, values):
        return []
    listed = '0 and 255' if counts[:, 0].any() else '255'
    missing = Share.of(split, images).missing(dataset.classes.names)
    msg = (
        f'split {split} of {dataset.root}: its {len(images)} label files, such as {first}, hold '
        f'no value but {listed}, so that no pixel is labelled {named(missing, 20)}. {_WAY_OUT}'
    )
    raise DataError(msg)


def _ignores(counts: np.ndarray) -> bool:
    """Tell if a label file, (images, 256) px, holds 255 beside a class other than 0."""
    return bool((counts[:, UNLABELED].astype(bool) & counts[:, 1:UNLABELED].any(1)).any())


def _ignored_elsewhere(dataset: Dataset, values: dict[str, np.ndarray]) -> bool:
    """Tell if another split shows that 255 stands for what is ignored."""
    for split in dataset.splits:
        if split in values:
            continue
        try:
            found = scan(dataset.open_images(split)[0], dataset.root, quiet=True)
        except DataError:
            continue
        counts = [each for each in found if not isinstance(each, DataError)]
        if _ignores(np.array(counts, np.int64).reshape(-1, 256)):
            return True
    return False


def show_shares(
    shares: Sequence[Share], names: Sequence[str], console: Console | None = None
) -> None:
    """
    Print a table of the classes: their pixels, their share of what is labelled, their images.

    Args:
        shares: What is labelled, such as in each of two splits.
        names: Names of the classes.
        console: Where to; None for standard output.
    """
    table = Table(title='labels')
    table.add_column('class', no_wrap=True)
    for share in shares:
        table.add_column(f'{escape(share.title)}\nMpx', justify='right')
        table.add_column('share', justify='right', vertical='bottom')
        table.add_column('images', justify='right', vertical='bottom')
    for index, name in enumerate(names):
        table.add_row(escape(name), *(cell for share in shares for cell in _cells(share, index)))
    table.add_section()
    table.add_row('ignored', *(cell for share in shares for cell in _ignored(share)))
    (console or Console()).print(table)


def warn(texts: Sequence[str]) -> None:
    """Print warnings to standard error, each in one line."""
    console = Console(stderr=True)
    for text in texts:
        console.print(f'warning: {text}', markup=False, highlight=False, soft_wrap=True)


def only(labeled: Sequence[str]) -> str:
    """Say that fewer than two classes are labelled, given the names of those that are."""
    return f'only {labeled[0]} is labelled' if labeled else 'nothing is labelled'


def _cells(share: Share, index: int) -> tuple[str, str, str]:
    pixels, images = share.pixels[index], (share.counts[:, index] > 0).sum()
    if not pixels:
        return '-', '-', '0'
    return _millions(pixels), _percent(pixels / share.pixels.sum()), str(images)


def _ignored(share: Share) -> tuple[str, str, str]:
    pixels = share.counts[:, -1]
    part = pixels.sum() / max(share.counts.sum(), 1)
    return _millions(pixels.sum()), _percent(part), str((pixels > 0).sum())


def _millions(pixels: int) -> str:
    return f'{pixels / 1e6:.6f}' if 0 < pixels < 1e4 else f'{pixels / 1e6:.2f}'


def _percent(share: float) -> str:
    return f'{100 * share:.1f} %' if share >= 1e-3 else '< 0.1 %' if share else '0.0 %'
