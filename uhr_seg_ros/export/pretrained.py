# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""
What training can start from: ImageNet classifiers for a part, a checkpoint for the whole network.

Published files of classifiers are told apart by the names inside; a new format is one more entry
of ``FORMATS``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
import re
from typing import NamedTuple

import torch
from torch import nn

from uhr_seg_ros.core.errors import CheckpointError
from uhr_seg_ros.export.checkpoints import (
    load_checkpoint,
    open_checkpoint,
    published_name,
    read_checkpoint,
    wrong_values,
)
from uhr_seg_ros.export.description import Description, other_classes, other_options
from uhr_seg_ros.export.state_dicts import renamed
from uhr_seg_ros.networks.backbones import efficientnet_lite, vgg
from uhr_seg_ros.networks.backbones.efficientnet_lite import EfficientNetLite
from uhr_seg_ros.networks.backbones.efficientvit import EfficientViTTrunk
from uhr_seg_ros.networks.backbones.swin import Swin
from uhr_seg_ros.networks.backbones.vgg import VGG16

#: The part that is everything.
WHOLE = 'network'

#: Part of a network -> the modules in it that start from one file, as far as it has them.
PARTS = {
    'semantic': ('semantic.backbone', 'body.branch.backbone', 'inner.body.branch.backbone'),
    'detail': ('region.trunk', 'local.trunk'),
    'patches': ('backbone', 'extractors.medium', 'extractors.large'),
    WHOLE: (),
}

#: Layers that another number of classes gives another shape.
CLASSIFIERS = re.compile(r'(^|\.)(classif(y|ier)|scores|score_pool[34])\.')

#: Constants: every module has its own.
CONSTANTS = re.compile(r'(position_index|num_batches_tracked)$')
LISTED = 12

Tensors = Mapping[str, torch.Tensor]


class Format(NamedTuple):
    """
    How one kind of file becomes one kind of module.

    Attributes:
        title: What it is called in messages.
        sign: A tensor that every file of this kind has, and no other.
        kind: The class of the modules that can start from it.
        source: Our tensor's name -> its name in the file; '' where no such file has it.
        state: Module and tensors of the file -> state dict of the module.
        ignored: Tensors of the file that nothing here needs.
    """

    title: str
    sign: str
    kind: type[nn.Module]
    source: Callable[[str], str]
    state: Callable[[nn.Module, Tensors], dict[str, torch.Tensor]]
    ignored: re.Pattern[str]


def load_pretrained(
    network: nn.Module,
    part: str,
    path: str | Path,
    ours: Description | None = None,
    report: Callable[[str], None] = print,
) -> None:
    """
    Start a part of a network from a pre-trained file.

    Args:
        network: The whole network; only the part changes.
        part: Key of ``PARTS``.
        path: A published ImageNet classifier of the part's backbone; for ``WHOLE`` a checkpoint
            of this network, as training writes it or as published. If that has other classes,
            the last layers keep their random weights.
        ours: What the network is for; None: only the number of classes is compared.
        report: Gets a line about everything that was chosen, converted or left out.

    Raises:
        CheckpointError: The file cannot be read, is of no known format or of that of another
            backbone, or the network has no such part; or its tensors do not fit, and are listed.
    """
    if part == WHOLE:
        _load_whole(network, path, ours, report)
        return
    tensors = renamed(
        read_checkpoint(path, report), lambda name: name.removeprefix('backbone.'), path
    )
    form = next((form for form in FORMATS if form.sign in tensors), None)
    if form is None:
        known = ', '.join(form.title for form in FORMATS)
        msg = f'{path} is no known pre-trained file ({known}): it starts with {_some(tensors)}'
        raise CheckpointError(msg)
    for module in _modules(network, part, path):
        if not isinstance(module, form.kind):
            msg = (
                f'{path} holds weights of {form.title}, but the {part} part of this network is '
                f'{type(module).__name__}'
            )
            raise CheckpointError(msg)
        _load(module, form, tensors, path)


