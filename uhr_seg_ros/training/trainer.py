# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""
The training loop: crops in, checkpoints out.

Every step draws its batch from a generator seeded by (seed, step) and its dropout from one seeded
by seed + step, so a resumed training continues exactly where the interrupted one would have.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from uhr_seg_ros.data.crops import CropSampler
from uhr_seg_ros.networks.checkpoints import load_plain
from uhr_seg_ros.networks.hlrc import build_network, HLRC
from uhr_seg_ros.networks.normalising import normalised
from uhr_seg_ros.training.losses import losses
from uhr_seg_ros.training.recipe import Recipe, TrainingError
from uhr_seg_ros.training.schedule import learning_rate

LAST = 'last.pth'
LOG = 'log.jsonl'
#: Batches that are made ahead of the step that uses them.
AHEAD = 3


class Batches:
    """
    Seeded batches, made in a background thread a few steps ahead.

    Args:
        real: Crops of real mosaics.
        scenes: Crops of generated scenes; None where the recipe wants none.
        recipe: Gives batch size, share of scenes and seed.
    """

    def __init__(self, real: CropSampler, scenes: CropSampler | None, recipe: Recipe) -> None:
        self.real, self.scenes, self.recipe = real, scenes, recipe

    def make(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Give the batch of a step: image (N, 3, S, S) normalised RGB, labels (N, S, S) int64."""
        rng = np.random.default_rng((self.recipe.seed, step))
        pairs = []
        for _ in range(self.recipe.batch):
            source = self.scenes if rng.random() < self.recipe.generated else self.real
            pairs.append(source.draw(rng))
        labels = np.stack([labels for _, labels in pairs]).astype(np.int64)
        return normalised(np.stack([image for image, _ in pairs])), torch.from_numpy(labels)

    def range(self, start: int, stop: int) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
        """Yield (step, image, labels)."""
        with ThreadPoolExecutor(1) as pool:
            ahead = [
                pool.submit(self.make, step) for step in range(start, min(start + AHEAD, stop))
            ]
            for step in range(start, stop):
                if step + AHEAD < stop:
                    ahead.append(pool.submit(self.make, step + AHEAD))
                yield step, *ahead.pop(0).result()


class Trainer:
    """
    Train one network.

    Args:
        recipe: What to do.
        output: Folder of checkpoint and log, made if it is missing.
        resume: Continue from the checkpoint in the folder.

    Raises:
        TrainingError: The folder holds another run; or with ``resume`` there is no checkpoint,
            or another recipe or version wrote it.
        CheckpointError: With ``resume``, the checkpoint is damaged.

    Attributes:
        network: The network being trained.
        average: The same with the running mean of the weights.
        step: The next step.
    """

    def __init__(self, recipe: Recipe, output: Path, *, resume: bool = False) -> None:
        if not resume and (output / LAST).exists():
            msg = f'{output} holds a run already: add --resume or choose another --output'
            raise TrainingError(msg)
        torch.manual_seed(recipe.seed)
        self.recipe, self.output = recipe, output
        network = build_network(recipe.network, recipe.classes)
        self.network: HLRC = network.to(memory_format=torch.channels_last)
        self.average = build_network(recipe.network, recipe.classes)
        self.average.load_state_dict(self.network.state_dict())
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.step = 0
        if resume:
            self._resume()
        output.mkdir(parents=True, exist_ok=True)

    def run(self, batches: Batches, until: int | None = None) -> None:
        """
        Train up to a step, with checkpoints on the way.

        Args:
            batches: Where the crops come from.
            until: Step to stop before; the end of the recipe by default.

        Raises:
            TrainingError: A loss or a gradient is not finite; its batch is saved.
        """
        until = self.recipe.steps if until is None else until
        self._cut_log()
        self.network.train()
        progress = tqdm(total=self.recipe.steps, initial=self.step, unit='step', mininterval=5)
        with progress, (self.output / LOG).open('a', encoding='utf-8') as log:
            for step, image, labels in batches.range(self.step, until):
                terms = self._update(step, image, labels)
                self.step = step + 1
                progress.update()
                progress.set_postfix({name: f'{value:.3g}' for name, value in terms.items()})
                log.write(json.dumps({'step': step, **terms}) + '\n')
                if self.step % self.recipe.checkpoint_every == 0 or self.step == until:
                    log.flush()
                    self.save()

    def _cut_log(self) -> None:
        """Drop what an interrupted run logged after its last checkpoint: it is done again."""
        path = self.output / LOG
        if path.is_file():
            lines = path.read_text(encoding='utf-8').splitlines(keepends=True)
            path.write_text(''.join(lines[: self.step]), encoding='utf-8')

    def _update(self, step: int, image: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
        rate = learning_rate(
            step,
            base=self.recipe.learning_rate,
            steps=self.recipe.steps,
            warmup=self.recipe.warmup,
        )
        for group in self.optimizer.param_groups:
            group['lr'] = rate
        torch.manual_seed(self.recipe.seed + step)
        channels_last = image.contiguous(memory_format=torch.channels_last)
        terms = losses(self.network.forward_train(channels_last), labels)
        total = sum(terms.values())
        if not torch.isfinite(total):
            self._refuse('loss', step, image, labels)
        self.optimizer.zero_grad()
        total.backward()
        if not torch.isfinite(self._gradient_norm()):
            self._refuse('gradient', step, image, labels)
        self.optimizer.step()
        self._follow(step)
        return {name: float(value.detach()) for name, value in terms.items()} | {'rate': rate}

    @torch.no_grad()
    def _follow(self, step: int) -> None:
        """Move the running mean; it starts short, so that early weights are soon forgotten."""
        keep = min(self.recipe.average, (1 + step) / (10 + step))
        live = self.network.state_dict()
        for name, value in self.average.state_dict().items():
            if value.dtype.is_floating_point:
                value.lerp_(live[name], 1 - keep)
            else:
                value.copy_(live[name])

    def _gradient_norm(self) -> torch.Tensor:
        gradients = (parameter.grad for parameter in self.network.parameters())
        return torch.nn.utils.get_total_norm([value for value in gradients if value is not None])

    def _refuse(self, what: str, step: int, image: torch.Tensor, labels: torch.Tensor) -> None:
        path = self.output / f'not_finite_{step}.pth'
        torch.save({'image': image, 'labels': labels}, path)
        kept = f', {LAST} is intact' if (self.output / LAST).is_file() else ''
        msg = f'the {what} is not finite at step {step}; its batch is in {path}{kept}'
        raise TrainingError(msg)

    def save(self) -> None:
        """Write the checkpoint, complete or not at all."""
        state: dict[str, Any] = {
            'step': self.step,
            'recipe': asdict(self.recipe),
            'network': self.network.state_dict(),
            'state_dict': self.average.state_dict(),
            'optimizer': self.optimizer.state_dict(),
        }
        temporary = self.output / f'.{LAST}.{os.getpid()}'
        torch.save(state, temporary)
        temporary.replace(self.output / LAST)

    def _resume(self) -> None:
        path = self.output / LAST
        if not path.is_file():
            msg = f'there is no {path} to resume from: start without --resume'
            raise TrainingError(msg)
        state = load_plain(path)
        try:
            self._check_recipe(path, state['recipe'])
            self.network.load_state_dict(state['network'])
            self.average.load_state_dict(state['state_dict'])
            self.optimizer.load_state_dict(state['optimizer'])
            self.step = int(state['step'])
        except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as err:
            msg = f'{path} is no checkpoint of this version: start anew in another folder'
            raise TrainingError(msg) from err

    def _check_recipe(self, path: Path, theirs: dict[str, Any]) -> None:
        ours = asdict(self.recipe)
        changed = [
            f'{name} was {theirs.get(name)!r} and is {value!r}'
            for name, value in ours.items()
            if theirs.get(name) != value
        ]
        if changed:
            msg = f'{path} comes from another recipe: {"; ".join(changed)}'
            raise TrainingError(msg)
