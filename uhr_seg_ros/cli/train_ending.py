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

"""How a training ends: with curves and a bundle, wherever it was stopped."""

from __future__ import annotations

from dataclasses import dataclass
import logging
from pathlib import Path
import shlex
from typing import Any

from rich.console import Console
from torch import nn

from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.errors import TrainingError
from uhr_seg_ros.data.datasets import Dataset
from uhr_seg_ros.export.checkpoints import open_checkpoint
from uhr_seg_ros.export.export import export_bundle
from uhr_seg_ros.export.released import load_checkpoint
from uhr_seg_ros.reports.training_curves import draw_curves
from uhr_seg_ros.training.run_folder import BEST, LAST, LOG, read_log, VALIDATION
from uhr_seg_ros.training.trainer import Trainer
from uhr_seg_ros.training.validation import format_figures

_LOG = logging.getLogger(__name__)


@dataclass
class Ending:
    """
    What comes after the last step, and what is told where it does not come to that.

    Attributes:
        trainer: Of the run.
        dataset: What was trained on.
        config: Name of the file of the recipe.
        folder: Of the bundle.
        name: Of the model, in the bundle, in logs and diagnostics.
        bundle: The bundle, as soon as it is written.
    """

    trainer: Trainer
    dataset: Dataset
    config: str
    folder: Path
    name: str
    bundle: Bundle | None = None

    def so_far(self) -> str:
        """Tell what there is, and the command that makes a bundle of it if there is none."""
        trained, steps = self.trainer.step, self.trainer.config.training.steps
        text = f'{trained} of {steps} steps trained'
        if self._checkpoint is None:
            return text
        model = f'bundle: {self.folder}' if self.bundle else f'for a bundle: {self._command}'
        return f'{text}, go on from the last checkpoint with --resume; {model}'

    def write(self, *, finished: bool) -> None:
        """
        Draw the curves and export.

        Args:
            finished: Whether all steps are done; if not, the bundle says how many are.

        Raises:
            TrainingError: ``best.pth`` is of another run.
            UhrSegError: The bundle cannot be written.
        """
        console, output = Console(), self.trainer.output
        if not finished:
            steps = self.trainer.config.training.steps
            console.print(
                f'stopped after {self.trainer.step} of {steps} steps: go on with --resume'
            )
        validations = read_log(output / VALIDATION)
        if draw_curves(output / 'curves.png', read_log(output / LOG), validations):
            console.print(f'curves: {output / "curves.png"}', soft_wrap=True, markup=False)
        self.bundle = self._export(finished, validations)
        found = _found(self.bundle.provenance, validations)
        console.print(f'bundle: {self.folder}, {found}', soft_wrap=True, markup=False)
        line = f'{self.bundle.domain_line}{self.bundle.domain.advice}'
        console.print(line, markup=False)

    def _export(self, finished: bool, validations: list[dict[str, Any]]) -> Bundle:
        trainer, training = self.trainer, self.trainer.config.training
        _LOG.info('exporting, and comparing with torch')
        network = trainer.ema.cpu()
        best = trainer.output / BEST
        # There is none where a run was stopped before its first validation.
        chosen = 'best' if trainer.config.export == 'best' and best.is_file() else 'last'
        if chosen == 'best':
            _load_best(network, best, trainer)
        figure = validations[-1]['mean_iou'] if validations else None
        if chosen == 'best':
            figure = trainer.best
        return export_bundle(
            network,
            self.folder,
            name=self.name,
            preset=training.network,
            classes=self.dataset.classes,
            domain=trainer.description.domain,
            provenance={
                'config': self.config,
                'options': training.options,
                'dataset': self.dataset.name,
                **self.dataset.rules.fields(),
                'steps': trainer.step,
                **({} if finished else {'unfinished': f'{trainer.step} of {training.steps}'}),
                'seed': training.seed,
                'weights': chosen,
                'validation': {
                    'measured_on': trainer.config.data.measured_on,
                    'mean_iou': None if figure is None else round(figure, 4),
                },
            },
        )

    @property
    def _checkpoint(self) -> Path | None:
        """The file that a bundle can be made of, if there is one."""
        names = (BEST, LAST) if self.trainer.config.export == 'best' else (LAST,)
        paths = [self.trainer.output / name for name in names]
        return next((path for path in paths if path.is_file()), None)

    @property
    def _command(self) -> str:
        words = ['uhr_seg', 'convert', str(self._checkpoint), '--output', str(self.folder)]
        return shlex.join([*words, '--name', self.name])


def _found(provenance: dict[str, Any], validations: list[dict[str, Any]]) -> str:
    """Say what the last validation, or the best one, has found."""
    if not validations:
        return 'not validated'
    entry = {**validations[-1], 'mean_iou': provenance['validation']['mean_iou']}
    late = provenance['weights'] == 'last' and entry['step'] != provenance['steps']
    after = f' after {entry["step"]} steps' if late else ''
    return f'validation{after} {format_figures(entry)}'


def _load_best(network: nn.Module, path: Path, trainer: Trainer) -> None:
    best = open_checkpoint(path)
    # None: written before an update and a resume.
    if best.description is not None and not best.description.means(trainer.description):
        msg = f'{path} was trained as something else than this run: move it away and train again'
        raise TrainingError(msg)
    load_checkpoint(network, best.tensors)
