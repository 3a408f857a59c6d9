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

"""From the data part of a configuration to batches and a validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import torch
from tqdm import tqdm

from uhr_seg_ros.core.classes import CLASS_SETS
from uhr_seg_ros.core.errors import DataError, TrainingError, UhrSegError
from uhr_seg_ros.data.augmentation import read_augmentation
from uhr_seg_ros.data.crops import CropSampler
from uhr_seg_ros.data.datasets import Dataset, hold_out, open_dataset
from uhr_seg_ros.data.label_check import checked_images, only, Share, show_shares, warn
from uhr_seg_ros.data.label_noise import MaskNoisyLabels
from uhr_seg_ros.data.palettes import palettes_of
from uhr_seg_ros.data.sample import ArraySample, Sample
from uhr_seg_ros.synthetic.landscapes import SCENERIES
from uhr_seg_ros.training.batches import Batches
from uhr_seg_ros.training.checks import field_error
from uhr_seg_ros.training.config import Config, Data
from uhr_seg_ros.training.distributed import DistContext
from uhr_seg_ros.training.validation import Validation, WINDOW

SCENE_SIZE = (1536, 1536)

#: No folders of further data sets.
_NOWHERE: Mapping[str, Path] = MappingProxyType({})

T = TypeVar('T')


def build_dataloaders(
    config: Config, dataset: Dataset, dist: DistContext, also: Mapping[str, Path] = _NOWHERE
) -> tuple[Batches, Validation]:
    """
    Open what is trained and validated on.

    Args:
        config: What to do.
        dataset: Opened.
        dist: The processes that train together.
        also: Further data set of the recipe -> its folder.

    Raises:
        TrainingError: A field does not fit the data set; names it.
        DataError: As ``checked_images`` and ``hold_out``; or there is nothing to learn.
    """
    data = config.data
    training, validating = _split_together(config, dataset, dist)
    augmentation = read_augmentation(data.augmentation)
    recolored = _by_id(data.recolor, 'data.recolor', dataset)
    palettes = palettes_of(dataset.classes.names, data.recolor_from)
    scenes = _scenes(data, dataset, dist)

    def sampler(images: Sequence[Sample], scale: Sequence[float] = ()) -> CropSampler:
        # Further data sets have a ground resolution, and so a scale, of their own.
        ranges = replace(augmentation, scale=(scale[0], scale[1])) if scale else augmentation
        return CropSampler(images, config.training.crop_size, ranges, recolored, palettes)

    batches = Batches(
        sampler(training),
        sampler(scenes) if scenes else None,
        data.generated,
        config.training,
        dist,
        [
            (sampler(_further(name, each, dataset, also), each.get('scale', ())), each['share'])
            for name, each in data.also.items()
        ],
    )
    # What was trained on whole images is to see whole images.
    height, width = (max(WINDOW, side) for side in config.training.crop_size)
    return batches, Validation(validating, dataset.classes, dataset.ignored, (height, width))


def _further(
    name: str, choice: Mapping[str, Any], dataset: Dataset, also: Mapping[str, Path]
) -> Sequence[Sample]:
    """Open a further data set, whose ids have to mean the same."""
    if name not in also:
        raise field_error('data.also', name, f'its folder, by --also {name}=FOLDER')
    further = open_dataset(name, also[name])
    if further.classes.names != dataset.classes.names:
        expected = f'the classes of {dataset.name}: {", ".join(dataset.classes.names)}'
        raise field_error(f'classes of data.also.{name}', further.classes.names, expected)
    return checked_images(further, [choice['split']], quiet=True)[0][choice['split']]


def _split_together(
    config: Config, dataset: Dataset, dist: DistContext
) -> tuple[Sequence[Sample], Sequence[Sample]]:
    """Split the data set; where one process cannot, none goes on to wait for it."""
    try:
        found = _split(config, dataset, dist)
    except UhrSegError:
        dist.sum(torch.tensor(1.0))
        raise
    if dist.sum(torch.tensor(0.0)):
        msg = 'another process found something wrong with the data and tells what'
        raise TrainingError(msg)
    return found


def _split(
    config: Config, dataset: Dataset, dist: DistContext
) -> tuple[Sequence[Sample], Sequence[Sample]]:
    data = config.data
    splits = [data.train] if data.validation is None else [data.train, data.validation]
    if dist.writes:
        opened, warnings = checked_images(dataset, splits)
    else:  # the first process looks and speaks for all
        opened, warnings = {split: dataset.open_images(split)[0] for split in splits}, []
    images = opened[data.train]
    training: Sequence[Sample] = _without_noisy_labels(images, data, dataset)
    validating: Sequence[Sample] = opened[splits[-1]]
    if data.hold_out is not None:
        # What is validated on keeps all of its labels.
        training, _ = hold_out(training, data.hold_out)
        validating = [hold_out(images, data.hold_out)[1]]
    if dist.writes:
        _log_labels(config, dataset, training, validating, warnings)
    return training, validating


def _log_labels(
    config: Config,
    dataset: Dataset,
    training: Sequence[Sample],
    validating: Sequence[Sample],
    warnings: list[str],
) -> None:
    """
    Print what is labeled.

    Raises:
        DataError: There is nothing to learn, or nothing to validate on.
        TrainingError: The best validation is required, and none can have a figure.
    """
    data = config.data
    names, ignored = dataset.classes.names, dataset.ignored
    train = Share.of(f'training ({data.train})', training)
    found = Share.of(f'validation ({data.validation or f"part of {data.hold_out}"})', validating)
    if data.generated < 1:
        train.check()
    if len(train.labeled) == 1 < len(names) and not data.generated:
        msg = (
            f'{train.title}: all labeled pixels are {names[train.labeled[0]]}, so that there is '
            f'nothing to tell apart; known classes: {", ".join(names)}'
        )
        raise DataError(msg)
    counted = found.without(ignored)
    counted.check()
    show_shares([train, found], names)
    warnings = [*warnings, *train.warnings(names), *counted.warnings(names, ignored)]
    if len(counted.labeled) < 2:
        text = f'{found.title}: {only([names[index] for index in counted.labeled])}'
        if config.export == 'best':
            raise field_error('export', 'best', f'last: no validation will have a mIoU ({text})')
        warnings.append(f'{text}, so there is no mIoU')
    warn(warnings)


def _without_noisy_labels(
    images: Sequence[Sample], data: Data, dataset: Dataset
) -> Sequence[Sample]:
    if data.ignore_noisy_labels and not dataset.doubts:
        expected = f'false: no labels of {dataset.name} are known to be wrong'
        raise field_error('data.ignore_noisy_labels', data.ignore_noisy_labels, expected)
    limits = _by_id(data.ignore_larger, 'data.ignore_larger', dataset)
    blocks = _by_id(data.ignore_blocks, 'data.ignore_blocks', dataset)
    doubts = dataset.doubts if data.ignore_noisy_labels else {}
    if not (limits or blocks or doubts):
        return images
    return [MaskNoisyLabels(image, limits, doubts.get(image.name, ()), blocks) for image in images]


def _by_id(values: Mapping[str, T], field: str, dataset: Dataset) -> dict[int, T]:
    """Turn class names into ids."""
    names = list(dataset.classes.names)
    if unknown := [name for name in values if name not in names]:
        raise field_error(field, unknown, f'classes of {dataset.name}: {", ".join(names)}')
    return {names.index(name): value for name, value in values.items()}


def _scenes(data: Data, dataset: Dataset, dist: DistContext) -> list[Sample]:
    if not data.generated:
        return []
    if dataset.classes != CLASS_SETS['aerial']:
        expected = f'0 with the classes of {dataset.name}: scenes show those of aerial'
        raise field_error('data.generated', data.generated, expected)
    numbers = tqdm(
        range(data.scenes), desc='generating scenes', unit='scene', disable=not dist.writes
    )
    draw = SCENERIES[data.scenery]
    return [ArraySample(f'scene {seed}', *draw(seed, *SCENE_SIZE)) for seed in numbers]
