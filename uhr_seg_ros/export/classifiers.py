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
Published ImageNet classifiers that parts of a network start from.

Their files are told apart by the names inside; a new format is one more entry of ``FORMATS``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
import re
from typing import NamedTuple

import torch
from torch import nn

from uhr_seg_ros.core.errors import CheckpointError
from uhr_seg_ros.export.checkpoints import value_fault
from uhr_seg_ros.export.hlrc_checkpoints import published_name
from uhr_seg_ros.networks.backbones import efficientnet_lite, hrnet, mit, stdc, vgg
from uhr_seg_ros.networks.backbones.efficientnet_lite import EfficientNetLite
from uhr_seg_ros.networks.backbones.efficientvit import EfficientViTTrunk
from uhr_seg_ros.networks.backbones.hrnet import HRNet
from uhr_seg_ros.networks.backbones.mit import MixTransformer
from uhr_seg_ros.networks.backbones.stdc import STDC1
from uhr_seg_ros.networks.backbones.swin import Swin
from uhr_seg_ros.networks.backbones.vgg import VGG16

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
        kind: The class of the modules that can start from it, or the name of a class of another
            package.
        source: Our tensor's name -> its name in the file; '' where no such file has it.
        state: Module and tensors of the file -> state dict of the module.
        ignored: Tensors of the file that nothing here needs.
    """

    title: str
    sign: str
    kind: type[nn.Module] | str
    source: Callable[[str], str]
    state: Callable[[nn.Module, Tensors], dict[str, torch.Tensor]]
    ignored: re.Pattern[str]

    def fits(self, module: nn.Module) -> bool:
        """Tell if a module can start from such a file."""
        if isinstance(self.kind, str):
            return type(module).__name__ == self.kind
        return isinstance(module, self.kind)


def load_classifier(module: nn.Module, form: Format, tensors: Tensors, path: str | Path) -> None:
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
        if (flaw := value_fault(name, own[name], value)) is not None
    ]
    if flaws:
        raise _misfit(path, form, {'with other values': flaws})
    module.load_state_dict(state, strict=False)


def _misfit(path: str | Path, form: Format, problems: Mapping[str, list[str]]) -> CheckpointError:
    lines = [f'{path} looks like {form.title}, but its tensors do not fit:']
    for what, names in problems.items():
        if names:
            lines.append(f'  {len(names)} {what}: {some_of(names)}')
    return CheckpointError('\n'.join(lines))


def some_of(names: Mapping[str, object] | list[str]) -> str:
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


#: One entry per format.
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
    # The encoder of U-Net and DeepLabV3+, see ``networks.baselines.others``.
    Format(
        'EfficientNet-Lite0',
        '_conv_stem.weight',
        'TimmUniversalEncoder',
        efficientnet_lite.timm_name,
        efficientnet_lite.to_timm,
        re.compile(r'_(conv_head|bn1|fc)\.'),
    ),
    Format(
        'STDC1',
        'features.2.conv_list.0.conv.weight',
        STDC1,
        stdc.authors_name,
        _renamed(stdc.authors_name),
        re.compile(r'(conv_last|fc|bn|linear)\.'),
    ),
    Format(
        'ResNet of torchvision',
        'layer4.1.bn2.weight',
        'ResNetEncoder',
        str,
        _renamed(str),
        re.compile(r'fc\.'),
    ),
    Format(
        'VGG16',
        'features.28.weight',
        VGG16,
        vgg.published_name,
        _renamed(vgg.published_name),
        re.compile(r'classifier\.'),
    ),
    # Also the encoder that learned downsampling was released with.
    Format(
        'HRNetV2-W48',
        'transition1.1.0.0.weight',
        HRNet,
        hrnet.published_name,
        _renamed(hrnet.published_name),
        re.compile(r'(incre_modules|downsamp_modules|final_layer|classifier)\.|.*\._tmp|.*_iter$'),
    ),
    Format(
        'MiT of its authors',
        'patch_embed1.proj.weight',
        MixTransformer,
        mit.authors_name,
        mit.from_authors,
        re.compile(r'head\.'),
    ),
    Format(
        'MiT of transformers',
        'segformer.encoder.patch_embeddings.0.proj.weight',
        MixTransformer,
        mit.published_name,
        _renamed(mit.published_name),
        re.compile(r'classifier\.'),
    ),
    # The encoder of SegFormer-B0 as the package transformers has it.
    Format(
        'MiT of its authors',
        'patch_embed1.proj.weight',
        'SegformerEncoder',
        mit.authors_name,
        mit.from_authors,
        re.compile(r'head\.'),
    ),
    Format(
        'MiT of transformers',
        'segformer.encoder.patch_embeddings.0.proj.weight',
        'SegformerEncoder',
        'segformer.encoder.{}'.format,
        _renamed('segformer.encoder.{}'.format),
        re.compile(r'classifier\.'),
    ),
)