def _load_whole(
    network: nn.Module, path: str | Path, ours: Description | None, report: Callable[[str], None]
) -> None:
    checkpoint = open_checkpoint(path, report)
    tensors, theirs = dict(checkpoint.tensors), checkpoint.description
    differ = other_classes(theirs.classes, ours.classes) if theirs and ours else None
    own = network.state_dict()
    anew, kept = False, False
    for name in own:
        if not CLASSIFIERS.search(name) or own[name].shape[:1] != (network.classes,):
            continue
        source = name if name in tensors else published_name(name)
        if source in tensors and (differ or tensors[source].shape[:1] != own[name].shape[:1]):
            tensors[source], anew = own[name], True
        else:
            kept = True
    try:
        load_checkpoint(network, tensors)
    except CheckpointError as err:
        trained = f' (it was trained as {theirs.network})' if theirs else ''
        msg = f'{path} cannot be started from{trained}: {err}'
        raise CheckpointError(msg) from err
    if theirs and ours:
        _tell_differences(theirs, ours, path, report)
    if anew:
        why = f'{differ[0]} there, {differ[1]} here' if differ else 'another number of classes'
        report(f'{path}: the last layers start anew ({why})')
    elif kept and theirs is None:
        report(f'{path} does not name its classes: the last layers are taken as they are')


def _tell_differences(
    theirs: Description, ours: Description, path: str | Path, report: Callable[[str], None]
) -> None:
    """Report what differs although all tensors fit, such as the size of reduced frames."""
    if theirs.network != ours.network:
        report(f'{path} was trained as {theirs.network} and starts {ours.network}')
    for name in other_options(theirs.options, ours.options):
        was, is_now = theirs.options[name], ours.options[name]
        report(f'{path} was trained with {name} {was!r} and starts a network with {is_now!r}')


def _modules(network: nn.Module, part: str, path: str | Path) -> list[nn.Module]:
    found = []
    for dotted in PARTS[part]:
        module = network
        for name in dotted.split('.'):
            module = getattr(module, name, None)
        found += [] if module is None else [module]
    if not found:
        msg = f'{path} is for the {part} part, which this network does not have'
        raise CheckpointError(msg)
    return found


def _load(module: nn.Module, form: Format, tensors: Tensors, path: str | Path) -> None:
    own = {name: value for name, value in module.state_dict().items() if form.source(name)}
    names = {name: form.source(name) for name in own if not CONSTANTS.search(name)}
    used = set(names.values())
    missing = [theirs for theirs in names.values() if theirs not in tensors]
    unexpected = [
        name
        for name in tensors
        if name not in used and not form.ignored.match(name) and not CONSTANTS.search(name)
    ]
    if missing or unexpected:
        raise _misfit(path, form, {'missing': missing, 'unexpected': unexpected})
    state = form.state(module, tensors)
    shapes = [
        f'{form.source(name)} {tuple(value.shape)} for {tuple(own[name].shape)}'
        for name, value in state.items()
        if value.shape != own[name].shape
    ]
    if shapes:
        raise _misfit(path, form, {'of another shape': shapes})
    flaws = [
        f'{form.source(name)} {flaw}'
        for name, value in state.items()
        if (flaw := wrong_values(name, own[name], value)) is not None
    ]
    if flaws:
        raise _misfit(path, form, {'with other values': flaws})
    module.load_state_dict(state, strict=False)


def _misfit(path: str | Path, form: Format, problems: Mapping[str, list[str]]) -> CheckpointError:
    lines = [f'{path} looks like {form.title}, but its tensors do not fit:']
    for what, names in problems.items():
        if names:
            lines.append(f'  {len(names)} {what}: {_some(names)}')
    return CheckpointError('\n'.join(lines))


