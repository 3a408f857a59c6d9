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
The training loop: batches in, checkpoints out.

Everything random of a step is seeded by what it belongs to (seed, step, process, crop), so there
is no state of a generator to keep: a resumed training continues as the interrupted one would have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
import math
from pathlib import Path
from time import monotonic
from typing import Any

import torch

from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.core.domain import Domain
from uhr_seg_ros.core.errors import TrainingError
from uhr_seg_ros.export.description import Description, KEY
from uhr_seg_ros.export.export import exporter_of
from uhr_seg_ros.export.pretrained import load_pretrained
from uhr_seg_ros.networks.presets import (
    build_network,
    find_preset,
    options_of,
    SegmentationNetwork,
)
from uhr_seg_ros.training.batches import Batches, MicroBatch
from uhr_seg_ros.training.checks import field_error
from uhr_seg_ros.training.config import Config
from uhr_seg_ros.training.distributed import DistContext
from uhr_seg_ros.training.run_folder import BEST, LAST, load_last, save_atomically
from uhr_seg_ros.training.run_logger import FileRunLogger, RunLogger
from uhr_seg_ros.training.train_step import DTYPES, NotFiniteError, TrainStep
from uhr_seg_ros.training.validation import Validation


class Trainer:
    """
    Train one network.

    Args:
        config: What to do.
        classes: Names and colors of the classes.
        output: Folder of the run, made if it is missing.
        dist: The processes that train together; each has a trainer, the first one writes.
        resume: Continue from the checkpoint in the folder.
        domain: What the model is for.

    Raises:
        TrainingError: The folder holds another run; or with ``resume`` there is no checkpoint,
            or another recipe or version wrote it, or it is for other classes; or the network
            cannot be built as required.
        CheckpointError: With ``resume``, the checkpoint is damaged; or a start does not fit.

    Attributes:
        network: The network being trained.
        ema: The same with the running mean of the weights.
        step: The next step.
        description: What the checkpoints are for, which is written into them.
        best: Highest mIoU of a validation so far.
    """

    def __init__(
        self,
        config: Config,
        classes: ClassSet,
        output: Path,
        dist: DistContext = DistContext(),  # noqa: B008 - it cannot change
        *,
        resume: bool = False,
        domain: Domain = Domain(),  # noqa: B008 - it cannot change
    ) -> None:
        if not resume and (output / LAST).exists():
            msg = f'{output} holds a run already: add --resume or choose another --output'
            raise TrainingError(msg)
        self.config, self.output, self.dist = config, output, dist
        self.decisive = config.decisive() | {'classes': len(classes)}
        self.description = _described(config, classes, domain)
        self.step, self.best = 0, -math.inf
        state = load_last(output, self.decisive, self.description) if resume else None
        torch.manual_seed(config.training.seed)
        network, ema = (_built(config, len(classes)) for _ in range(2))
        if state is None:
            _init_weights(network, config, self.description)
        self.train_step = TrainStep(
            # The overloads of torch leave the memory format out.
            network.to(dist.device, memory_format=torch.channels_last),  # type: ignore[call-overload]
            ema.to(dist.device),
            config.training,
            dist,
        )
        if state is not None:
            self._resume(state)

    @property
    def network(self) -> SegmentationNetwork:
        """The network being trained."""
        return self.train_step.network

    @property
    def ema(self) -> SegmentationNetwork:
        """The same network with the running mean of the weights."""
        return self.train_step.ema

    def run(
        self,
        batches: Batches,
        validation: Validation | None = None,
        *,
        until: int | None = None,
        deadline: float = math.inf,
        stop: Callable[[], object] = lambda: False,
    ) -> bool:
        """
        Train up to a step or a time, with validations and checkpoints on the way.

        Args:
            batches: Where the crops come from.
            validation: What to validate on.
            until: Step to stop before; the end of the recipe by default.
            deadline: Time of ``monotonic`` to stop after; a checkpoint is written.
            stop: Asked in every step: whether to stop after it, likewise.

        Returns:
            Whether the recipe is finished.

        Raises:
            TrainingError: A loss or a gradient is not finite; its batch is saved.
        """
        training = self.config.training
        until = training.steps if until is None else until
        self.network.train()
        with (
            closing(self._open_logger()) as logger,
            closing(batches.range(self.step, until)) as steps,
        ):
            started = monotonic()
            for step, batch in steps:
                late = monotonic() > deadline or bool(stop())
                terms, late = self._update(step, batch, late=late)
                self.step = step + 1
                now = monotonic()
                logger.step(step, terms, now - started)
                if validation is not None and self._due(training.validate_every, training.steps):
                    self._validate(validation, logger)
                if late or self._due(training.checkpoint_every, until):
                    logger.save(LAST, self._header() | self.train_step.state_dict())
                if late:
                    break
                started = monotonic()
        return self.step >= training.steps

    @property
    def next_checkpoint(self) -> int:
        """The step before which the next checkpoint is written."""
        every = self.config.training.checkpoint_every
        return min((self.step // every + 1) * every, self.config.training.steps)

    def _open_logger(self) -> RunLogger:
        if not self.dist.writes:
            return RunLogger()
        return FileRunLogger(self.output, self.step, self.config.training.steps)

    def _due(self, every: int, last: int) -> bool:
        return self.step % every == 0 or self.step == last

    def _update(
        self, step: int, batch: Sequence[MicroBatch], *, late: bool
    ) -> tuple[dict[str, float], bool]:
        try:
            return self.train_step.step(step, batch, flag=late)
        except NotFiniteError as err:
            raise self._not_finite(err.what, step, batch) from err

    def _not_finite(self, what: str, step: int, batch: Sequence[MicroBatch]) -> TrainingError:
        """Save the batch, each process its own share, and build the error."""
        process = f'_{self.dist.rank}' if self.dist.size > 1 else ''
        path = self.output / f'not_finite_{step}{process}.pth'
        image, labels = (torch.cat(parts) for parts in zip(*batch, strict=True))
        save_atomically({'step': step, 'image': image, 'labels': labels}, path)
        self.dist.wait()  # torchrun ends all processes when one has failed
        kept = f'; {LAST} is intact' if (self.output / LAST).is_file() else ''
        return TrainingError(
            f'the {what} is not finite at step {step}: its batch is in {path}{kept}. To resume '
            'would meet the same batch: look at it, or start again with a lower learning_rate'
        )

    def _validate(self, validation: Validation, logger: RunLogger) -> None:
        dtype = DTYPES[self.config.training.precision]
        score = validation.score(self.ema, self.dist, dtype)
        logger.validation(self.step, score, validation.classes)
        if score.matrix.mean_iou() > self.best:  # never where there is none, which is NaN
            self.best = score.matrix.mean_iou()
            weights = {'state_dict': self.ema.state_dict()}
            logger.save(BEST, self._header() | weights)

    def _header(self) -> dict[str, Any]:
        return {
            'step': self.step,
            'best': self.best,
            'decisive': self.decisive,
            KEY: self.description.plain(),
        }

    def _resume(self, state: dict[str, Any]) -> None:
        try:
            self.train_step.load_state_dict(state)
            self.step, self.best = int(state['step']), float(state['best'])
        except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as err:
            msg = f'{self.output / LAST} does not fit this version: start again in another folder'
            raise TrainingError(msg) from err


def _described(config: Config, classes: ClassSet, domain: Domain) -> Description:
    network = config.training.network
    return Description(network, options_of(network, config.training.options), classes, domain)


def _built(config: Config, classes: int) -> SegmentationNetwork:
    training = config.training
    try:
        network = build_network(training.network, classes, **training.options)
        exporter_of(network)
    except (TypeError, ValueError) as err:
        msg = (
            f'field options is {training.options!r}, which {training.network} does not take: {err}'
        )
        raise TrainingError(msg) from err
    if any(side % network.stride for side in training.crop_size):
        expected = f'a multiple of {network.stride}, the stride of {training.network}'
        raise field_error('crop', training.crop, expected)
    if (side := getattr(network, 'side', 1)) > min(training.crop_size):
        raise field_error(
            'crop', training.crop, f'at least {side} px, a patch of {training.network}'
        )
    if training.low_res_saliency_steps and not hasattr(network, 'low_res_saliency'):
        expected = f'0: {training.network} has no saliency network'
        raise field_error('low_res_saliency_steps', training.low_res_saliency_steps, expected)
    if training.class_weights and len(training.class_weights) != classes:
        raise field_error(
            'class_weights', training.class_weights, f'one for each of {classes} classes'
        )
    return network


def _init_weights(network: SegmentationNetwork, config: Config, ours: Description) -> None:
    if init := find_preset(config.training.network).init:
        init(network)
    for part, path in config.pretrained.items():
        load_pretrained(network, part, path, ours)
