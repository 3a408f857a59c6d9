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
from uhr_seg_ros.training.command import read_config  # noqa: E402
from uhr_seg_ros.training.trainer import Batches, Recipe, Trainer, TrainingError  # noqa: E402

CONFIG = Path(__file__).resolve().parents[2] / 'config' / 'train' / 'hlrc_s_aerial.yaml'
RECIPE = Recipe(
    network='hlrc_s', classes=5, steps=6, batch=2, crop=64, learning_rate=1e-3, warmup=2,
    weight_decay=0.01, average=0.9, generated=0.5, checkpoint_every=100,
)  # fmt: skip


@pytest.fixture(scope='module')
def sampler() -> CropSampler:
    return CropSampler([Mosaic('scene', *generate_scene(0, 256, 256))], RECIPE.crop)


def trainer(sampler: CropSampler, output: Path, recipe: Recipe = RECIPE) -> Trainer:
    return Trainer(recipe, Batches(sampler, sampler, recipe), output)


def log_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / 'log.jsonl').read_text().splitlines()]


def test_resumed_equals_uninterrupted(sampler: CropSampler, tmp_path: Path) -> None:
    trainer(sampler, tmp_path / 'whole').run()
    trainer(sampler, tmp_path / 'parts').run(until=3)
    second = trainer(sampler, tmp_path / 'parts')
    second.resume()
    second.run()
    whole, parts = log_of(tmp_path / 'whole'), log_of(tmp_path / 'parts')
    assert [entry['step'] for entry in parts] == list(range(6))
    for expected, found in zip(whole, parts, strict=True):
        assert found == pytest.approx(expected, rel=1e-4)


def test_the_average_follows_the_weights(sampler: CropSampler, tmp_path: Path) -> None:
    run = trainer(sampler, tmp_path)
    before = run.network.decoder.classify.weight.detach().clone()
    run.run(until=3)
    average, live = run.average.decoder.classify.weight, run.network.decoder.classify.weight
    assert not torch.equal(live, before)
    assert 0 < (average - before).norm() < (live - before).norm() * 1.01
    state = torch.load(tmp_path / 'last.pth', weights_only=True)
    assert torch.equal(state['state_dict']['decoder.classify.weight'], average)


def test_a_broken_loss_stops_and_keeps_the_checkpoint(
    sampler: CropSampler, tmp_path: Path
) -> None:
    run = trainer(sampler, tmp_path)
    run.run(until=1)
    saved = (tmp_path / 'last.pth').read_bytes()
    with torch.no_grad():
        run.network.decoder.classify.bias[0] = float('nan')
    with pytest.raises(TrainingError, match=r'not finite at step 1; its batch is in'):
        run.run()
    assert (tmp_path / 'not_finite_1.pth').is_file()
    assert (tmp_path / 'last.pth').read_bytes() == saved


def test_nothing_to_resume(sampler: CropSampler, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match='start without --resume'):
        trainer(sampler, tmp_path).resume()


def test_batches_depend_on_seed_and_step_only(sampler: CropSampler) -> None:
    batches = Batches(sampler, sampler, RECIPE)
    ahead = {step: image for step, image, _ in batches.range(0, 5)}
    assert torch.equal(ahead[3], batches.make(3)[0])
    other = Batches(sampler, sampler, replace(RECIPE, seed=1))
    assert not torch.equal(ahead[3], other.make(3)[0])


def test_the_shipped_recipe_reads() -> None:
    assert read_config(CONFIG)['network'] == 'hlrc_s'


def test_a_wrong_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / 'bad.yaml'
    path.write_text(CONFIG.read_text() + 'stepz: 3\n')
    with pytest.raises(TrainingError, match='stepz'):
        read_config(path)