def _some(names: Mapping[str, object] | list[str]) -> str:
    rest = len(names) - LISTED
    return ', '.join(list(names)[:LISTED]) + (f' and {rest} more' if rest > 0 else '')


def _renamed(source: Callable[[str], str]) -> Callable[[nn.Module, Tensors], dict]:
    """Take every tensor that the file has as it is."""

    def state(module: nn.Module, tensors: Tensors) -> dict[str, torch.Tensor]:
        names = {name: source(name) for name in module.state_dict()}
        return {name: tensors[theirs] for name, theirs in names.items() if theirs in tensors}

    return state


def swin_name(name: str) -> str:
    """Return the name in the file of mmsegmentation; the norms of the outputs are new."""
    if name.startswith('norms.'):
        return ''
    return published_name(f'semantic.backbone.{name}').removeprefix('backbone.')


#: mmsegmentation -> the names of the original files.
ORIGINAL_SWIN = (
    ('stages.', 'layers.'),
    ('patch_embed.projection', 'patch_embed.proj'),
    ('.attn.w_msa.', '.attn.'),
    ('.ffn.layers.0.0.', '.mlp.fc1.'),
    ('.ffn.layers.1.', '.mlp.fc2.'),
)


def original_swin_name(name: str) -> str:
    """Return the name in the original file."""
    name = swin_name(name)
    for theirs, original in ORIGINAL_SWIN:
        name = name.replace(theirs, original)
    return name


def _original_swin_state(module: nn.Module, tensors: Tensors) -> dict[str, torch.Tensor]:
    state = _renamed(original_swin_name)(module, tensors)
    return {
        name: _channels_first(value) if name.startswith('merges.') else value
        for name, value in state.items()
    }


def _channels_first(merging: torch.Tensor) -> torch.Tensor:
    """
    Reorder the inputs of a patch merging to channel-major, as pixel_unshuffle gives them.

    The original has four blocks of C channels: pixels (0, 0), (1, 0), (0, 1), (1, 1), row first.
    """
    blocks = merging.unflatten(-1, (4, -1))[..., [0, 2, 1, 3], :]
    return blocks.transpose(-1, -2).flatten(-2)


def efficientvit_name(name: str) -> str:
    """Return the name in the published file."""
    return published_name(f'region.trunk.{name}').removeprefix('refine_head.efficientvit.')


def _efficientvit_state(module: nn.Module, tensors: Tensors) -> dict[str, torch.Tensor]:
    state = _renamed(efficientvit_name)(module, tensors)
    first = 'stem.0.conv.weight'
    copies = module.state_dict()[first].shape[1] // state[first].shape[1]
    # Image and residuals each get the whole kernel, as published: not a third of it.
    state[first] = state[first].repeat(1, copies, 1, 1)
    return state


FORMATS = (
    Format(
        'Swin of mmsegmentation',
        'patch_embed.projection.weight',
        Swin,
        swin_name,
        _renamed(swin_name),
        re.compile(r'(norm|head)\.'),
    ),
    Format(
        'Swin of its authors',
        'patch_embed.proj.weight',
        Swin,
        original_swin_name,
        _original_swin_state,
        re.compile(r'(norm|head)\.|.*attn_mask$'),
    ),
    Format(
        'EfficientViT',
        'input_stem.op_list.0.conv.weight',
        EfficientViTTrunk,
        efficientvit_name,
        _efficientvit_state,
        re.compile(r'(head|stages\.3)\.'),
    ),
    Format(
        'EfficientNet-Lite0',
        '_conv_stem.weight',
        EfficientNetLite,
        efficientnet_lite.published_name,
        lambda _module, tensors: efficientnet_lite.from_published(tensors),
        re.compile(r'_(blocks\.1[2-5]|conv_head|bn1|fc)\.'),
    ),
    Format(
        'VGG16',
        'features.28.weight',
        VGG16,
        vgg.published_name,
        _renamed(vgg.published_name),
        re.compile(r'classifier\.'),
    ),
)
