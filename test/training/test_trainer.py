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

"""The training loop: exact resume, whole checkpoints, a stop at a broken loss."""

from __future__ import annotations

from dataclasses import replace
import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip('torch', reason='training needs torch')

from logged import logged
from tiny import batches_of, CLASSES, CONFIG, config_with, log_of, RECIPE, validation

from uhr_seg_ros.core.classes import CLASS_SETS, ClassSet
from uhr_seg_ros.core.errors import CheckpointError, TrainingError
from uhr_seg_ros.export.checkpoints import open_checkpoint
from uhr_seg_ros.export.description import Description, KEY
from uhr_seg_ros.networks.presets import build_network
from uhr_seg_ros.training.batches import Batches
from uhr_seg_ros.training.config import Config
from uhr_seg_ros.training.trainer import Trainer

#: A network that takes less time than HLRC, for what does not depend on it.
QUICK = config_with(network='fast_scnn', options={})


@pytest.fixture(scope='module')
def batches() -> Batches:
    return batches_of()


def trainer(
    folder: Path, config: Config = CONFIG, classes: ClassSet = CLASSES, **options: bool
) -> Trainer:
    return Trainer(config, classes, folder, **options)


def saved(folder: Path, name: str = 'last.pth') -> dict:
    return torch.load(folder / name, weights_only=True)


@pytest.mark.parametrize(
    'fields',
    [
        pytest.param({}, id='fp32'),
        pytest.param(
            {'precision': 'fp16', 'network': 'fast_scnn', 'options': {}},
            id='fp16',
            marks=pytest.mark.slow,
        ),
    ],
)
def test_resumed_equals_uninterrupted(fields: dict[str, Any], tmp_path: Path) -> None:
    config = config_with(validate_every=2, **fields)
    batches = batches_of(config)
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    assert trainer(whole, config).run(batches, validation())
    assert not trainer(parts, config).run(batches, validation(), until=3)
    with (parts / 'log.jsonl').open('a') as log:
        log.write(json.dumps({'step': 3, 'refine': -1.0}) + '\n{"step": 4, "ref')  # killed here
    with (parts / 'validation.jsonl').open('a') as log:
        log.write(json.dumps({'step': 4, 'mean_iou': 1.0}) + '\n')
    assert trainer(parts, config, resume=True).run(batches, validation())
    for name in ('log.jsonl', 'validation.jsonl'):
        assert log_of(parts, name) == log_of(whole, name)
    assert [entry['step'] for entry in log_of(parts)] == list(range(6))
    assert [entry['step'] for entry in log_of(parts, 'validation.jsonl')] == [2, 4, 6]
    expected, found = saved(whole), saved(parts)
    assert found['best'] == expected['best'] > 0
    assert found['scaler'] == expected['scaler']
    for weights in ('network', 'state_dict'):
        for name, value in expected[weights].items():
            assert torch.equal(found[weights][name], value), name


def test_another_run_is_not_overwritten(batches: Batches, tmp_path: Path) -> None:
    trainer(tmp_path, QUICK).run(batches, until=1)
    before = (tmp_path / 'last.pth').read_bytes()
    with pytest.raises(TrainingError, match='holds a run already: add --resume'):
        trainer(tmp_path, QUICK)
    assert (tmp_path / 'last.pth').read_bytes() == before


def test_a_recipe_with_fewer_steps_ends_there(batches: Batches, tmp_path: Path) -> None:
    assert trainer(tmp_path, config_with(steps=6)).run(batches, until=2) is False
    shorter = trainer(tmp_path, config_with(steps=1), resume=True)
    assert shorter.run(batches) is True
    assert shorter.step == 2
    shorter = trainer(tmp_path, config_with(steps=3), resume=True)
    assert shorter.run(batches) is True
    assert [entry['step'] for entry in log_of(tmp_path)] == [0, 1, 2]
    with pytest.raises(TrainingError, match='steps was 3 and is 6'):
        trainer(tmp_path, config_with(steps=6), resume=True)


