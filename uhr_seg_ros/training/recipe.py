# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""What a training run does, read from YAML and checked before anything starts."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from uhr_seg_ros.classes import CLASS_SETS, ClassSet
from uhr_seg_ros.errors import UhrSegError
from uhr_seg_ros.fields import is_number, read_mapping
from uhr_seg_ros.networks.hlrc import HLRC, NETWORKS

#: Both branches meet at this stride, and a crop is not padded.
STRIDE = HLRC.stride


class TrainingError(UhrSegError):
    """A training that cannot start, resume or go on."""


@dataclass(frozen=True)
class Recipe:
    """
    What the training loop does.

    Attributes:
        network: Preset.
        classes: Number of classes.
        steps: Optimiser steps.
        batch: Crops per step, at least 2 for the statistics of batch norm.
        crop: Side of a crop, px, a multiple of 16.
        learning_rate: Rate after the warm-up.
        warmup: Steps of linear warm-up.
        weight_decay: Of AdamW, on all parameters.
        average: Decay of the running mean of the weights, which is what gets exported.
        generated: Share of the crops that come from generated scenes.
        checkpoint_every: Steps between checkpoints.
        seed: Of everything random.

    Raises:
        TrainingError: Names the field, its value and what was expected.
    """

    network: str
    classes: int
    steps: int
    batch: int
    crop: int
    learning_rate: float
    warmup: int
    weight_decay: float
    average: float
    generated: float
    checkpoint_every: int
    seed: int = 0

    def __post_init__(self) -> None:
        _one_of('network', self.network, NETWORKS)
        for name, lowest in (
            ('classes', 2), ('steps', 1), ('batch', 2), ('crop', 2 * STRIDE), ('warmup', 0),
            ('checkpoint_every', 1), ('seed', 0),
        ):  # fmt: skip
            _whole(name, getattr(self, name), lowest)
        if self.crop % STRIDE:
            raise _wrong('crop', self.crop, f'a multiple of {STRIDE}')
        for name in ('learning_rate', 'weight_decay', 'average', 'generated'):
            value = getattr(self, name)
            if not is_number(value) or not 0 <= value <= 1:
                # PyYAML takes 1e-3 for a text.
                hint = ', written with a point, as 1.0e-3' if isinstance(value, str) else ''
                raise _wrong(name, value, f'a number from 0 to 1{hint}')


@dataclass(frozen=True)
class Config:
    """
    A recipe and the data it works on.

    Attributes:
        recipe: What the training loop does.
        classes: Names and colours.
        scenes: How many scenes are generated.
        validate: Training mosaic of which a part is held out.

    Raises:
        TrainingError: As ``Recipe``.
    """

    recipe: Recipe
    classes: ClassSet
    scenes: int
    validate: str

    def __post_init__(self) -> None:
        _whole('scenes', self.scenes, 1 if self.recipe.generated else 0)
        if not isinstance(self.validate, str):
            raise _wrong('validate', self.validate, 'the name of a mosaic')


def read_config(path: Path) -> Config:
    """
    Read a YAML file with the fields of ``Recipe`` and ``class_set``, ``scenes``, ``validate``.

    Raises:
        TrainingError: The file cannot be read, a field is missing, unknown or wrong; the text
            names the file and the field.
    """
    content = read_mapping(path, TrainingError, 'see config/train/ for a recipe')
    known = {field.name for field in fields(Recipe)} - {'classes'}
    known |= {'class_set', 'scenes', 'validate'}
    missing, unknown = known - {'seed'} - set(content), set(content) - known
    if missing or unknown:
        msg = f'{path}: missing {sorted(missing)}, unknown {sorted(map(str, unknown))}'
        raise TrainingError(msg)
    try:
        return _config(content)
    except TrainingError as err:
        msg = f'{path}: {err}'
        raise TrainingError(msg) from err


def _config(content: dict[str, Any]) -> Config:
    name = content.pop('class_set')
    _one_of('class_set', name, CLASS_SETS)
    scenes, validate = content.pop('scenes'), content.pop('validate')
    recipe = Recipe(classes=len(CLASS_SETS[name]), **content)
    return Config(recipe, CLASS_SETS[name], scenes, validate)


def _one_of(name: str, value: object, known: dict[str, Any]) -> None:
    if not isinstance(value, str) or value not in known:
        raise _wrong(name, value, f'one of {", ".join(known)}')


def _whole(name: str, value: object, lowest: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < lowest:
        raise _wrong(name, value, f'a whole number from {lowest} on')


def _wrong(name: str, value: object, expected: str) -> TrainingError:
    return TrainingError(f'field {name} is {value!r}, expected {expected}')
