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

import pytest

pytest.importorskip('torch', reason='training needs torch')

from tiny import CLASSES, CONFIG, write_mosaics

from uhr_seg_ros.data.aerial import Aerial
from uhr_seg_ros.data.datasets import open_dataset
from uhr_seg_ros.data.label_noise import NoisyRegion
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


def test_scenes_are_recolored_as_real_images(tmp_path: Path) -> None:
    dataset = open_dataset('aerial', write_mosaics(tmp_path / 'set'))
    data = replace(CONFIG.data, hold_out='one', recolor={'water': 0.5})
    batches, _ = build_dataloaders(replace(CONFIG, data=data), dataset, DistContext())
    water = {CLASSES.names.index('water'): 0.5}
    assert batches.real.recoloured == batches.scenes.recoloured == water
