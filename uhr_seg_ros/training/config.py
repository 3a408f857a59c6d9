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

"""What a training run does, read from YAML and checked before anything starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
import math
from pathlib import Path
from typing import Any

from uhr_seg_ros.core.config_reader import Fields, is_number, read_mapping
from uhr_seg_ros.core.domain import Domain, read_domain
from uhr_seg_ros.core.errors import ConfigError, TrainingError, UhrSegError
from uhr_seg_ros.core.recipe_keys import with_current_keys
from uhr_seg_ros.core.text import listed, printable, shortened
from uhr_seg_ros.data.augmentation import read_augmentation
from uhr_seg_ros.data.datasets import DATASET_HELP, is_dataset_name
from uhr_seg_ros.data.palettes import COLORS
from uhr_seg_ros.export.pretrained import PARTS
from uhr_seg_ros.image_io.raster_bands import BandRules, PERCENTILE
from uhr_seg_ros.networks.presets import is_network_name, NETWORKS
from uhr_seg_ros.synthetic.landscapes import SCENERIES
from uhr_seg_ros.training.checks import (
    Check,
    check_fields,
    either,
    field_error,
    from_fields,
    list_of,
    mapping_of,
    number,
    one_of,
    PLAIN,
    TEXT,
    TRUTH,
    whole,
)
from uhr_seg_ros.training.losses import FOCAL_GAMMA, MEANS, WEIGHTS

PRECISIONS = ('fp32', 'bf16', 'fp16')
#: What a recipe leaves to the data set; see `fitting`.
AUTO, BY_SHARE, BY_VIEW = 'auto', 'by_share', 'by_view'
EXPORTS = ('last', 'best')
OPTIMIZERS = ('adamw', 'adam')
NETWORK = Check(is_network_name, f'one of {", ".join(NETWORKS)}, or module:attribute of your own')

_SIDE = whole(32)
#: Side, or height and width, of a crop, px.
CROP = Check(
    lambda value: (
        _SIDE.passes(value)
        or (isinstance(value, list) and len(value) == 2 and all(map(_SIDE.passes, value)))
    ),
    f'{_SIDE.expected}, or a list of two: height and width',
)


def _reads(field: str) -> Callable[[object], bool]:
    def passes(value: object) -> bool:
        try:
            BandRules.of({field: value})
        except ConfigError:
            return False
        return True

    return passes


BANDS = Check(_reads('bands'), 'three numbers of bands from 1 such as [4, 3, 2], or one')
STRETCH = Check(_reads('stretch'), f'{PERCENTILE}, or [MIN, MAX] such as [0, 4095]')

#: What ``dataset`` may be: known, or ``module:attribute`` of a user.
DATASET = Check(is_dataset_name, DATASET_HELP)


def _is_further(value: object) -> bool:
    if not isinstance(value, dict) or not {'split', 'share'} <= set(value) <= _FURTHER_KEYS:
        return False
    scale = value.get('scale', [1, 1])
    return (
        isinstance(value['split'], str)
        and is_number(value['share'])
        and 0 < value['share'] <= 1
        and isinstance(scale, list)
        and len(scale) == 2
        and all(is_number(each) for each in scale)
        and 0 < scale[0] <= scale[1] < math.inf
    )


_FURTHER_KEYS = {'split', 'share', 'scale'}
FURTHER = Check(_is_further, '{split: NAME, share: above 0 to 1, scale: [smallest, largest]}')


@dataclass(frozen=True)
class TrainingConfig:
    """
    What the training loop does.

    Attributes:
        network: As of ``find_preset``: the name of a network, or ``my.module:build``.
        options: Keyword arguments of its construction.
        steps: Optimizer steps.
        batch: Crops per step, over all processes and micro-batches.
        grad_accumulation_steps: Micro-batches that a process works through one after the other in
            a step.
        crop: Side of a crop, or its height and width, px, multiples of the network's stride.
        learning_rate: Rate after the warm-up.
        warmup: Steps of linear warm-up.
        power: Exponent of the decay of the rate.
        milestones: Steps from which on the rate is a tenth of what it was, each time.
        optimizer: One of ``OPTIMIZERS``.
        weight_decay: Of the optimizer, on all parameters.
        ema_decay: Decay of the running mean of the weights, which is what is validated and
            exported; 0 keeps the weights as they are.
        precision: One of ``PRECISIONS``; weights and losses stay in fp32.
        losses: Loss -> weight, for those that differ from ``losses.WEIGHTS``; 0 leaves one out.
        class_weights: What a pixel of each class counts in the cross entropies, in the order of
            the classes; empty: all the same, as published; `BY_SHARE`: by what is
            labeled.
        focal_gamma: Exponent of the focal loss.
        mean_over: What losses of pixels are means over, one of ``MEANS``.
        low_res_saliency_steps: Steps in which learned downsampling looks at an image of random
            lower resolution to decide where to sample.
        validate_every: Steps between validations.
        checkpoint_every: Steps between checkpoints.
        seed: Of everything random.

    Raises:
        TrainingError: Names the field, its value and what was expected.
    """

    network: str
    steps: int
    batch: int
    crop: int | list[int]
    learning_rate: float
    validate_every: int
    checkpoint_every: int
    options: dict[str, Any] = field(default_factory=dict)
    grad_accumulation_steps: int = 1
    warmup: int = 0
    power: float = 1.0
    milestones: list[int] = field(default_factory=list)
    optimizer: str = 'adamw'
    weight_decay: float = 0.01
    ema_decay: float = 0.0
    precision: str = 'fp32'
    losses: dict[str, float] = field(default_factory=dict)
    class_weights: list[float] | str = field(default_factory=list)
    focal_gamma: float = FOCAL_GAMMA
    mean_over: str = 'all'
    low_res_saliency_steps: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(
            self,
            {
                'network': NETWORK,
                'options': mapping_of(PLAIN),
                'steps': whole(1),
                'batch': whole(2),
                'grad_accumulation_steps': whole(1),
                'crop': CROP,
                'learning_rate': number(0, 1),
                'warmup': whole(0),
                'power': number(0, 10),
                'milestones': list_of(whole(1)),
                'optimizer': one_of(OPTIMIZERS),
                'weight_decay': number(0, 1),
                'ema_decay': number(0, 1),
                'precision': one_of(PRECISIONS),
                'losses': mapping_of(number(0, 1000), WEIGHTS),
                'class_weights': either(BY_SHARE, list_of(number(0, 1000))),
                'focal_gamma': number(0, 10),
                'mean_over': one_of(MEANS),
                'low_res_saliency_steps': whole(0),
                'validate_every': whole(1),
                'checkpoint_every': whole(1),
                'seed': whole(0),
            },
        )
        self.share(1)

    def share(self, processes: int) -> int:
        """
        Return the number of crops in a micro-batch of one of so many processes.

        Raises:
            TrainingError: The batch cannot be divided into as many equal parts, or they are too
                small for the statistics of batch norm.
        """
        parts = processes * self.grad_accumulation_steps
        if self.batch % parts or self.batch // self.grad_accumulation_steps < 2:
            expected = (
                f'a multiple of {parts} ({processes} processes, grad_accumulation_steps '
                f'{self.grad_accumulation_steps}), '
                f'at least {2 * self.grad_accumulation_steps}'
            )
            raise field_error('batch', self.batch, expected)
        return self.batch // parts

    @property
    def crop_size(self) -> tuple[int, int]:
        """Height and width of a crop, px."""
        if isinstance(self.crop, int):
            return self.crop, self.crop
        height, width = self.crop
        return height, width

    @property
    def loss_weights(self) -> Mapping[str, float]:
        """Weight of every loss."""
        return WEIGHTS | self.losses


@dataclass(frozen=True)
class Data:
    """
    Which images are trained on.

    Attributes:
        dataset: Key of ``DATASETS``, or ``module:attribute`` of a user.
        augmentation: What ``read_augmentation`` takes: a preset's name, or fields; `BY_VIEW`: as
            the data set says that cameras look.
        train: Split to train on; `AUTO`: that with a usual name.
        validation: Split to validate on; this or ``hold_out`` is given; `AUTO`: that with a usual
            name, or else a part of a training image.
        hold_out: Training image of which a part is validated on instead.
        generated: Share of the crops that come from generated scenes.
        scenes: How many scenes are generated.
        ignore_larger: Class name -> px above which a connected region of the class is ignored in
            training, as an outline around many objects.
        ignore_noisy_labels: Do not train on labels that the data set knows to be wrong.
        recolor: Class name -> share of the crops in which it takes other colors and textures.
        recolor_from: One of ``COLORS``: ``natural`` are those that the class has on other grounds.
        scenery: One of ``SCENERIES``: what generated scenes show.
        ignore_blocks: Class name -> px from which a connected region of the class is looked into:
            where it holds what lies between buildings, it is ignored, as an outline of a block.
        also: Further data set -> ``split``, ``share`` of the crops, and ``scale``, the range of
            the factor of their size; its classes are those of ``dataset``.
        bands: Which bands of the images of ``dataset`` are red, green and blue, or the one that
            is gray, from 1; None: as pictures are read.
        stretch: How their values become bytes: ``percentile``, or what becomes black and white.

    Raises:
        TrainingError: Names the field, its value and what was expected.
        DataError: The same about the augmentation.
    """

    dataset: str
    augmentation: str | dict[str, Any]
    train: str = 'train'
    validation: str | None = None
    hold_out: str | None = None
    generated: float = 0.0
    scenes: int = 0
    ignore_larger: dict[str, int] = field(default_factory=dict)
    ignore_noisy_labels: bool = False
    recolor: dict[str, float] = field(default_factory=dict)
    recolor_from: str = 'any'
    scenery: str = 'desert'
    ignore_blocks: dict[str, int] = field(default_factory=dict)
    also: dict[str, dict[str, Any]] = field(default_factory=dict)
    bands: list[int] | str | None = None
    stretch: list[float] | str | None = None

    def __post_init__(self) -> None:
        check_fields(
            self,
            {
                'dataset': DATASET,
                'train': TEXT,
                'generated': number(0, 1),
                'scenes': whole(1 if self.generated else 0),
                'ignore_larger': mapping_of(whole(1)),
                'ignore_noisy_labels': TRUTH,
                'recolor': mapping_of(number(0, 1)),
                'recolor_from': one_of(COLORS),
                'scenery': one_of(SCENERIES),
                'ignore_blocks': mapping_of(whole(1)),
                'also': mapping_of(FURTHER),
                'bands': BANDS,
                'stretch': STRETCH,
            },
            'data.',
        )
        if unknown := [name for name in self.also if not is_dataset_name(name)]:
            raise field_error('data.also', unknown[0], DATASET.expected)
        shares = self.generated + sum(each['share'] for each in self.also.values())
        if shares > 1:
            raise field_error('data', shares, 'shares of generated and also that add up to 1')
        if (self.validation is None) == (self.hold_out is None):
            both = {'validation': self.validation, 'hold_out': self.hold_out}
            raise field_error('data', both, 'exactly one of validation and hold_out')
        chosen = 'hold_out' if self.validation is None else 'validation'
        check_fields(self, {chosen: TEXT}, 'data.')
        if self.augmentation != BY_VIEW:
            read_augmentation(self.augmentation)

    @property
    def rules(self) -> BandRules:
        """Which bands of images are seen, and how."""
        return BandRules.of({'bands': self.bands, 'stretch': self.stretch})

    @property
    def measured_on(self) -> str:
        """What the figures of validations are measured on, in words."""
        if self.validation is None:
            return f'{self.dataset}, bottom third of {self.hold_out}, held out of {self.train}'
        seen = ', which was trained on' if self.validation == self.train else ''
        return f'{self.dataset}, split {self.validation}{seen}'


@dataclass(frozen=True)
class Config:
    """
    Everything that a configuration file says.

    Attributes:
        training: What the training loop does.
        data: What it works on.
        pretrained: Part of the network -> file with its pre-trained weights.
        domain: What the model is for; None: what the data set says of its images.
        export: Whether the bundle gets the averaged weights of the ``last`` or the ``best`` step.

    Raises:
        TrainingError: As ``TrainingConfig``.
    """

    training: TrainingConfig
    data: Data
    pretrained: dict[str, str] = field(default_factory=dict)
    domain: Domain | None = None
    export: str = 'last'

    def __post_init__(self) -> None:
        checks = {'pretrained': mapping_of(TEXT, PARTS), 'export': one_of(EXPORTS)}
        check_fields(self, checks)

    def decisive(self) -> dict[str, Any]:
        """Return what a resumed run must have in common with the interrupted one."""
        return asdict(self.training) | {f'data.{k}': v for k, v in asdict(self.data).items()}


def read_config(path: Path, effort: str = '') -> Config:
    """
    Read a YAML file, a recipe, with the fields of ``TrainingConfig`` and ``Config``.

    Args:
        path: The file.
        effort: Which of its ``efforts`` replaces some of its fields; empty: none.

    Raises:
        TrainingError: The file cannot be read, a field is missing, unknown or wrong; the text
            names the file and the field.
    """
    content = read_mapping(path, TrainingError, 'see config/train/ for a recipe')
    content = with_effort(content, effort, path)
    fields_of_file = Fields(path, content, TrainingError)
    domain = read_domain(fields_of_file) if fields_of_file.has('domain') else None
    try:
        return _config({**with_current_keys(content), 'domain': domain})
    except UhrSegError as err:
        msg = f'{path}: {shortened(printable(str(err)))}'
        raise TrainingError(msg) from err


def with_effort(content: dict[str, Any], effort: str, path: Path) -> dict[str, Any]:
    """
    Replace fields of a recipe by those of one of its ``efforts``, which it names.

    Raises:
        TrainingError: It has no such effort; names those that it has.
    """
    efforts = content.pop('efforts', {})
    if not isinstance(efforts, dict) or not all(isinstance(e, dict) for e in efforts.values()):
        raise field_error(f'efforts of {path}', efforts, 'names of efforts, each with fields')
    if effort and effort not in efforts:
        msg = f'{path} has no effort {effort!r}: {listed(list(efforts)) or "it has none"}'
        raise TrainingError(msg)
    return {**content, **efforts.get(effort, {})}


def _config(content: dict[str, Any]) -> Config:
    outer = {f.name for f in fields(Config)} - {'training'}
    training = from_fields(TrainingConfig, {k: v for k, v in content.items() if k not in outer})
    rest = {k: v for k, v in content.items() if k in outer}
    if 'data' not in rest:
        msg = 'fields missing: data; unknown: none'
        raise TrainingError(msg)
    data = from_fields(Data, rest.pop('data'), 'data.')
    return from_fields(Config, rest, training=training, data=data)
