# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Real aerial mosaics with labels: ``images/NAME.jpg``, ``labels/NAME.png``, ``split.json``."""

from __future__ import annotations

from dataclasses import dataclass
import json
from pathlib import Path

import cv2
import numpy as np

from uhr_seg_ros.classes import UNLABELLED
from uhr_seg_ros.errors import UhrSegError

#: Share of a held-out training tile, from its bottom edge, that validation uses.
VALIDATION_SHARE = 1 / 3


class DataError(UhrSegError):
    """A data set that is missing, incomplete or inconsistent; the text names the file."""


@dataclass(frozen=True)
class Mosaic:
    """
    One labelled image.

    Attributes:
        name: Name of the tile.
        image: (H, W, 3) uint8 BGR.
        labels: (H, W) uint8 class ids, 255 where nothing is known.
    """

    name: str
    image: np.ndarray
    labels: np.ndarray


class AerialSet:
    """
    The mosaics of a folder, by split.

    Args:
        root: Folder with ``images/``, ``labels/`` and ``split.json``.
        classes: Number of classes; a label above them is an error.

    Raises:
        DataError: The folder or its split is missing or wrong.
    """

    def __init__(self, root: str | Path, classes: int = 5) -> None:
        self.root = Path(root)
        self.classes = classes
        path = self.root / 'split.json'
        try:
            self.splits: dict[str, list[str]] = json.loads(path.read_text(encoding='utf-8'))
        except OSError as err:
            msg = f'{path} cannot be read ({err.strerror}): give the folder of the mosaics'
            raise DataError(msg) from err
        except json.JSONDecodeError as err:
            msg = f'{path} is not JSON: {err}'
            raise DataError(msg) from err
        if shared := set(self.splits.get('train', [])) & set(self.splits.get('test', [])):
            msg = f'{path}: {", ".join(sorted(shared))} is in train and in test'
            raise DataError(msg)

    def load(self, split: str) -> list[Mosaic]:
        """Read all mosaics of a split (``train`` or ``test``)."""
        if split not in self.splits:
            msg = f'{self.root}/split.json has no split {split!r}: {", ".join(self.splits)}'
            raise DataError(msg)
        return [self.read(name) for name in self.splits[split]]

    def read(self, name: str) -> Mosaic:
        """Read one mosaic and check it."""
        image_path = self.root / 'images' / f'{name}.jpg'
        label_path = self.root / 'labels' / f'{name}.png'
        image = _imread(image_path, cv2.IMREAD_COLOR)
        labels = _imread(label_path, cv2.IMREAD_UNCHANGED)
        if labels.ndim != 2 or labels.dtype != np.uint8:
            msg = f'{label_path} is {labels.dtype} {labels.shape}, expected one uint8 channel'
            raise DataError(msg)
        if labels.shape != image.shape[:2]:
            msg = f'{label_path} is {labels.shape}, its image {image_path} {image.shape[:2]}'
            raise DataError(msg)
        wrong = labels[(labels >= self.classes) & (labels != UNLABELLED)]
        if wrong.size:
            msg = (
                f'{label_path} holds the value {wrong[0]}, expected 0 to {self.classes - 1} '
                f'or {UNLABELLED}'
            )
            raise DataError(msg)
        return Mosaic(name, image, labels)


def hold_out(mosaics: list[Mosaic], name: str) -> tuple[list[Mosaic], Mosaic]:
    """
    Cut a validation part off the bottom of one training mosaic.

    Args:
        mosaics: The training mosaics.
        name: The mosaic to cut; it must share no ground with the others.

    Returns:
        The mosaics to train on, and the part to validate on.
    """
    by_name = {mosaic.name: mosaic for mosaic in mosaics}
    if name not in by_name:
        msg = f'mosaic {name!r} to hold out is not among {", ".join(by_name)}'
        raise DataError(msg)
    whole = by_name[name]
    cut = round(len(whole.labels) * (1 - VALIDATION_SHARE))
    by_name[name] = Mosaic(name, whole.image[:cut], whole.labels[:cut])
    return list(by_name.values()), Mosaic(name, whole.image[cut:], whole.labels[cut:])


def _imread(path: Path, flag: int) -> np.ndarray:
    if not path.is_file():
        msg = f'{path} is missing'
        raise DataError(msg)
    array = cv2.imread(str(path), flag)
    if array is None:
        msg = f'{path} cannot be decoded as an image'
        raise DataError(msg)
    return array
