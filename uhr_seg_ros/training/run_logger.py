# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""What a training tells: progress bar, logs, TensorBoard and checkpoints, by one process only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.training.run_folder import LOG, RunFolder, VALIDATION
from uhr_seg_ros.training.tensorboard import TensorBoardLogger
from uhr_seg_ros.training.validation import described, Score


class Record:
    """The record of a process that has none to keep."""

    def step(self, step: int, terms: Mapping[str, float], seconds: float) -> None:
        """Note losses and rate of a step, and what it took."""

    def validation(self, step: int, score: Score, classes: ClassSet) -> None:
        """Note what was found after so many steps."""

    def save(self, name: str, state: Mapping[str, Any]) -> None:
        """Write a checkpoint."""

    def close(self) -> None:
        """Write what is left."""


class WrittenRecord(Record):
    """
    The record that is kept, in the folder of the run and on the console.

    Args:
        output: Folder of the run.
        step: Where the run begins or goes on.
        steps: Steps of the whole training.
    """

    def __init__(self, output: Path, step: int, steps: int) -> None:
        self._folder = RunFolder(output)
        self._folder.open(step)
        self._board = TensorBoardLogger(output, step)
        self._progress = tqdm(total=steps, initial=step, unit='step', mininterval=5)

    def step(self, step: int, terms: Mapping[str, float], seconds: float) -> None:
        """Note losses and rate of a step, and what it took."""
        self._folder.log(LOG, {'step': step, **terms})
        self._board.step(step, terms, seconds)
        loss = sum(value for name, value in terms.items() if name != 'rate')
        self._progress.set_postfix(loss=f'{loss:.3f}', rate=f'{terms["rate"]:.2e}', refresh=False)
        self._progress.update()

    def validation(self, step: int, score: Score, classes: ClassSet) -> None:
        """Note what was found after so many steps."""
        figures = score.figures(classes)
        self._folder.log(VALIDATION, {'step': step, **figures})
        self._board.validation(step, score, classes)
        self._progress.write(f'step {step}: validation {described(figures)}')

    def save(self, name: str, state: Mapping[str, Any]) -> None:
        """Write a checkpoint."""
        self._folder.save(name, state)

    def close(self) -> None:
        """Write what is left."""
        self._progress.close()
        self._board.close()
        self._folder.close()