def test_another_recipe_does_not_resume(batches: Batches, tmp_path: Path) -> None:
    trainer(tmp_path).run(batches, until=1)
    other = replace(config_with(learning_rate=2e-3), data=replace(CONFIG.data, hold_out='another'))
    with pytest.raises(
        TrainingError,
        match="learning_rate was 0.001 and is 0.002; data.hold_out was 'scene' and is 'another'; "
        'classes was 5 and is 7',
    ):
        trainer(tmp_path, other, CLASS_SETS['deepglobe'], resume=True)


def swapped(classes: ClassSet) -> ClassSet:
    return ClassSet(classes.names[::-1], classes.colors[::-1])


def test_checkpoints_tell_what_they_are_for(tmp_path: Path) -> None:
    config = config_with(network='fast_scnn', options={}, validate_every=1)
    trainer(tmp_path, config).run(batches_of(config), validation(), until=1)
    said = Description('fast_scnn', {}, CLASSES)
    for name in ('last.pth', 'best.pth'):
        assert open_checkpoint(tmp_path / name).description == said
    with pytest.raises(TrainingError, match="class 0 'building' is class 0 'water' in the"):
        trainer(tmp_path, config, swapped(CLASSES), resume=True)
    recolored = ClassSet(CLASSES.names, ((0, 0, 0),) * 5)
    assert trainer(tmp_path, config, recolored, resume=True).description.classes == recolored
    state = saved(tmp_path)
    del state[KEY]  # as it was written before
    torch.save(state, tmp_path / 'last.pth')
    with logged() as lines:
        assert trainer(tmp_path, config, swapped(CLASSES), resume=True).step == 1
    assert 'last.pth does not name its classes' in ''.join(lines)
    state['network']['body.classify.3.bias'][0] = float('nan')
    torch.save(state, tmp_path / 'last.pth')
    with pytest.raises(CheckpointError, match=r'body\.classify\.3\.bias is not finite'):
        trainer(tmp_path, config, resume=True)


def test_a_damaged_checkpoint_does_not_resume(batches: Batches, tmp_path: Path) -> None:
    trainer(tmp_path, QUICK).run(batches, until=1)
    path = tmp_path / 'last.pth'
    whole, state = path.read_bytes(), saved(tmp_path)
    for content in (b'', b'text', whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r'last\.pth cannot be read'):
            trainer(tmp_path, QUICK, resume=True)
    torch.save({'step': 1}, path)
    with pytest.raises(TrainingError, match='is not a checkpoint of this version'):
        trainer(tmp_path, QUICK, resume=True)
    del state['optimizer']
    torch.save(state, path)
    with pytest.raises(TrainingError, match='does not fit this version'):
        trainer(tmp_path, QUICK, resume=True)


def test_the_average_follows_the_weights(batches: Batches, tmp_path: Path) -> None:
    run = trainer(tmp_path)
    before = run.network.decoder.classify.weight.detach().clone()
    run.run(batches, until=3)
    ema, live = run.ema.decoder.classify.weight, run.network.decoder.classify.weight
    assert not torch.equal(live, before)
    assert 0 < (ema - before).norm() < (live - before).norm() * 1.01
    state = saved(tmp_path)['state_dict']
    assert torch.equal(state['decoder.classify.weight'], ema)


def test_without_average_the_weights_are_the_exported_ones(tmp_path: Path) -> None:
    run = trainer(tmp_path, config_with(ema_decay=0.0))
    run.run(batches_of(), until=2)
    expected = run.network.state_dict()
    for name, value in run.ema.state_dict().items():
        assert torch.equal(value, expected[name])


@pytest.mark.parametrize('precision', ['bf16', pytest.param('fp16', marks=pytest.mark.slow)])
def test_mixed_precision_stays_close(precision: str, tmp_path: Path) -> None:
    logs = {}
    for name in ('fp32', precision):
        # At 64 px the coarsest maps are single pixels: their norms divide by the difference of
        # two numbers, which rounding may make zero.
        config = config_with(precision=name, crop=128)
        trainer(tmp_path / name, config).run(batches_of(config), until=2)
        logs[name] = log_of(tmp_path / name)
    for exact, found in zip(logs['fp32'], logs[precision], strict=True):
        assert found['refine'] == pytest.approx(exact['refine'], rel=0.05)
    assert logs['fp32'][0] != logs[precision][0]
    weights = saved(tmp_path / precision)['network']
    assert weights['decoder.classify.weight'].dtype == torch.float32


