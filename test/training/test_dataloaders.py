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

"""What a configuration leaves out or changes is what is trained on, never what is validated on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('torch', reason='training needs torch')

from tiny import CLASSES, CONFIG, write_mosaics

from uhr_seg_ros.core.errors import TrainingError
from uhr_seg_ros.data.aerial import Aerial
from uhr_seg_ros.data.crops import CropSampler
from uhr_seg_ros.data.datasets import open_dataset
from uhr_seg_ros.data.label_noise import NoisyRegion
from uhr_seg_ros.training import dataloaders
from uhr_seg_ros.training.config import Data
from uhr_seg_ros.training.dataloaders import build_dataloaders
from uhr_seg_ros.training.distributed import DistContext

LAND = CLASSES.names.index('land')


@pytest.mark.parametrize('how', [{'ignore_larger': {'land': 1}}, {'ignore_noisy_labels': True}])
def test_labels_are_left_out_of_training_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: dict
) -> None:
    everywhere = (NoisyRegion((0, 0, 9999, 9999), (LAND,)),)
    monkeypatch.setattr(Aerial, 'doubts', {'one': everywhere, 'two': everywhere})
    dataset = open_dataset('aerial', write_mosaics(tmp_path / 'set'))
    plain, ignoring = (
        build_dataloaders(
            replace(CONFIG, data=Data('aerial', 'aerial', hold_out='one', **options)),
            dataset,
            DistContext(),
        )
        for options in ({}, how)
    )
    for (batches, validation), land in ((plain, True), (ignoring, False)):
        shares = [(image.read_labels() == LAND).mean() for image in batches.real.images]
        assert len(shares) == 2
        assert all((share > 0.1) == land for share in shares)
        (validated,) = validation.images
        assert (validated.read_labels() == LAND).any()


def test_scenes_are_recolored_as_real_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataloaders, 'SCENE_SIZE', (64, 64))
    dataset = open_dataset('aerial', write_mosaics(tmp_path / 'set'))
    data = replace(CONFIG.data, hold_out='one', recolor={'water': 0.5})
    batches, _ = build_dataloaders(replace(CONFIG, data=data), dataset, DistContext())
    water = {CLASSES.names.index('water'): 0.5}
    assert batches.real.recoloured == batches.scenes.recoloured == water


FURTHER = {'fields': {'split': 'odd', 'share': 0.25, 'scale': [2.0, 2.0]}}


def write_fields(root: Path) -> Path:
    """Write one gray summer of 40 px, all of it vegetation."""
    for folder, shape in (('images', (40, 40, 3)), ('labels', (40, 40))):
        (root / folder).mkdir(parents=True)
        cv2.imwrite(str(root / folder / 'fields_2009.png'), np.full(shape, 3, np.uint8))
    return root


def test_a_further_set_has_its_share_and_scale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = open_dataset('aerial', write_mosaics(tmp_path / 'set'))
    fields = write_fields(tmp_path / 'fields')
    monkeypatch.setattr(dataloaders, 'SCENE_SIZE', (64, 64))
    data = replace(CONFIG.data, hold_out='one', generated=0.5, also=FURTHER)
    config = replace(CONFIG, data=data)
    batches, _ = build_dataloaders(config, dataset, DistContext(), {'fields': fields})
    for number, sampler in enumerate((batches.real, batches.scenes, batches.others[1][0]), 1):
        monkeypatch.setattr(sampler, 'draw', lambda *_, number=number: number)
    drawn = np.bincount([batches.draw(step, 0) for step in range(2000)], minlength=4)[1:] / 2000
    assert drawn == pytest.approx([0.25, 0.5, 0.25], abs=0.03)
    further = CropSampler.draw(batches.others[1][0], np.random.default_rng(0))[1]
    # 40 px enlarged twice fill the crop.
    assert further.shape == (64, 64) and (further == 3).all()


def test_further_sets_that_do_not_fit(tmp_path: Path) -> None:
    dataset = open_dataset('aerial', write_mosaics(tmp_path / 'set'))
    data = replace(CONFIG.data, hold_out='one', generated=0.0, also=FURTHER)
    with pytest.raises(TrainingError, match=r'data.also.*by --also fields=FOLDER'):
        build_dataloaders(replace(CONFIG, data=data), dataset, DistContext())
    for also, text in (
        ({'moon': {'split': 'a', 'share': 0.5}}, "data.also is 'moon'"),
        ({'fields': {'split': 'odd'}}, 'data.also'),
        ({'fields': {'split': 'odd', 'share': 0.5, 'scale': [2, 1]}}, 'data.also'),
        ({'fields': {'split': 'odd', 'share': 0.7}}, 'add up to 1'),
    ):
        with pytest.raises(TrainingError, match=text):
            replace(CONFIG.data, generated=0.5, also=also)
