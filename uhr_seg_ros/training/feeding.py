# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""From the data part of a configuration to batches and a validation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from tqdm import tqdm

from uhr_seg_ros.classes import CLASS_SETS
from uhr_seg_ros.data.augmentation import read_augmentation
from uhr_seg_ros.data.crops import CropSampler
from uhr_seg_ros.data.datasets import Dataset, hold_out
from uhr_seg_ros.data.doubtful import WithoutDoubtful
from uhr_seg_ros.data.labelled import LabelledImage, Mosaic
from uhr_seg_ros.data.scenes import generate_scene
from uhr_seg_ros.training.batches import Batches
from uhr_seg_ros.training.checks import wrong
from uhr_seg_ros.training.processes import World
from uhr_seg_ros.training.recipe import Config, Data
from uhr_seg_ros.training.validating import Validation

SCENE_SIZE = (1536, 1536)

T = TypeVar('T')


def feed(config: Config, dataset: Dataset, world: World) -> tuple[Batches, Validation]:
    """
    Open what is trained and validated on.

    Raises:
        TrainingError: A field does not fit the data set; names it.
        DataError: As ``Dataset.images`` and ``hold_out``.
    """
    data = config.data
    training, validating = _split(data, dataset)
    augmentation = read_augmentation(data.augmentation)
    recoloured = _by_id(data.recolour, 'data.recolour', dataset)
    scenes = _scenes(data, dataset, world)

    def sampler(images: list[LabelledImage]) -> CropSampler:
        return CropSampler(images, config.recipe.crop, augmentation, recoloured)

    batches = Batches(
        sampler(training),
        sampler(scenes) if scenes else None,
        data.generated,
        config.recipe,
        world,
    )
    return batches, Validation(validating, dataset.classes, dataset.ignored)


def _split(data: Data, dataset: Dataset) -> tuple[list[LabelledImage], list[LabelledImage]]:
    images = dataset.images(data.train)
    trained = _without_doubtful(images, data, dataset)
    if data.validation is not None:
        return trained, dataset.images(data.validation)
    # What is validated on keeps all of its labels.
    return hold_out(trained, data.hold_out)[0], [hold_out(images, data.hold_out)[1]]


def _without_doubtful(
    images: list[LabelledImage], data: Data, dataset: Dataset
) -> list[LabelledImage]:
    if data.ignore_doubtful and not dataset.doubts:
        expected = f'false: no labels of {dataset.name} are known to be wrong'
        raise wrong('data.ignore_doubtful', data.ignore_doubtful, expected)
    limits = _by_id(data.ignore_larger, 'data.ignore_larger', dataset)
    doubts = dataset.doubts if data.ignore_doubtful else {}
    if not (limits or doubts):
        return images
    return [WithoutDoubtful(image, limits, doubts.get(image.name, ())) for image in images]


def _by_id(values: Mapping[str, T], field: str, dataset: Dataset) -> dict[int, T]:
    """Turn class names into ids."""
    names = list(dataset.classes.names)
    if unknown := [name for name in values if name not in names]:
        raise wrong(field, unknown, f'classes of {dataset.name}: {", ".join(names)}')
    return {names.index(name): value for name, value in values.items()}


def _scenes(data: Data, dataset: Dataset, world: World) -> list[LabelledImage]:
    if not data.generated:
        return []
    if dataset.classes != CLASS_SETS['aerial']:
        expected = f'0 with the classes of {dataset.name}: scenes show those of aerial'
        raise wrong('data.generated', data.generated, expected)
    numbers = tqdm(
        range(data.scenes), desc='generating scenes', unit='scene', disable=not world.writes
    )
    return [Mosaic(f'scene {seed}', *generate_scene(seed, *SCENE_SIZE)) for seed in numbers]
