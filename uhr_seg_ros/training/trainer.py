# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""
The training loop: crops in, checkpoints out.

Every step draws its batch and its dropout from a generator seeded by (seed, step), so a resumed
training continues exactly where the interrupted one would have.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from uhr_seg_ros.bundle import IMAGENET_MEAN, IMAGENET_STD
from uhr_seg_ros.data.crops import CropSampler
from uhr_seg_ros.errors import UhrSegError
from uhr_seg_ros.networks.hlrc import build_network, HLRC
from uhr_seg_ros.training.losses import losses
from uhr_seg_ros.training.schedule import learning_rate

LAST = 'last.pth'
LOG = 'log.jsonl'
#: Batches that are made ahead of the step that uses them.
AHEAD = 3


class TrainingError(UhrSegError):
    """A training that cannot start, resume or go on."""


@dataclass(frozen=True)
class Recipe:
    """
    What a training run does.

    Attributes:
        network: Preset.
        classes: Number of classes.
        steps: Optimiser steps.
        batch: Crops per step.
        crop: Side of a crop, px.
        learning_rate: Rate after the warm-up.
        warmup: Steps of linear warm-up.
        weight_decay: Of AdamW, on all parameters.
        average: Decay of the running mean of the weights, which is what gets exported.
        generated: Share of the crops that come from generated scenes.
        checkpoint_every: Steps between checkpoints.
        seed: Of everything random.
    """

    network: str
    classes: int
    steps: int
    batch: int
    crop: int
    learning_rate: float
    warmup: int
    weight_decay: float
    average: float
    generated: float
    checkpoint_every: int
    seed: int = 0


class Batches:
    """
    Seeded batches, made in a background thread a few steps ahead.

    Args:
        real: Crops of real mosaics.
        scenes: Crops of generated scenes.
        recipe: Gives batch size, share of scenes and seed.
    """

    def __init__(self, real: CropSampler, scenes: CropSampler, recipe: Recipe) -> None:
        self.real, self.scenes, self.recipe = real, scenes, recipe

    def make(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Give the batch of a step: image (N, 3, S, S) normalised RGB, labels (N, S, S) int64."""
        rng = np.random.default_rng((self.recipe.seed, step))
        pairs = []
        for _ in range(self.recipe.batch):
            source = self.scenes if rng.random() < self.recipe.generated else self.real
            pairs.append(source.draw(rng))
        images = np.stack([image[:, :, ::-1] for image, _ in pairs]).astype(np.float32)
        images = (images - np.float32(IMAGENET_MEAN)) / np.float32(IMAGENET_STD)
        labels = np.stack([labels for _, labels in pairs]).astype(np.int64)
        return torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(labels)

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
        batches: Where the crops come from.
        output: Folder of checkpoint and log.

    Attributes:
        network: The network being trained.
        average: The same with the running mean of the weights.
        step: The next step.
    """

    def __init__(self, recipe: Recipe, batches: Batches, output: Path) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.batches, self.output = recipe, batches, output
        network = build_network(recipe.network, recipe.classes)
        self.network: HLRC = network.to(memory_format=torch.channels_last)
        self.average = build_network(recipe.network, recipe.classes)
        self.average.load_state_dict(self.network.state_dict())
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.step = 0
        output.mkdir(parents=True, exist_ok=True)

    def run(self, until: int | None = None) -> None:
        """Train up to a step (by default to the end), with checkpoints on the way."""
        until = self.recipe.steps if until is None else until
        self.network.train()
        progress = tqdm(total=self.recipe.steps, initial=self.step, unit='step', mininterval=5)
        with progress, (self.output / LOG).open('a', encoding='utf-8') as log:
            for step, image, labels in self.batches.range(self.step, until):
                terms = self._update(step, image, labels)
                self.step = step + 1
                progress.update()
                progress.set_postfix({name: f'{value:.3f}' for name, value in terms.items()})
                log.write(json.dumps({'step': step, **terms}) + '\n')
                if self.step % self.recipe.checkpoint_every == 0 or self.step == until:
                    log.flush()
                    self.save()

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
            self._refuse(step, image, labels)
        self.optimizer.zero_grad()
        total.backward()
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

    def _refuse(self, step: int, image: torch.Tensor, labels: torch.Tensor) -> None:
        path = self.output / f'not_finite_{step}.pth'
        torch.save({'image': image, 'labels': labels}, path)
        msg = f'the loss is not finite at step {step}; its batch is in {path}, {LAST} is intact'
        raise TrainingError(msg)

    def save(self) -> None:
        """Write the checkpoint, complete or not at all."""
        state: dict[str, Any] = {
            'step': self.step,
            'network': self.network.state_dict(),
            'state_dict': self.average.state_dict(),
            'optimizer': self.optimizer.state_dict(),
        }
        temporary = self.output / f'.{LAST}.{os.getpid()}'
        torch.save(state, temporary)
        temporary.replace(self.output / LAST)

    def resume(self) -> None:
        """Continue from the last checkpoint of the output folder."""
        path = self.output / LAST
        if not path.is_file():
            msg = f'there is no {path} to resume from: start without --resume'
            raise TrainingError(msg)
        state = torch.load(path, map_location='cpu', weights_only=True)
        self.network.load_state_dict(state['network'])
        self.average.load_state_dict(state['state_dict'])
        self.optimizer.load_state_dict(state['optimizer'])
        self.step = state['step']
