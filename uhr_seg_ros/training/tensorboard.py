# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Curves and pictures for TensorBoard, where it is installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.training.validation import Score

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FOLDER = 'tensorboard'


class TensorBoardLogger:
    """
    Writes scalars and pictures; does nothing, and says so once, without the package tensorboard.

    Args:
        run: Folder of the run.
        step: Where the run goes on; what an interrupted run wrote of later steps is hidden.
    """

    def __init__(self, run: Path, step: int) -> None:
        self._writer = _open(run / FOLDER, step)

    def step(self, step: int, terms: Mapping[str, float], seconds: float) -> None:
        """Add the losses and the rate of a step, and what it took."""
        if self._writer is not None:
            for name, value in terms.items():
                self._writer.add_scalar(name if name == 'rate' else f'loss/{name}', value, step)
            self._writer.add_scalar('seconds per step', seconds, step)

    def validation(self, step: int, score: Score, classes: ClassSet) -> None:
        """Add mIoU, IoU of each class and pictures."""
        if self._writer is None:
            return
        figures = score.figures(classes)
        by_class = {f'validation IoU/{name}': value for name, value in figures['iou'].items()}
        for title, value in {'validation/mIoU': figures['mean_iou'], **by_class}.items():
            if value is not None:
                self._writer.add_scalar(title, value, step)
        for index, picture in enumerate(score.pictures):
            title = f'image, labels, mask/{index}'
            self._writer.add_image(title, picture, step, dataformats='HWC')

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()


def _open(folder: Path, step: int) -> SummaryWriter | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        Console(stderr=True).print(
            'curves go to log.jsonl only; to see them in TensorBoard: pip install tensorboard'
        )
        return None
    return SummaryWriter(folder, purge_step=step + 1)
