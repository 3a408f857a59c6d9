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

"""What training can start from: ImageNet classifiers for a part, or a checkpoint for the whole."""

from __future__ import annotations

from collections.abc import Mapping
import logging
from pathlib import Path

import torch
from torch import nn

from uhr_seg_ros.core.bundle import installed_bundles, load_bundle, MODEL_FILE
from uhr_seg_ros.core.errors import CheckpointError
from uhr_seg_ros.export.bundle_weights import read_weights, WEIGHTS_FILE
from uhr_seg_ros.export.checkpoints import Checkpoint, COUNTER, open_checkpoint, read_checkpoint
from uhr_seg_ros.export.classifiers import FORMATS, load_classifier, some_of
from uhr_seg_ros.export.description import Description, other_classes, other_options
from uhr_seg_ros.export.hlrc_checkpoints import published_name
from uhr_seg_ros.export.released import build_checked, load_checkpoint
from uhr_seg_ros.export.stages import load_stage
from uhr_seg_ros.export.state_dicts import renamed
from uhr_seg_ros.networks.backbones.base import classifier_layers
from uhr_seg_ros.networks.presets import SegmentationNetwork

logger = logging.getLogger(__name__)

#: The part that is everything.
WHOLE = 'network'

#: Part of a network -> the modules in it that start from one file, as far as it has them.
PARTS = {
    'semantic': ('semantic.backbone', 'body.branch.backbone', 'inner.body.branch.backbone'),
    'detail': ('region.trunk', 'local.trunk'),
    'encoder': (
        'inner.body.0',
        'body.network.encoder',
        'body.network.segformer.encoder',
        'body.encoder',
    ),
    'patches': ('backbone', 'extractors.local', 'extractors.medium', 'extractors.large'),
    WHOLE: (),
}

#: Parts of FCtL that start from a checkpoint of what was trained before it: the network but for
#: the extractors of its contexts, and each of these, for which the encoder of the patch is taken.
STAGE_PARTS = ('patch', 'local', 'medium', 'large')
PARTS |= {part: () for part in STAGE_PARTS}


def load_pretrained(
    network: SegmentationNetwork, part: str, path: str | Path, ours: Description | None = None
) -> None:
    """
    Start a part of a network from a pre-trained file.

    Args:
        network: The whole network; only the part changes.
        part: Key of ``PARTS``.
        path: A published ImageNet classifier of the part's backbone; for ``STAGE_PARTS`` a
            checkpoint of a network with the same encoder; for ``WHOLE`` a checkpoint of this one,
            as training writes it or as published, or a bundle. If that has other classes, the last
            layers keep their random weights.
        ours: What the network is for; None: only the number of classes is compared.

    Raises:
        CheckpointError: The file cannot be read, is of no known format or of that of another
            backbone, or the network has no such part; or its tensors do not fit, and are listed.
    """
    if part == WHOLE:
        _load_whole(network, path, ours)
        return
    if part in STAGE_PARTS:
        load_stage(network, part, path)
        return
    tensors = renamed(read_checkpoint(path), lambda name: name.removeprefix('backbone.'), path)
    forms = [form for form in FORMATS if form.sign in tensors]
    if not forms:
        known = ', '.join(dict.fromkeys(form.title for form in FORMATS))
        msg = (
            f'{path} is not a known pre-trained file ({known}): it starts with {some_of(tensors)}'
        )
        raise CheckpointError(msg)
    for module in _modules(network, part, path):
        form = next((form for form in forms if form.fits(module)), None)
        if form is None:
            msg = (
                f'{path} holds weights of {forms[0].title}, but the {part} part of this network '
                f'is {type(module).__name__}'
            )
            raise CheckpointError(msg)
        load_classifier(module, form, tensors, path)


