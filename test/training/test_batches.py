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

"""Batches: seeded, and the same crops however many processes and micro-batches share them."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='training needs torch')

from tiny import batches_of, config_with, scene

from uhr_seg_ros.core.errors import TrainingError
from uhr_seg_ros.data.augmentation import AUGMENTATIONS
from uhr_seg_ros.data.crops import CropSampler
from uhr_seg_ros.data.sample import ArraySample
from uhr_seg_ros.training.batches import Batches
from uhr_seg_ros.training.distributed import DistContext


def images(batches: Batches, step: int) -> list:
    return [micro.image for micro in batches.make(step)]


def test_they_depend_on_seed_and_step_only() -> None:
    ahead = {step: micro for step, (micro,) in batches_of().range(0, 5)}
    assert list(ahead) == list(range(5))
    (again,) = batches_of().make(3)
    assert torch.equal(ahead[3].image, again.image)
    assert torch.equal(ahead[3].labels, again.labels)
    assert not torch.equal(ahead[3].image, ahead[4].image)
    assert not torch.equal(again.image, images(batches_of(config_with(seed=1)), 3)[0])
    assert again.image.shape == (2, 3, 64, 64)
    assert again.labels.dtype == torch.int64


def test_processes_and_micro_batches_share_the_same_crops() -> None:
    config = config_with(batch=8, grad_accumulation_steps=2)
    whole = images(batches_of(config_with(batch=8)), 1)[0]
    first, second = images(batches_of(config), 1)
    assert torch.equal(torch.cat([first, second]), whole)
    shares = [images(batches_of(config, DistContext(rank=rank, size=2)), 1) for rank in range(2)]
    for part, micro in enumerate((first, second)):
        assert torch.equal(torch.cat([share[part] for share in shares]), micro)


def test_a_batch_that_does_not_divide() -> None:
    with pytest.raises(TrainingError, match=r'field batch is 2, expected a multiple of 3'):
        batches_of(dist=DistContext(size=3))


def test_without_scenes_only_real_crops_are_drawn() -> None:
    config = config_with()
    real, blank = CropSampler([scene()], 64), CropSampler([scene(5)], 64)
    alone = Batches(real, None, 0.0, config.training)
    mixed = Batches(real, blank, 0.5, config.training)
    same = [
        torch.equal(a, b)
        for step in range(6)
        for a, b in zip(images(alone, step)[0], images(mixed, step)[0], strict=True)
    ]
    assert alone.make(0)[0].image.shape == (2, 3, 64, 64)
    assert not all(same)


def test_images_take_turns() -> None:
    """As published: every image once in a round of whole batches, in another order each."""
    images_of = [ArraySample(str(i), *2 * [np.full((40, 40), i, np.uint8)]) for i in range(7)]
    sampler = CropSampler(images_of, 64, AUGMENTATIONS['deform'])
    config = config_with(batch=2).training
    batches = Batches(sampler, None, 0.0, config)
    rounds = [
        [batches._turn(step, number) for step in range(3 * lap, 3 * lap + 3) for number in (0, 1)]
        for lap in range(20)
    ]
    assert all(len(set(each)) == 6 for each in rounds)
    assert len(set(map(tuple, rounds))) > 15 and set(sum(rounds, [])) == set(range(7))
    # Fewer images than a batch has crops.
    several = Batches(sampler, None, 0.0, config_with(batch=14).training)
    assert sorted(several._turn(5, number) for number in range(14)) == sorted([*range(7)] * 2)
