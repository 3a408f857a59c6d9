# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""
What a checkpoint is converted as: from its own description, from what was asked for, or both.

They may not contradict each other. What nobody says is not guessed; the classes of a published
checkpoint are those that its network was published with, if it has as many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
import reprlib
from typing import Any

import torch

from uhr_seg_ros.core.classes import CLASS_SETS, ClassSet
from uhr_seg_ros.core.config_reader import Fields
from uhr_seg_ros.core.domain import Domain, DOMAINS, read_domain
from uhr_seg_ros.core.errors import CheckpointError, ConfigError
from uhr_seg_ros.data.datasets import DATASETS
from uhr_seg_ros.export import deformed_checkpoints, fctl_checkpoints
from uhr_seg_ros.export.checkpoints import Checkpoint, is_own, published_name, state_from
from uhr_seg_ros.export.description import Description, other_classes, other_options
from uhr_seg_ros.export.requested import ConversionRequest
from uhr_seg_ros.networks.hlrc.network import HLRC
from uhr_seg_ros.networks.presets import build_network, NETWORKS, options_of, SegmentationNetwork

#: Network whose released weights are one file per part -> what knows the parts and their names.
RELEASED = {
    'fctl_inria': fctl_checkpoints,
    'fctl_deepglobe': fctl_checkpoints,
    'deform_cityscapes': deformed_checkpoints,
    'deform_deepglobe': deformed_checkpoints,
}
CLASSES_HELP = f'--classes FILE.yaml or --classes NAME, one of {", ".join(CLASS_SETS)}'

#: One checkpoint, or one per part of a network that is released so.
Weights = Checkpoint | dict[str, Checkpoint]


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


def resolve_description(
    weights: Weights, request: ConversionRequest, report: Callable[[str], None] = print
) -> ResolvedDescription:
    """
    Decide what weights are converted as.

    Args:
        weights: What was read.
        request: What the command line says.
        report: Gets a line about everything that neither of them says.

    Raises:
        CheckpointError: They contradict each other, or both leave out what cannot be known; names
            both values, or the option that is needed.
    """
    if isinstance(weights, Checkpoint):
        if weights.description is not None:
            found = _described(weights.path, weights.description, request)
            return _in_domain(found, weights.path, _domain_said(weights, found), request)
        if weights.decisive is not None:
            found = _of_earlier_training(weights, weights.decisive, request, report)
            return _in_domain(found, weights.path, _domain_said(weights, found), request)
    path = weights.path if isinstance(weights, Checkpoint) else _first(weights).path
    found, published = _of_others(weights, request, report)
    return _in_domain(found, path, published, request)


def _domain_said(checkpoint: Checkpoint, found: ResolvedDescription) -> Domain:
    """Return what training wrote, or what is known of the data set that it names."""
    decisive = checkpoint.decisive or {}
    dataset = decisive.get('data.dataset')
    known = DOMAINS.get(dataset) if isinstance(dataset, str) else None
    if found.description.domain != Domain() or known is None:
        return found.description.domain
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
    _check_network(path, said.network, said.options, request)
    if request.classes is None:
        return ResolvedDescription(said, 'the checkpoint')
    if differ := other_classes(said.classes, request.classes):
        msg = f'{path} was trained for {differ[0]}, {request.classes_from} says {differ[1]}'
        raise CheckpointError(f'{msg}: leave --classes out')
    # The same classes, perhaps in other colours.
    return ResolvedDescription(replace(said, classes=request.classes), request.classes_from)


def _check_network(
    path: Path, network: str, options: Mapping[str, Any], request: ConversionRequest
) -> None:
    if request.network not in (None, network):
        msg = f'{path} was trained as {network}, --network says {request.network}: leave it out'
        raise CheckpointError(msg)
    given = request.options
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
    report: Callable[[str], None],
) -> ResolvedDescription:
    """Take what training wrote before there were descriptions: all but names of classes."""
    path = checkpoint.path
    network, options = decisive.get('network'), decisive.get('options')
    count = decisive.get('classes')
    if not (isinstance(network, str) and isinstance(options, dict) and isinstance(count, int)):
        msg = f'{path}: its entry decisive names no network, options and number of classes'
        raise CheckpointError(msg)
    try:
        options = options_of(network, options)
    except ConfigError as err:
        msg = f'{path}: {err}; it was written by another version'
        raise CheckpointError(msg) from err
    _check_network(path, network, options, request)
    if request.classes is not None:
        _check_count(path, count, request)
        return ResolvedDescription(
            Description(network, options, request.classes), request.classes_from
        )
    dataset = decisive.get('data.dataset')
    family = DATASETS.get(dataset) if isinstance(dataset, str) else None
    classes = getattr(family, 'classes', None)
    if not isinstance(classes, ClassSet) or len(classes) != count:
        msg = (
            f'{path} was written by an earlier version, which did not write the names of the '
            f'{count} classes, and its data set {reprlib.repr(dataset)} has none of its own: '
            f'give the classes.yaml that it was trained with ({CLASSES_HELP})'
        )
        raise CheckpointError(msg)
    report(f'{path}: classes of {dataset} taken from the data set that it was trained on')
    return ResolvedDescription(Description(network, options, classes), f'the data set {dataset}')


