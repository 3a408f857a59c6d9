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

"""A training small enough for tests, in memory and on disk."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
import json
from pathlib import Path
from typing import Any

import cv2
import yaml

from uhr_seg_ros.core.classes import CLASS_SETS
from uhr_seg_ros.data.crops import CropSampler
from uhr_seg_ros.data.sample import ArraySample
from uhr_seg_ros.synthetic.scenes import generate_scene
from uhr_seg_ros.training.batches import Batches
from uhr_seg_ros.training.config import Config, Data, TrainingConfig
from uhr_seg_ros.training.distributed import DistContext
from uhr_seg_ros.training.validation import Validation

CLASSES = CLASS_SETS['aerial']
RECIPE = TrainingConfig(
    network='hlrc_s',
    options={'experts': 4},
    steps=6,
    batch=2,
    crop=64,
    learning_rate=1e-3,
    warmup=2,
    ema_decay=0.9,
    validate_every=100,
    checkpoint_every=100,
)
CONFIG = Config(RECIPE, Data('aerial', 'aerial', hold_out='scene', generated=0.5, scenes=1))


def config_with(**fields: Any) -> Config:
    return replace(CONFIG, training=replace(RECIPE, **fields))


@cache
def scene(seed: int = 0, side: int = 256) -> ArraySample:
    return ArraySample('scene', *generate_scene(seed, side, side))


def batches_of(config: Config = CONFIG, dist: DistContext = DistContext()) -> Batches:  # noqa: B008
    sampler = CropSampler([scene()], config.training.crop)
    return Batches(sampler, sampler, config.data.generated, config.training, dist)


def validation() -> Validation:
    return Validation([scene(1, 80)], CLASSES)


def log_of(folder: Path, name: str = 'log.jsonl') -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def write_recipe(path: Path, **fields: Any) -> Path:
    """Write a recipe as a file, with other values for some of its fields."""
    content = {
        'network': 'fast_scnn',
        'data': {'dataset': 'aerial', 'hold_out': 'one', 'augmentation': 'aerial'},
        'steps': 6,
        'batch': 2,
        'crop': 64,
        'learning_rate': 1e-3,
        'ema_decay': 0.9,
        'validate_every': 4,
        'checkpoint_every': 2,
    }
    path.write_text(yaml.safe_dump(content | fields))
    return path


def write_mosaics(folder: Path) -> Path:
    """Write two training scenes as an aerial data set."""
    for kind in ('images', 'labels'):
        (folder / kind).mkdir(parents=True)
    for seed, name in enumerate(('one', 'two')):
        mosaic = scene(seed, 192)
        cv2.imwrite(str(folder / f'images/{name}.jpg'), mosaic.image)
        cv2.imwrite(str(folder / f'labels/{name}.png'), mosaic.labels)
    (folder / 'split.json').write_text(json.dumps({'train': ['one', 'two'], 'test': []}))
    return folder
