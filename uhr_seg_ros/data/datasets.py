# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""The known data sets by name."""

from __future__ import annotations

from pathlib import Path

from uhr_seg_ros.core.errors import DataError
from uhr_seg_ros.data.aerial import Aerial
from uhr_seg_ros.data.dataset import Dataset, hold_out
from uhr_seg_ros.data.folder import Folder
from uhr_seg_ros.data.layouts import Cityscapes, DeepGlobe, Inria, Street

__all__ = ['Dataset', 'DATASETS', 'hold_out', 'open_dataset']

DATASETS: dict[str, type[Dataset]] = {
    family.name: family for family in (Cityscapes, Inria, DeepGlobe, Aerial, Street, Folder)
}


def open_dataset(name: str, root: str | Path) -> Dataset:
    """
    Open a data set.

    Args:
        name: One of `DATASETS`.
        root: Its folder; docs/data.md shows what has to be in it.

    Raises:
        DataError: The name is unknown, or the folder does not hold such a set.
    """
    if name not in DATASETS:
        msg = f'data set {name!r} is unknown, known: {", ".join(DATASETS)}'
        raise DataError(msg)
    return DATASETS[name](root)
