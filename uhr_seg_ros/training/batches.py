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
Seeded batches, made ahead of the step that uses them.

Crop i of a step depends on (seed, step, i) alone: a resumed training sees what the interrupted one
would have seen, and so does one with another number of processes or micro-batches.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from uhr_seg_ros.data.crops import CropSampler
from uhr_seg_ros.networks.backbones.normalization import normalized
from uhr_seg_ros.training.config import TrainingConfig
from uhr_seg_ros.training.distributed import DistContext

#: Batches that are made ahead.
AHEAD = 3
#: Threads that make crops, by the kind of device that waits for them.
THREADS = {'cpu': 1, 'cuda': 8}


class MicroBatch(NamedTuple):
    """Images (N, 3, H, W) float32, normalized RGB, and labels (N, H, W) int64."""

    image: torch.Tensor
    labels: torch.Tensor


class Batches:
    """
    The batches of one process.

    Args:
        real: Crops of real images.
        scenes: Crops of generated scenes; None where there are none.
        generated: Share of the crops that come from generated scenes.
        config: Gives batch size, micro-batches and seed.
        dist: Which of the processes this is; each makes its own share of a batch.
        also: Crops of further data sets, and their share.

    Raises:
        TrainingError: The batch does not divide among the processes.
    """

    def __init__(
        self,
        real: CropSampler,
        scenes: CropSampler | None,
        generated: float,
        config: TrainingConfig,
        dist: DistContext = DistContext(),  # noqa: B008 - it cannot change
        also: Sequence[tuple[CropSampler, float]] = (),
    ) -> None:
        self.real, self.scenes, self.generated = real, scenes, generated
        self.others = [*([(scenes, generated)] if scenes is not None else []), *also]
        self.batch = config.batch
        self.seed, self.threads = config.seed, THREADS[dist.device.type]
        size = config.share(dist.size)
        # A micro-batch has the same crops whatever the number of processes that share it.
        firsts = [
            (part * dist.size + dist.rank) * size for part in range(config.grad_accumulation_steps)
        ]
        self.numbers = [range(first, first + size) for first in firsts]

    def draw(self, step: int, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return one crop: (H, W, 3) uint8 BGR and labels (H, W) uint8."""
        rng = np.random.default_rng((self.seed, step, number))
        place = rng.random() if self.others else 0.0
        for sampler, share in self.others:
            if place < share:
                return sampler.draw(rng)
            place -= share
        image = self._turn(step, number) if self.real.augmentation.shuffled else None
        return self.real.draw(rng, image)

    def _turn(self, step: int, number: int) -> int:
        """
        Return which image is next where all of them take turns, in an order of every round.

        A round has whole batches only, as published; so some images wait for another one.
        """
        count = len(self.real.images)
        lap, place = divmod(step, max(count // self.batch, 1))
        return int(_order(self.seed, lap, count)[(place * self.batch + number) % count])

    def make(self, step: int) -> list[MicroBatch]:
        """Return the micro-batches of a step."""
        return [
            _stacked([self.draw(step, number) for number in numbers]) for numbers in self.numbers
        ]

    def range(self, start: int, stop: int) -> Generator[tuple[int, list[MicroBatch]], None, None]:
        """Yield (step, micro-batches)."""
        pool = ThreadPoolExecutor(self.threads)
        try:
            ahead = [self._begin(pool, step) for step in range(start, min(start + AHEAD, stop))]
            for step in range(start, stop):
                if step + AHEAD < stop:
                    ahead.append(self._begin(pool, step + AHEAD))
                parts = ahead.pop(0)
                yield step, [_stacked([crop.result() for crop in crops]) for crops in parts]
        finally:
            pool.shutdown(cancel_futures=True)

    def _begin(self, pool: ThreadPoolExecutor, step: int) -> list[list[Future]]:
        return [
            [pool.submit(self.draw, step, number) for number in numbers]
            for numbers in self.numbers
        ]


@lru_cache(maxsize=8)
def _order(seed: int, lap: int, count: int) -> np.ndarray:
    """Shuffle the numbers of the images for one round."""
    return np.random.default_rng((seed, lap)).permutation(count)


def _stacked(crops: list[tuple[np.ndarray, np.ndarray]]) -> MicroBatch:
    labels = np.stack([labels for _, labels in crops]).astype(np.int64)
    return MicroBatch(
        normalized(np.stack([image for image, _ in crops])), torch.from_numpy(labels)
    )
