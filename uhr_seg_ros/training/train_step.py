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

"""One step of the optimizer: forward, losses, gradients, weights, running mean of the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from uhr_seg_ros.core.classes import UNLABELED
from uhr_seg_ros.networks.presets import SegmentationNetwork
from uhr_seg_ros.training.batches import MicroBatch
from uhr_seg_ros.training.boundaries import edge_target
from uhr_seg_ros.training.config import TrainingConfig
from uhr_seg_ros.training.distributed import DistContext, synchronized
from uhr_seg_ros.training.losses import losses

BETAS = (0.9, 0.999)
#: What the rate is multiplied by at a milestone.
MILESTONE = 0.1
#: ``adam`` adds the decay to the gradient, ``adamw`` to the step.
OPTIMIZERS = {'adamw': torch.optim.AdamW, 'adam': torch.optim.Adam}
DTYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}


class NotFiniteError(Exception):
    """A step whose ``what``, loss or gradient, is not finite; the weights did not move."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


class Objective(nn.Module):
    """
    A network and its losses, one module because DistributedDataParallel wraps one.

    ``forward``: image (N, 3, H, W) and labels (N, H, W) -> weighted losses by name, in float32.
    """

    def __init__(self, network: SegmentationNetwork, config: TrainingConfig) -> None:
        super().__init__()
        self.network = network
        self.weights: Mapping[str, float] = config.loss_weights
        self.class_weights = None
        if config.class_weights:
            device = next(network.parameters()).device
            self.class_weights = torch.tensor(config.class_weights, device=device).float()
        self.dtype = DTYPES[config.precision]
        self.gamma, self.mean_over = config.focal_gamma, config.mean_over

    def forward(self, image: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        mixed = self.dtype != torch.float32
        with torch.autocast(image.device.type, self.dtype, enabled=mixed):
            found = self.network.forward_train(image)
        outputs = {name: each for name, each in found.items() if isinstance(each, torch.Tensor)}
        if (saliency := outputs.get('saliency')) is not None:
            outputs['edges'] = self._edges(saliency, labels)
        labels = self.network.visible_labels(labels, found)
        return losses(
            outputs,
            labels,
            self.weights,
            self.class_weights,
            gamma=self.gamma,
            mean_over=self.mean_over,
        )

    def _edges(self, saliency: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return what the saliency is to show."""
        # Next to the other ids, as the published ones: 255 would outshine all edges.
        named = labels.where(labels != UNLABELED, self.network.classes)
        border = bool(getattr(self.network, 'ignore_image_border', False))
        size = (saliency.shape[2], saliency.shape[3])
        return edge_target(named, size, ignore_image_border=border)


class TrainStep:
    """
    The weights of a training and how they move.

    Args:
        network: Initialized network on the device of ``dist``.
        ema: Another one of the same kind, which gets the running mean of the weights.
        config: What to do.
        dist: The processes that train together.
    """

    def __init__(
        self,
        network: SegmentationNetwork,
        ema: SegmentationNetwork,
        config: TrainingConfig,
        dist: DistContext,
    ) -> None:
        self.config, self.dist = config, dist
        self.network = synchronized(network) if dist.size > 1 else network
        self.ema = ema
        self.ema.load_state_dict(self.network.state_dict())
        objective = Objective(self.network, config)
        self.objective: Objective | DistributedDataParallel = objective
        if dist.size > 1:
            unused = _leaves_unused(objective, config.crop_size, dist.device)
            self.objective = DistributedDataParallel(objective, find_unused_parameters=unused)
        self.optimizer = OPTIMIZERS[config.optimizer](
            [weight for weight in self.network.parameters() if weight.requires_grad],
            config.learning_rate,
            betas=BETAS,
            weight_decay=config.weight_decay,
        )
        self.scaler = torch.amp.GradScaler(dist.device.type, enabled=config.precision == 'fp16')

    def step(
        self, step: int, batch: Sequence[MicroBatch], *, flag: bool = False
    ) -> tuple[dict[str, float], bool]:
        """
        Make one step.

        Args:
            step: Number of the step, which seeds its random numbers and sets the rate.
            batch: The micro-batches of this process.
            flag: Something that this process wants the others to know.

        Returns:
            Weighted losses by name, means over processes and micro-batches, and the rate; and
            whether any process had its flag up.

        Raises:
            NotFiniteError: In every process, if a loss or gradient of any is not finite.
        """
        rate = self._set_rate(step)
        if self.config.low_res_saliency_steps:
            low_res = step < self.config.low_res_saliency_steps
            self.network.low_res_saliency = low_res  # type: ignore[assignment]
        self.optimizer.zero_grad()
        terms = self._gradients(step, batch)
        names, values = list(terms), torch.stack([*terms.values()])
        values = torch.cat([values, values.new_tensor([float(flag)])])
        *found, flags = self.dist.mean(values).tolist()
        if not np.isfinite(found).all():
            raise NotFiniteError('loss')
        self.scaler.unscale_(self.optimizer)
        self._check_gradient()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self._follow(step)
        return dict(zip(names, found, strict=True)) | {'rate': rate}, flags > 0

    def _gradients(self, step: int, batch: Sequence[MicroBatch]) -> dict[str, torch.Tensor]:
        totals: dict[str, torch.Tensor] = {}
        for part, micro in enumerate(batch):
            _seed(self.config.seed, step, self.dist.rank, part)
            image = micro.image.to(self.dist.device, memory_format=torch.channels_last)
            labels = micro.labels.to(self.dist.device)
            # Processes exchange gradients once per step, after the last micro-batch.
            exchange: AbstractContextManager[None] = nullcontext()
            if part < len(batch) - 1 and isinstance(self.objective, DistributedDataParallel):
                exchange = self.objective.no_sync()
            with exchange:
                terms = self.objective(image, labels)
                self.scaler.scale(sum(terms.values()) / len(batch)).backward()
            for name, value in terms.items():
                share = value.detach() / len(batch)
                totals[name] = totals[name] + share if name in totals else share
        return totals

    def _set_rate(self, step: int) -> float:
        config = self.config
        rate = learning_rate(
            step,
            base=config.learning_rate,
            steps=config.steps,
            warmup=config.warmup,
            power=config.power,
            milestones=config.milestones,
        )
        for group in self.optimizer.param_groups:
            group['lr'] = rate
        return rate

    def _check_gradient(self) -> None:
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        if torch.isfinite(torch.nn.utils.get_total_norm(gradients)):
            return
        # A scaled gradient may overflow in half precision: the scaler leaves the step out and
        # halves the scale, until it is the gradient itself that does not fit.
        if not self.scaler.is_enabled() or self.scaler.get_scale() <= 1:
            raise NotFiniteError('gradient')

    @torch.no_grad()
    def _follow(self, step: int) -> None:
        """Move the running mean; it starts short, so that early weights are soon forgotten."""
        keep = min(self.config.ema_decay, (1 + step) / (10 + step))
        live = self.network.state_dict()
        for name, value in self.ema.state_dict().items():
            if value.dtype.is_floating_point:
                value.lerp_(live[name], 1 - keep)
            else:
                value.copy_(live[name])

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a resumed training needs; ``state_dict`` is the running mean."""
        return {
            'network': self.network.state_dict(),
            'state_dict': self.ema.state_dict(),
            'optimizer': self.optimizer.state_dict(),
            'scaler': self.scaler.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what ``state_dict`` gave."""
        self.network.load_state_dict(state['network'])
        self.ema.load_state_dict(state['state_dict'])
        self.optimizer.load_state_dict(state['optimizer'])
        self.scaler.load_state_dict(state['scaler'])


def learning_rate(
    step: int,
    *,
    base: float,
    steps: int,
    warmup: int,
    power: float = 1.0,
    milestones: Sequence[int] = (),
    start: float = 1e-6,
) -> float:
    """
    Rate at a step: ``base (1 - step/steps)^power``, scaled up linearly during warm-up.

    From each milestone on it is a tenth.

    Args:
        step: 0 to steps - 1.
        base: Rate without warm-up at step 0.
        steps: Length of the training.
        warmup: Steps during which the factor rises from ``start`` to 1.
        power: Exponent of the decay, 1 as published.
        milestones: Steps.
        start: Factor at step 0.
    """
    rate = base * (1 - step / steps) ** power
    rate *= MILESTONE ** sum(step >= milestone for milestone in milestones)
    if step < warmup:
        rate *= 1 - (1 - step / warmup) * (1 - start)
    return rate


def _leaves_unused(objective: Objective, crop: tuple[int, int], device: torch.device) -> bool:
    """Tell if no loss reaches some parameter, as where a loss has weight zero."""
    objective.eval()
    image = torch.zeros(1, 3, *crop, device=device)
    labels = torch.zeros(1, *crop, dtype=torch.int64, device=device)
    total = sum(objective(image, labels).values())
    weights = [weight for weight in objective.parameters() if weight.requires_grad]
    gradients = torch.autograd.grad(total, weights, allow_unused=True)
    return any(gradient is None for gradient in gradients)


def _seed(*numbers: int) -> None:
    """Seed dropout by what it depends on."""
    torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1)[0]))
