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

"""What a training reports: progress, logs, TensorBoard and checkpoints, by one process only."""

from __future__ import annotations

from collections.abc import Mapping
import logging
from pathlib import Path
from typing import Any, TYPE_CHECKING

from tqdm import tqdm

from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.training.run_folder import LOG, RunFolder, VALIDATION
from uhr_seg_ros.training.validation import format_figures, Score

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

logger = logging.getLogger(__name__)

#: Folder of the curves in that of the run.
TENSORBOARD = 'tensorboard'


class RunLogger:
    """The log of a run in a process that keeps none."""

    def step(self, step: int, terms: Mapping[str, float], seconds: float) -> None:
        """Note losses and rate of a step, and what it took."""

    def validation(self, step: int, score: Score, classes: ClassSet) -> None:
        """Note what was found after so many steps."""

    def save(self, name: str, state: Mapping[str, Any]) -> None:
        """Write a checkpoint."""

    def close(self) -> None:
        """Write what is left."""


class FileRunLogger(RunLogger):
    """
    The log that is kept, in the folder of the run, in TensorBoard and on the console.

    Args:
        output: Folder of the run.
        step: Where the run begins or goes on.
        steps: Steps of the whole training.
    """

    def __init__(self, output: Path, step: int, steps: int) -> None:
        self._folder = RunFolder(output)
        self._folder.open(step)
        self._tensorboard = TensorBoardLogger(output, step)
        self._progress = tqdm(
            desc='training', total=steps, initial=step, unit='step', mininterval=5
        )

    def step(self, step: int, terms: Mapping[str, float], seconds: float) -> None:
        """Note losses and rate of a step, and what it took."""
        self._folder.log(LOG, {'step': step, **terms})
        self._tensorboard.step(step, terms, seconds)
        loss = sum(value for name, value in terms.items() if name != 'rate')
        self._progress.set_postfix(loss=f'{loss:.3f}', rate=f'{terms["rate"]:.2e}', refresh=False)
        self._progress.update()

    def validation(self, step: int, score: Score, classes: ClassSet) -> None:
        """Note what was found after so many steps."""
        figures = score.figures(classes)
        self._folder.log(VALIDATION, {'step': step, **figures})
        self._tensorboard.validation(step, score, classes)
        self._progress.write(f'step {step}: validation {format_figures(figures)}')

    def save(self, name: str, state: Mapping[str, Any]) -> None:
        """Write a checkpoint."""
        self._folder.save(name, state)

    def close(self) -> None:
        """Write what is left."""
        self._progress.close()
        self._tensorboard.close()
        self._folder.close()


class TensorBoardLogger:
    """
    Writes scalars and pictures; does nothing, and says so once, without the package tensorboard.

    Args:
        run: Folder of the run.
        step: Where the run goes on; what an interrupted run wrote of later steps is hidden.
    """

    def __init__(self, run: Path, step: int) -> None:
        self._writer = _open(run / TENSORBOARD, step)

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
        logger.warning(
            'curves go to log.jsonl only; to see them in TensorBoard: pip install tensorboard'
        )
        return None
    return SummaryWriter(folder, purge_step=step + 1)
