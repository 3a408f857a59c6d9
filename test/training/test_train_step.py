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

"""Gradients of micro-batches against those of the undivided batch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

torch = pytest.importorskip('torch', reason='training needs torch')

from tiny import batches_of, CLASSES, config_with

from uhr_seg_ros.core.errors import TrainingError
from uhr_seg_ros.networks.presets import build_network
from uhr_seg_ros.training.batches import MicroBatch
from uhr_seg_ros.training.distributed import DistContext
from uhr_seg_ros.training.train_step import TrainStep
from uhr_seg_ros.training.trainer import Trainer


@pytest.fixture(scope='module')
def weights(whole: list[MicroBatch]) -> dict[str, torch.Tensor]:
    """Return random weights whose batch norms know their statistics."""
    torch.manual_seed(0)
    network = build_network('hlrc_s', 5)
    for _ in range(20):
        network.forward_train(whole[0].image)
    return network.state_dict()


def gradients(
    weights: dict[str, torch.Tensor], batch: Sequence[MicroBatch], **losses: float
) -> dict[str, torch.Tensor]:
    """Gradients of a step whose batch norm uses running statistics."""
    network, ema = (build_network('hlrc_s', 5) for _ in range(2))
    network.load_state_dict(weights)
    config = config_with(losses=losses)
    train_step = TrainStep(network.eval(), ema, config.training, DistContext())
    train_step.step(3, batch)
    return {name: p.grad for name, p in network.named_parameters() if p.grad is not None}


def difference(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    """Relative L2 error over all parameters."""
    error = sum((a[name] - value).square().sum() for name, value in b.items())
    return float((error / sum(value.square().sum() for value in b.values())).sqrt())


@pytest.fixture(scope='module')
def parts() -> list[MicroBatch]:
    return batches_of(config_with(batch=6, grad_accumulation_steps=3)).make(0)


@pytest.fixture(scope='module')
def whole(parts: list[MicroBatch]) -> list[MicroBatch]:
    return [MicroBatch(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))]


def test_micro_batches_give_the_gradient_of_the_batch(
    weights: dict[str, torch.Tensor], parts: list[MicroBatch], whole: list[MicroBatch]
) -> None:
    found, expected = (gradients(weights, batch, balance=0) for batch in (parts, whole))
    assert found.keys() == expected.keys()
    assert difference(found, expected) < 1e-4
    assert difference(gradients(weights, parts[:2], balance=0), expected) > 0.01


def test_a_loss_left_out_leaves_its_head_alone(
    weights: dict[str, torch.Tensor], whole: list[MicroBatch]
) -> None:
    without, published = (gradients(weights, whole, **losses) for losses in ({'auxiliary': 0}, {}))
    assert not any(name.startswith('auxiliary') for name in without)
    assert any(name.startswith('auxiliary') for name in published)


def test_low_resolution_ends_after_its_steps() -> None:
    options = {'inner': 'fast_scnn', 'warped_size': [32, 32], 'size': [16, 16], 'radius': 2}
    config = config_with(network='deform_s', options=options, low_res_saliency_steps=1)
    network, ema = (build_network('deform_s', 5, **options) for _ in range(2))
    step = TrainStep(network, ema, config.training, DistContext())
    batch = batches_of(config).make(0)
    found = []
    for number in range(2):
        step.step(number, batch)
        found.append(network.low_res_saliency)
    assert found == [True, False]


def test_only_learned_downsampling_looks_at_a_low_resolution(tmp_path: Path) -> None:
    config = config_with(low_res_saliency_steps=2)
    with pytest.raises(TrainingError, match='low_res_saliency_steps is 2, expected 0: hlrc_s has'):
        Trainer(config, CLASSES, tmp_path)