def _of_others(
    weights: Weights, request: ConversionRequest, report: Callable[[str], None]
) -> tuple[ResolvedDescription, Domain]:
    """Take the command line's word for files that say nothing; what is published comes along."""
    path = weights.path if isinstance(weights, Checkpoint) else _first(weights).path
    if request.network is None:
        msg = f'{path} does not say what it was trained as: give --network'
        raise CheckpointError(msg)
    preset = NETWORKS[request.network].classes
    options = options_of(request.network, request.options)
    blank = blank_network(request.network, options, len(CLASS_SETS[preset]))
    own = isinstance(weights, Checkpoint) and is_own(blank, weights.tensors)
    counts = {tensor.shape[0] for tensor in _last_layers(blank, request.network, options, weights)}
    count = counts.pop() if len(counts) == 1 else None
    if request.classes is not None:
        if count is not None:
            _check_count(path, count, request)
        # Other classes are another training, and our names are that of somebody here.
        same = not own and request.classes.names == CLASS_SETS[preset].names
        description = Description(request.network, options, request.classes)
        return ResolvedDescription(description, request.classes_from), DOMAINS[
            preset
        ] if same else Domain()
    known = len(CLASS_SETS[preset])
    if own:
        found = '' if count is None else f'{count} '
        msg = (
            f'{path} does not name its {found}classes: give the classes.yaml that it was '
            f'trained with ({CLASSES_HELP})'
        )
        raise CheckpointError(msg)
    if count not in (None, known):
        msg = (
            f'{path} has {count} classes, and {request.network} was published for the {known} of '
            f'{preset}: name them by {CLASSES_HELP}'
        )
        raise CheckpointError(msg)
    if count is not None:
        report(f'{path}: classes of {preset} taken from the preset')
    description = Description(request.network, options, CLASS_SETS[preset])
    return ResolvedDescription(description, f'preset {preset}'), DOMAINS[preset]


def _check_count(path: Path, count: int, request: ConversionRequest) -> None:
    if len(request.classes) != count:
        msg = f'{path} has {count} classes, {request.classes_from} names {len(request.classes)}'
        raise CheckpointError(msg)


def blank_network(network: str, options: Mapping[str, Any], classes: int) -> SegmentationNetwork:
    """Build a network without values, which costs neither time nor memory."""
    with torch.device('meta'):
        return build_checked(network, options, classes)


def build_checked(network: str, options: Mapping[str, Any], classes: int) -> SegmentationNetwork:
    """
    Build a network with options that come from a file or a command line.

    Raises:
        CheckpointError: It cannot be built with them.
    """
    try:
        return build_network(network, classes, **options)
    except (ConfigError, ModuleNotFoundError):
        raise
    # Options of another type or size fail in as many ways as there are layers.
    except Exception as err:
        msg = f'network {network} cannot be built with {reprlib.repr(dict(options))}: {err}'
        raise CheckpointError(msg) from err


def _last_layers(
    blank: SegmentationNetwork, network: str, options: Mapping[str, Any], weights: Weights
) -> Iterator[torch.Tensor]:
    """Find the tensors of a file whose first axis is the classes."""
    wider = blank_network(network, options, blank.classes + 1).state_dict()
    own = blank.state_dict()
    names = [name for name, value in own.items() if value.shape != wider[name].shape]
    if not isinstance(weights, Checkpoint):
        for part, translated in RELEASED[network].released_names(blank).items():
            tensors = weights[part].tensors if part in weights else {}
            found = (translated[name] for name in names if name in translated)
            yield from (tensors[name] for name in found if name in tensors and tensors[name].ndim)
        return
    for name in names:
        for source in {name, published_name(name)} if isinstance(blank, HLRC) else {name}:
            if source in weights.tensors and weights.tensors[source].ndim:
                yield weights.tensors[source]


def part_names(network: str | None) -> tuple[str, ...]:
    """Name the parts that a network is released in; none where it is released whole."""
    if network not in RELEASED:
        return ()
    blank = blank_network(network, {}, 2)
    return tuple(RELEASED[network].released_names(blank))


def own_state_dict(
    blank: SegmentationNetwork, network: str, weights: Weights
) -> dict[str, torch.Tensor]:
    """
    Return weights under our names.

    Args:
        blank: The network that they are for; its own weights do not count.
        network: Its key of ``NETWORKS``.
        weights: What was read.

    Raises:
        CheckpointError: They do not fit; lists the names.
    """
    if isinstance(weights, Checkpoint):
        if network in RELEASED and not is_own(blank, weights.tensors):
            parts = ' '.join(f'--part {name}=FILE' for name in part_names(network))
            msg = (
                f'{weights.path} holds no whole {network} as `uhr_seg train` writes it: give '
                f'released weights by {parts}'
            )
            raise CheckpointError(msg)
        try:
            return state_from(blank, weights.tensors)
        except CheckpointError as err:
            msg = f'{weights.path}: {err}'
            raise CheckpointError(msg) from err
    tensors = {name: checkpoint.tensors for name, checkpoint in weights.items()}
    return RELEASED[network].released_state(blank, tensors)


def _first(weights: Mapping[str, Checkpoint]) -> Checkpoint:
    return next(iter(weights.values()))