def test_an_overflowing_scale_is_halved_and_the_step_left_out(tmp_path: Path) -> None:
    run = trainer(tmp_path, config_with(precision='fp16'))
    before = run.network.decoder.classify.weight.detach().clone()
    run.train_step.scaler = torch.amp.GradScaler('cpu', init_scale=2.0**40)
    run.run(batches_of(), until=1)
    assert torch.equal(run.network.decoder.classify.weight, before)
    assert run.train_step.scaler.get_scale() == 2.0**39


def test_the_best_is_kept(batches: Batches, tmp_path: Path) -> None:
    run = trainer(tmp_path, config_with(validate_every=1))
    run.run(batches, validation())
    entries = log_of(tmp_path, 'validation.jsonl')
    top = max(entries, key=lambda entry: entry['mean_iou'])
    assert list(top['iou']) == list(CLASSES.names)
    best = saved(tmp_path, 'best.pth')
    assert best['best'] == top['mean_iou'] == run.best
    assert best['step'] == top['step']
    assert trainer(tmp_path, config_with(validate_every=1), resume=True).best == run.best
    network = build_network(RECIPE.network, 5, **RECIPE.options)
    network.load_state_dict(best['state_dict'])
    score = validation().score(network, run.dist, torch.float32)
    assert score.matrix.mean_iou() == top['mean_iou']


def test_a_deadline_stops_with_a_checkpoint(batches: Batches, tmp_path: Path) -> None:
    run = trainer(tmp_path, QUICK)
    assert run.run(batches, deadline=0.0) is False
    assert run.step == saved(tmp_path)['step'] == 1
    assert trainer(tmp_path, QUICK, resume=True).run(batches) is True


def test_a_broken_loss_stops_and_keeps_the_checkpoint(batches: Batches, tmp_path: Path) -> None:
    run = trainer(tmp_path)
    run.run(batches, until=1)
    before = (tmp_path / 'last.pth').read_bytes()
    with torch.no_grad():
        run.network.decoder.classify.bias[0] = float('nan')
    with pytest.raises(
        TrainingError, match=r'loss is not finite at step 1.*last.pth is intact.*same batch'
    ):
        run.run(batches)
    kept = saved(tmp_path, 'not_finite_1.pth')
    assert torch.equal(kept['image'], batches.make(1)[0].image)
    assert torch.equal(kept['labels'], batches.make(1)[0].labels)
    assert (tmp_path / 'last.pth').read_bytes() == before


def test_a_broken_gradient_never_reaches_the_weights(batches: Batches, tmp_path: Path) -> None:
    run = trainer(tmp_path)
    before = run.network.decoder.classify.weight.detach().clone()
    run.network.decoder.classify.bias.register_hook(lambda gradient: gradient * float('nan'))
    with pytest.raises(TrainingError, match=r'gradient is not finite at step 0') as error:
        run.run(batches)
    assert 'intact' not in str(error.value)
    assert torch.equal(run.network.decoder.classify.weight, before)
    assert not (tmp_path / 'last.pth').exists()


def test_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match='start without --resume'):
        trainer(tmp_path, resume=True)


def test_what_the_network_does_not_take(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r'field crop is 72, expected a multiple of 16'):
        trainer(tmp_path, config_with(crop=72))
    with pytest.raises(TrainingError, match=r'field crop is 96, expected at least 128 px'):
        trainer(tmp_path, config_with(crop=96, network='fctl_s', options={'side': 128}))
    with pytest.raises(TrainingError, match=r"field options is \{'experts': 'many'\}"):
        trainer(tmp_path, config_with(options={'experts': 'many'}))
    assert not (tmp_path / 'last.pth').exists()