def open_start(path: str | Path) -> Checkpoint:
    """
    Read what a whole network starts from.

    Args:
        path: A checkpoint; or a bundle, its folder or the name of an installed one.

    Raises:
        CheckpointError: As ``open_checkpoint`` and ``read_weights``.
        BundleError: A file of the bundle is wrong.
    """
    folder = Path(path)
    if (folder / MODEL_FILE).is_file() or (
        not folder.exists() and str(path) in installed_bundles()
    ):
        return read_weights(load_bundle(path))
    return open_checkpoint(path)


def _load_whole(network: SegmentationNetwork, path: str | Path, ours: Description | None) -> None:
    checkpoint = open_start(path)
    tensors, theirs = dict(checkpoint.tensors), checkpoint.description
    differ = other_classes(theirs.classes, ours.classes) if theirs and ours else None
    own = network.state_dict()
    redrawn, kept = set[str](), False
    for name in _classifier_tensors(network, ours):
        source = name if name in tensors else published_name(name)
        if source in tensors and (differ or tensors[source].shape[:1] != own[name].shape[:1]):
            tensors[source] = own[name]
            redrawn.add(name.rpartition('.')[0])
        else:
            kept = True
    left_out = complete_bundle_weights(checkpoint, tensors, own)
    try:
        load_checkpoint(network, tensors)
    except CheckpointError as err:
        trained = f' (it was trained as {theirs.network})' if theirs else ''
        msg = f'{path} cannot be started from{trained}: {err}'
        raise CheckpointError(msg) from err
    if theirs and ours:
        _log_differences(theirs, ours, path)
    if redrawn:
        why = f'{differ[0]} there, {differ[1]} here' if differ else 'another number of classes'
        text = '%s: the last layers start with new weights (%s): %s; all others are loaded'
        logger.info(text, path, why, ', '.join(sorted(redrawn)))
    elif kept and theirs is None:
        logger.info('%s does not name its classes: the last layers are taken as they are', path)
    if left_out:
        logger.info('%s has no weights of %s: new ones', path, ', '.join(left_out))


def _classifier_tensors(network: SegmentationNetwork, ours: Description | None) -> list[str]:
    """Name the tensors of the layers whose outputs are the classes."""
    own = network.state_dict()
    if layers := classifier_layers(network):
        return [name for name in own if name.rpartition('.')[0] in layers]
    if ours is None:
        return []
    # A network of a user: what has another shape where there is one class more.
    wider = build_checked(ours.network, ours.options, network.classes + 1).state_dict()
    return [name for name, value in own.items() if value.shape != wider[name].shape]


def complete_bundle_weights(
    checkpoint: Checkpoint, tensors: dict[str, torch.Tensor], own: Mapping[str, torch.Tensor]
) -> tuple[str, ...]:
    """
    Add the tensors that a bundle lacks, those of layers that only training has.

    Args:
        checkpoint: Nothing is added unless it was read from a bundle.
        tensors: Of it, by name; changed.
        own: State dict that they are taken from, of the network that they are for.

    Returns:
        The layers that were added.
    """
    if checkpoint.path.name != WEIGHTS_FILE:
        return ()
    missing = [name for name in own if name not in tensors]
    tensors.update((name, own[name]) for name in missing)
    layers = (name.partition('.')[0] for name in missing if not name.endswith(COUNTER))
    return tuple(dict.fromkeys(layers))


def _log_differences(theirs: Description, ours: Description, path: str | Path) -> None:
    """Report what differs although all tensors fit, such as the size of reduced frames."""
    if theirs.network != ours.network:
        logger.info('%s was trained as %s and starts %s', path, theirs.network, ours.network)
    for name in other_options(theirs.options, ours.options):
        logger.info(
            '%s was trained with %s %r and starts a network with %r',
            path,
            name,
            theirs.options[name],
            ours.options[name],
        )


def _modules(network: nn.Module, part: str, path: str | Path) -> list[nn.Module]:
    found: list[nn.Module] = []
    for dotted in PARTS[part]:
        module: nn.Module | None = network
        for name in dotted.split('.'):
            module = getattr(module, name, None)
        found += [] if module is None else [module]
    if not found:
        msg = f'{path} is for the {part} part, which this network does not have'
        raise CheckpointError(msg)
    return found
