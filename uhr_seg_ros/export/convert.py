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
What a checkpoint is converted as: from its own description, from what was requested, or both.

They may not contradict each other. What nobody says is not guessed; the classes of a published
checkpoint are those that its network was published with, if it has as many.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
import logging
from pathlib import Path
import reprlib
from typing import Any

from uhr_seg_ros.core.classes import CLASS_SETS, ClassSet
from uhr_seg_ros.core.config_reader import Fields
from uhr_seg_ros.core.domain import Domain, DOMAINS, read_domain
from uhr_seg_ros.core.entry_points import is_entry_point
from uhr_seg_ros.core.errors import CheckpointError, ConfigError
from uhr_seg_ros.core.recipe_keys import rename_keys, RENAMED_OPTIONS
from uhr_seg_ros.export.checkpoints import Checkpoint, is_own
from uhr_seg_ros.export.description import (
    ConversionRequest,
    Description,
    other_classes,
    other_options,
)
from uhr_seg_ros.export.released import blank_network, last_layers, Weights
from uhr_seg_ros.networks.presets import find_preset, options_of

logger = logging.getLogger(__name__)

CLASSES_HELP = f'--classes FILE.yaml or --classes NAME, one of {", ".join(CLASS_SETS)}'


@dataclass(frozen=True)
class ResolvedDescription:
    """
    What weights are converted as.

    Attributes:
        description: Network, options and classes.
        classes_from: Where the classes are from, in words.
    """

    description: Description
    classes_from: str


def resolve_description(weights: Weights, request: ConversionRequest) -> ResolvedDescription:
    """
    Decide what weights are converted as.

    Args:
        weights: What was read.
        request: What the command line says.

    Raises:
        CheckpointError: They contradict each other, or both leave out what cannot be known; names
            both values, or the option that is needed.
    """
    if isinstance(weights, Checkpoint):
        if weights.description is not None:
            found = _described(weights.path, weights.description, request)
            return _in_domain(found, weights.path, _domain_said(weights, found), request)
        if weights.decisive is not None:
            found = _of_earlier_training(weights, weights.decisive, request)
            return _in_domain(found, weights.path, _domain_said(weights, found), request)
    path = weights.path if isinstance(weights, Checkpoint) else _first(weights).path
    found, published = _of_others(weights, request)
    return _in_domain(found, path, published, request)


def _domain_said(checkpoint: Checkpoint, found: ResolvedDescription) -> Domain:
    """Return what training wrote, or what is known of the data set that it names."""
    decisive = checkpoint.decisive or {}
    dataset = decisive.get('data.dataset')
    known = DOMAINS.get(dataset) if isinstance(dataset, str) else None
    if found.description.domain != Domain() or known is None:
        return found.description.domain
    for further in decisive.get('data.also') or ():
        known = known.with_images_of(DOMAINS.get(further, Domain()))
    return known.with_scenes() if decisive.get('data.generated') else known


def _in_domain(
    found: ResolvedDescription, path: Path, said: Domain, request: ConversionRequest
) -> ResolvedDescription:
    """Add what the model is for; the command line may add keys, and change none."""
    theirs, ours = said.plain(), request.domain.plain()
    for key in other_options(ours, theirs):
        msg = (
            f'{path} is for {key} {reprlib.repr(theirs[key])}, --domain says '
            f'{reprlib.repr(ours[key])}: leave it out, or correct model.yaml afterwards'
        )
        raise CheckpointError(msg)
    content = {'domain': theirs | ours}
    domain = read_domain(Fields(Path('--domain'), content, CheckpointError))
    return replace(found, description=replace(found.description, domain=domain))


def _described(path: Path, said: Description, request: ConversionRequest) -> ResolvedDescription:
    _check_requested(path, said.network, request)
    _check_options(path, said.network, said.options, request)
    if request.classes is None:
        return ResolvedDescription(said, 'the checkpoint')
    if differ := other_classes(said.classes, request.classes):
        msg = f'{path} was trained for {differ[0]}, {request.classes_from} says {differ[1]}'
        raise CheckpointError(f'{msg}: leave --classes out')
    # The same classes, perhaps in other colors.
    return ResolvedDescription(replace(said, classes=request.classes), request.classes_from)


def _check_requested(path: Path, network: str, request: ConversionRequest) -> None:
    if request.network not in (None, network):
        msg = f'{path} was trained as {network}, --network says {request.network}: leave it out'
        raise CheckpointError(msg)
    if is_entry_point(network) and request.network is None:
        msg = (
            f'{path} was trained as {network}, a function that is not part of this package: to '
            f'let it run, name it by --network {network}'
        )
        raise CheckpointError(msg)


