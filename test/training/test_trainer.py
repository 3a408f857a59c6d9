# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""The training loop: exact resume, whole checkpoints, a stop at a broken loss."""

from __future__ import annotations

from dataclasses import replace
import json
from pathlib import Path

import pytest

torch = pytest.importorskip('torch', reason='training needs torch')

from uhr_seg_ros.data.aerial import Mosaic  # noqa: E402
from uhr_seg_ros.data.crops import CropSampler  # noqa: E402
from uhr_seg_ros.data.scenes import generate_scene  # noqa: E402
from uhr_seg_ros.networks.checkpoints import CheckpointError  # noqa: E402
from uhr_seg_ros.training.recipe import Recipe, TrainingError  # noqa: E402
from uhr_seg_ros.training.trainer import Batches, Trainer  # noqa: E402

RECIPE = Recipe(
    network='hlrc_s', classes=5, steps=6, batch=2, crop=64, learning_rate=1e-3, warmup=2,
    weight_decay=0.01, average=0.9, generated=0.5, checkpoint_every=100,
)  # fmt: skip


@pytest.fixture(scope='module')
def sampler() -> CropSampler:
    return CropSampler([Mosaic('scene', *generate_scene(0, 256, 256))], RECIPE.crop)


@pytest.fixture(scope='module')
def batches(sampler: CropSampler) -> Batches:
    return Batches(sampler, sampler, RECIPE)


def log_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / 'log.jsonl').read_text().splitlines()]


def test_resumed_equals_uninterrupted(batches: Batches, tmp_path: Path) -> None:
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    Trainer(RECIPE, whole).run(batches)
    Trainer(RECIPE, parts).run(batches, until=3)
    with (parts / 'log.jsonl').open('a') as log:
        log.write(json.dumps({'step': 3, 'refine': -1.0}) + '\n{"step": 4, "ref')  # killed here
    Trainer(RECIPE, parts, resume=True).run(batches)
    assert log_of(parts) == log_of(whole)
    assert [entry['step'] for entry in log_of(parts)] == list(range(6))
    expected, found = (
        torch.load(folder / 'last.pth', weights_only=True)['network'] for folder in (whole, parts)
    )
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_another_run_is_not_overwritten(batches: Batches, tmp_path: Path) -> None:
    Trainer(RECIPE, tmp_path).run(batches, until=1)
    saved = (tmp_path / 'last.pth').read_bytes()
    with pytest.raises(TrainingError, match='holds a run already: add --resume'):
        Trainer(RECIPE, tmp_path)
    assert (tmp_path / 'last.pth').read_bytes() == saved


def test_another_recipe_does_not_resume(batches: Batches, tmp_path: Path) -> None:
    Trainer(RECIPE, tmp_path).run(batches, until=1)
    other = replace(RECIPE, learning_rate=2e-3, classes=7)
    with pytest.raises(TrainingError, match='classes was 5 and is 7; learning_rate was 0.001'):
        Trainer(other, tmp_path, resume=True)


def test_a_damaged_checkpoint_does_not_resume(batches: Batches, tmp_path: Path) -> None:
    Trainer(RECIPE, tmp_path).run(batches, until=1)
    whole = (tmp_path / 'last.pth').read_bytes()
    for content in (b'', b'text', whole[: len(whole) // 2]):
        (tmp_path / 'last.pth').write_bytes(content)
        with pytest.raises(CheckpointError, match=r'last\.pth cannot be read'):
            Trainer(RECIPE, tmp_path, resume=True)
    torch.save({'step': 1}, tmp_path / 'last.pth')
    with pytest.raises(TrainingError, match='no checkpoint of this version'):
        Trainer(RECIPE, tmp_path, resume=True)


def test_the_average_follows_the_weights(batches: Batches, tmp_path: Path) -> None:
    run = Trainer(RECIPE, tmp_path)
    before = run.network.decoder.classify.weight.detach().clone()
    run.run(batches, until=3)
    average, live = run.average.decoder.classify.weight, run.network.decoder.classify.weight
    assert not torch.equal(live, before)
    assert 0 < (average - before).norm() < (live - before).norm() * 1.01
    state = torch.load(tmp_path / 'last.pth', weights_only=True)
    assert torch.equal(state['state_dict']['decoder.classify.weight'], average)


def test_a_broken_loss_stops_and_keeps_the_checkpoint(batches: Batches, tmp_path: Path) -> None:
    run = Trainer(RECIPE, tmp_path)
    run.run(batches, until=1)
    saved = (tmp_path / 'last.pth').read_bytes()
    with torch.no_grad():
        run.network.decoder.classify.bias[0] = float('nan')
    with pytest.raises(TrainingError, match=r'loss is not finite at step 1.*last.pth is intact'):
        run.run(batches)
    assert (tmp_path / 'not_finite_1.pth').is_file()
    assert (tmp_path / 'last.pth').read_bytes() == saved


def test_a_broken_gradient_never_reaches_the_weights(batches: Batches, tmp_path: Path) -> None:
    run = Trainer(RECIPE, tmp_path)
    before = run.network.decoder.classify.weight.detach().clone()
    run.network.decoder.classify.bias.register_hook(lambda gradient: gradient * float('nan'))
    with pytest.raises(TrainingError, match=r'gradient is not finite at step 0') as error:
        run.run(batches)
    assert 'intact' not in str(error.value)
    assert torch.equal(run.network.decoder.classify.weight, before)
    assert not (tmp_path / 'last.pth').exists()


def test_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match='start without --resume'):
        Trainer(RECIPE, tmp_path, resume=True)


def test_batches_depend_on_seed_and_step_only(batches: Batches, sampler: CropSampler) -> None:
    ahead = {step: image for step, image, _ in batches.range(0, 5)}
    assert torch.equal(ahead[3], batches.make(3)[0])
    other = Batches(sampler, sampler, replace(RECIPE, seed=1))
    assert not torch.equal(ahead[3], other.make(3)[0])


def test_a_recipe_without_scenes(sampler: CropSampler) -> None:
    batches = Batches(sampler, None, replace(RECIPE, generated=0.0))
    assert batches.make(0)[0].shape == (2, 3, 64, 64)
