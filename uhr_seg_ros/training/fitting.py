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
What a recipe leaves to the data set: splits, weights of classes, augmentation by view.

So one recipe trains on any folder. A run notes what was chosen, and goes on with that only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
import logging
from typing import Any

import numpy as np

from uhr_seg_ros.core.errors import DataError
from uhr_seg_ros.data.dataset import Dataset
from uhr_seg_ros.data.label_counts import scan
from uhr_seg_ros.data.sample import FileSample
from uhr_seg_ros.training.checks import field_error
from uhr_seg_ros.training.config import AUTO, BY_SHARE, BY_VIEW, Config, Data

_LOG = logging.getLogger(__name__)

#: Names that splits to train and to validate on have, the first that is there counts.
TRAINING = ('train', 'training', 'all')
VALIDATION = ('validation', 'val', 'valid')

#: How much less and more than others a class may count.
WEIGHTS = (0.5, 3.0)

#: From above no direction is special; in other views up is up.
_FROM_ABOVE = 'aerial_strong'
_ALONG_THE_GROUND = {'preset': 'aerial', 'symmetries': False, 'flip': 0.5}


def fitted(config: Config, dataset: Dataset) -> Config:
    """
    Fill in what a recipe leaves to the data set; as it is where it leaves nothing.

    Raises:
        TrainingError: The set has none of the splits that could be meant; names those it has.
        DataError: As `Dataset.images`.
    """
    data = _data(config.data, dataset)
    training = config.training
    if training.class_weights == BY_SHARE:
        weights = class_weights(dataset, data.train)
        training = replace(training, class_weights=weights)
        named = zip(dataset.classes.names, weights, strict=True)
        _LOG.info('class weights: %s', ', '.join(f'{name} {value:g}' for name, value in named))
    return replace(config, data=data, training=training)


def class_weights(dataset: Dataset, split: str) -> list[float]:
    """
    Weigh classes by what is labelled: the square root of median share over share.

    That is median frequency balancing (Eigen and Fergus 2015), less steep and within `WEIGHTS`, so
    that a class of few pixels does not spread over all others. A class without labels counts 1.
    """
    images = dataset.images(split)
    ids = [
        image.encoding.ids_of(counts)
        for image, counts in zip(images, scan(images, dataset.root), strict=True)
        if not isinstance(counts, DataError)  # which is told when all labels are checked
    ]
    pixels = np.sum(ids, 0)[: len(dataset.classes)] if ids else np.zeros(len(dataset.classes))
    pixels[list(dataset.ignored)] = 0
    labeled = pixels > 0
    if not labeled.any():
        return [1.0] * len(pixels)
    weights = np.ones(len(pixels))
    weights[labeled] = np.sqrt(np.median(pixels[labeled]) / pixels[labeled])
    return [round(float(value), 2) for value in np.clip(weights, *WEIGHTS)]


def _data(data: Data, dataset: Dataset) -> Data:
    chosen: dict[str, Any] = {}
    if data.train == AUTO:
        chosen['train'] = _split(dataset, TRAINING, 'train')
    if data.validation == AUTO:
        chosen |= _validation(dataset, chosen.get('train', data.train))
    if data.augmentation == BY_VIEW:
        chosen['augmentation'] = _augmentation(dataset.domain.views)
    if chosen:
        told = ', '.join(f'{name}: {value}' for name, value in chosen.items() if value)
        _LOG.info('by the data set: %s', told)
    return replace(data, **chosen)


def _augmentation(views: Sequence[str]) -> str | dict[str, Any]:
    return _FROM_ABOVE if tuple(views) == ('nadir',) else dict(_ALONG_THE_GROUND)


def _validation(dataset: Dataset, train: str) -> dict[str, str | None]:
    """Take a split to validate on, or hold out a part of the image with the most classes."""
    for name in VALIDATION:
        if name in dataset.splits and name != train:
            return {'validation': name}
    images = dataset.images(train)
    counts = [
        0 if isinstance(each, DataError) else _classes(image, each)
        for image, each in zip(images, scan(images, dataset.root), strict=True)
    ]
    return {'validation': None, 'hold_out': images[int(np.argmax(counts))].name}


def _classes(image: FileSample, counts: np.ndarray) -> int:
    return int(np.count_nonzero(image.encoding.ids_of(counts)[:255]))


def _split(dataset: Dataset, names: Sequence[str], field: str) -> str:
    for name in names:
        if name in dataset.splits:
            return name
    expected = f'one of the splits of {dataset.root}: {", ".join(dataset.splits)}'
    raise field_error(f'data.{field}', AUTO, expected)