def _check_options(
    path: Path, network: str, options: Mapping[str, Any], request: ConversionRequest
) -> None:
    given = request.options
    if not is_entry_point(network):
        given = rename_keys(given, RENAMED_OPTIONS)
    options_of(network, given)  # refuses what is none of its options
    for name in other_options(given, options):
        msg = (
            f'{path} was trained with {name} {reprlib.repr(options[name])}, --options says '
            f'{reprlib.repr(given[name])}: leave it out'
        )
        raise CheckpointError(msg)


def _of_earlier_training(
    checkpoint: Checkpoint,
    decisive: Mapping[str, Any],
    request: ConversionRequest,
) -> ResolvedDescription:
    """Take what training wrote before there were descriptions: all but names of classes."""
    path = checkpoint.path
    network, options = decisive.get('network'), decisive.get('options')
    count = decisive.get('classes')
    if not (isinstance(network, str) and isinstance(options, dict) and isinstance(count, int)):
        msg = f'{path}: its entry decisive names no network, options and number of classes'
        raise CheckpointError(msg)
    _check_requested(path, network, request)
    try:
        options = options_of(network, options)
    except ConfigError as err:
        msg = f'{path}: {err}; it was written by another version'
        raise CheckpointError(msg) from err
    _check_options(path, network, options, request)
    if request.classes is not None:
        _check_count(path, count, request.classes, request)
        return ResolvedDescription(
            Description(network, options, request.classes), request.classes_from
        )
    dataset = decisive.get('data.dataset')
    classes = CLASS_SETS.get(dataset) if isinstance(dataset, str) else None
    if classes is None or len(classes) != count:
        msg = (
            f'{path} was written by an earlier version, which did not write the names of the '
            f'{count} classes, and its data set {reprlib.repr(dataset)} has none of its own: '
            f'give the classes.yaml that it was trained with ({CLASSES_HELP})'
        )
        raise CheckpointError(msg)
    logger.info('%s: classes of %s taken from the data set that it was trained on', path, dataset)
    return ResolvedDescription(Description(network, options, classes), f'the data set {dataset}')


def _of_others(weights: Weights, request: ConversionRequest) -> tuple[ResolvedDescription, Domain]:
    """Take the command line's word for files that say nothing; what is published comes along."""
    path = weights.path if isinstance(weights, Checkpoint) else _first(weights).path
    if request.network is None:
        msg = f'{path} does not say what it was trained as: give --network'
        raise CheckpointError(msg)
    options = options_of(request.network, request.options)
    preset = find_preset(request.network).classes
    blank = blank_network(request.network, options, len(CLASS_SETS.get(preset, 'ab')))
    own = isinstance(weights, Checkpoint) and is_own(blank, weights.tensors)
    counts = {tensor.shape[0] for tensor in last_layers(blank, request.network, options, weights)}
    count = counts.pop() if len(counts) == 1 else None
    if request.classes is not None:
        if count is not None:
            _check_count(path, count, request.classes, request)
        # Other classes are another training, and our names are that of somebody here.
        same = not own and preset and request.classes.names == CLASS_SETS[preset].names
        description = Description(request.network, options, request.classes)
        domain = DOMAINS[preset] if same else Domain()
        return ResolvedDescription(description, request.classes_from), domain
    if own or not preset:
        found = '' if count is None else f'{count} '
        msg = (
            f'{path} does not name its {found}classes: give the classes.yaml that it was '
            f'trained with ({CLASSES_HELP})'
        )
        raise CheckpointError(msg)
    known = len(CLASS_SETS[preset])
    if count not in (None, known):
        msg = (
            f'{path} has {count} classes, and {request.network} was published for the {known} of '
            f'{preset}: name them by {CLASSES_HELP}'
        )
        raise CheckpointError(msg)
    if count is not None:
        logger.info('%s: classes of %s taken from the preset', path, preset)
    description = Description(request.network, options, CLASS_SETS[preset])
    return ResolvedDescription(description, f'preset {preset}'), DOMAINS[preset]


def _check_count(path: Path, count: int, classes: ClassSet, request: ConversionRequest) -> None:
    if len(classes) != count:
        msg = f'{path} has {count} classes, {request.classes_from} names {len(classes)}'
        raise CheckpointError(msg)


def _first(weights: Mapping[str, Checkpoint]) -> Checkpoint:
    return next(iter(weights.values()))
