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
The networks by name, and those of a user.

``hlrc_cityscapes``, ``hlrc_inria``, ``hlrc_deepglobe``: as published. ``hlrc_s``: the same design
scaled for CPUs and small Jetsons. The others are what ``hlrc_s`` is compared with: its semantic
branch alone, SegFormer-B0 on the frame reduced as the semantic branch's or at full resolution,
and at full resolution Fast-SCNN, PIDNet-S, PP-LiteSeg-T, and U-Net and DeepLabV3+ on the same
encoder as ``hlrc_s`` or another one.

``fctl_inria``, ``fctl_deepglobe``: FCtL as released; ``fctl``: its extended form; ``fctl_s``: that
for CPUs.

``deform_cityscapes``, ``deform_deepglobe``: learned downsampling as released; ``deform_s``: that
around any of the others.

``my.module:build``, wherever a network is named: a function of the user's. It is called with the
number of classes and the options, takes the options by name, and returns a
``SegmentationNetwork``, such as ``SingleNetwork(module, classes, factor=1, stride=32)``; both can
be imported from here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
import inspect
import reprlib
from typing import Any

from uhr_seg_ros.core.bundle_kinds import BUNDLE_KINDS
from uhr_seg_ros.core.classes import CLASS_SETS
from uhr_seg_ros.core.entry_points import check_result, is_entry_point, load_entry_point
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.recipe_keys import rename_keys, RENAMED_OPTIONS
from uhr_seg_ros.networks.backbones.base import SegmentationNetwork
from uhr_seg_ros.networks.baselines.fast_scnn import FastSCNN
from uhr_seg_ros.networks.baselines.others import ENCODER, OthersNetwork
from uhr_seg_ros.networks.baselines.pidnet import PIDNet
from uhr_seg_ros.networks.baselines.pp_liteseg import PPLiteSeg
from uhr_seg_ros.networks.baselines.segformer import SegFormer
from uhr_seg_ros.networks.baselines.single import SingleNetwork
from uhr_seg_ros.networks.deformation.network import (
    deform_cityscapes,
    deform_deepglobe,
    DeformedNetwork,
    UniformNetwork,
)
from uhr_seg_ros.networks.fctl.network import fctl, fctl_s
from uhr_seg_ros.networks.fctl.released import fctl_deepglobe, fctl_inria
from uhr_seg_ros.networks.hlrc.init import init_published
from uhr_seg_ros.networks.hlrc.network import hlrc, hlrc_s
from uhr_seg_ros.networks.hlrc.semantic import semantic_s

#: Largest number in an option: sizes in px, radii, counts.
LARGEST = 4096


def _segformer(classes: int, *, factor: int, stride: int) -> SingleNetwork:
    return SingleNetwork(SegFormer(classes), classes, factor=factor, stride=stride)


def _semantic_s(classes: int) -> SingleNetwork:
    return SingleNetwork(semantic_s(classes), classes, factor=4, stride=16)


def _fast_scnn(classes: int) -> SingleNetwork:
    return SingleNetwork(FastSCNN(classes), classes, factor=1, stride=32)


def _pidnet_s(classes: int) -> SingleNetwork:
    return SingleNetwork(PIDNet(classes), classes, factor=1, stride=64)


def _pp_liteseg(classes: int) -> SingleNetwork:
    return SingleNetwork(PPLiteSeg(classes), classes, factor=1, stride=32)


def _unet(classes: int, *, encoder: str = ENCODER) -> SingleNetwork:
    body = OthersNetwork(classes, 'unet', encoder)
    return SingleNetwork(body, classes, factor=1, stride=32)


def _deeplabv3plus(classes: int, *, encoder: str = ENCODER) -> SingleNetwork:
    body = OthersNetwork(classes, 'deeplabv3plus', encoder)
    return SingleNetwork(body, classes, factor=1, stride=32)


def deform_s(
    classes: int,
    *,
    inner: str = 'semantic_s',
    sampling: str = 'learned',
    warped_size: Sequence[int] = (256, 256),
    size: Sequence[int] = (64, 64),
    radius: int = 8,
    ignore_image_border: bool = True,
) -> DeformedNetwork | UniformNetwork:
    """
    Build learned downsampling, or uniform one as its baseline, around a network.

    Args:
        classes: Number of classes.
        inner: Key of ``NETWORKS``; a network that reduces its images itself does not do so here.
        sampling: ``learned`` or ``uniform``.
        warped_size: Height and width of what the inner network sees, px.
        size: Of ``DeformedNetwork``.
        radius: Of ``DeformedNetwork``.
        ignore_image_border: Of ``DeformedNetwork``; without it the border of every image draws
            the grid to it.
    """
    network = build_network(inner, classes)
    if isinstance(network, SingleNetwork):
        network.stride //= network.low_res_factor
        network.low_res_factor = 1
    height, width = warped_size
    if height % network.stride or width % network.stride:
        msg = (
            f'warped_size {tuple(warped_size)} is not a multiple of {network.stride} px, the '
            f'stride of {inner}'
        )
        raise ValueError(msg)
    if sampling == 'uniform':
        return UniformNetwork(network, (height, width))
    if sampling != 'learned':
        msg = f'sampling {sampling!r} is unknown, known: learned, uniform'
        raise ValueError(msg)
    rows, columns = size
    return DeformedNetwork(
        network,
        size=(rows, columns),
        warped_size=(height, width),
        radius=radius,
        ignore_image_border=ignore_image_border,
    )


@dataclass(frozen=True)
class Preset:
    """
    One network.

    Attributes:
        build: Number of classes, and options by name -> network with random weights.
        classes: Key of ``CLASS_SETS`` of the classes that it is trained for; empty: none.
        init: Draws its published initial weights, where those are not what ``build`` draws.
    """

    build: Callable[..., SegmentationNetwork]
    classes: str = ''
    init: Callable[[Any], None] | None = None


NETWORKS = {
    'hlrc_cityscapes': Preset(hlrc, 'cityscapes', init_published),
    'hlrc_inria': Preset(partial(hlrc, reconstruct=False), 'inria', init_published),
    'hlrc_deepglobe': Preset(partial(hlrc, experts=16), 'deepglobe', init_published),
    'hlrc_s': Preset(hlrc_s, 'aerial'),
    'semantic_s': Preset(_semantic_s, 'aerial'),
    'segformer_b0_low': Preset(partial(_segformer, factor=4, stride=64), 'aerial'),
    'segformer_b0': Preset(partial(_segformer, factor=1, stride=32), 'aerial'),
    'fast_scnn': Preset(_fast_scnn, 'aerial'),
    'pidnet_s': Preset(_pidnet_s, 'aerial'),
    'pp_liteseg': Preset(_pp_liteseg, 'aerial'),
    'unet': Preset(_unet, 'aerial'),
    'deeplabv3plus': Preset(_deeplabv3plus, 'aerial'),
    'fctl_inria': Preset(fctl_inria, 'inria'),
    'fctl_deepglobe': Preset(fctl_deepglobe, 'deepglobe'),
    'fctl': Preset(fctl, 'inria'),
    'fctl_s': Preset(fctl_s, 'aerial'),
    'deform_cityscapes': Preset(deform_cityscapes, 'cityscapes'),
    'deform_deepglobe': Preset(deform_deepglobe, 'deepglobe'),
    'deform_s': Preset(deform_s, 'aerial'),
}


def is_network_name(name: object) -> bool:
    """Tell if a text is a key of ``NETWORKS`` or has the form ``module:attribute``."""
    return isinstance(name, str) and (name in NETWORKS or is_entry_point(name))


def find_preset(name: str) -> Preset:
    """
    Return a network of this package, or import a user's.

    Args:
        name: Key of ``NETWORKS``, or ``module:attribute``. The latter runs the code of the
            module: it is to come from the user, and not from a file that somebody else made.

    Raises:
        ConfigError: The name is unknown, and the message lists the known ones; or the module
            cannot be imported.
    """
    if is_entry_point(name):
        return Preset(load_entry_point(name, 'network', ConfigError))
    if name not in NETWORKS:
        known = f'{", ".join(NETWORKS)}, or module:attribute of your own'
        msg = f'unknown network {reprlib.repr(name)}: one of {known}'
        raise ConfigError(msg)
    return NETWORKS[name]


def options_of(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return every option of a network with the value that it is built with, in plain values.

    Args:
        name: As of ``find_preset``.
        given: What differs from the defaults.

    Raises:
        ConfigError: As of ``find_preset``; an option is unknown, and the message lists the known
            ones, or has no value; or a value is not plain, negative or above ``LARGEST``.
    """
    build = find_preset(name).build
    if not is_entry_point(name):
        given = rename_keys(given, RENAMED_OPTIONS)
    defaults, takes_others = _defaults(name, build)
    if not takes_others and (
        unknown := sorted(str(option) for option in given if option not in defaults)
    ):
        known = ', '.join(defaults) or 'none'
        msg = f'network {name} has no option {", ".join(unknown)}: {known}'
        raise ConfigError(msg)
    found = defaults | dict(given)
    if missing := [option for option, value in found.items() if value is inspect.Parameter.empty]:
        msg = f'network {name} needs a value for its option {", ".join(missing)}'
        raise ConfigError(msg)
    for option, value in given.items():
        if not all(map(_is_sane, value if isinstance(value, Sequence) else [value])):
            msg = (
                f'network {name} cannot be built with {option} {reprlib.repr(value)}: expected '
                f'plain values, numbers from 0 to {LARGEST}'
            )
            raise ConfigError(msg)
    return {
        option: list(value) if isinstance(value, tuple) else value
        for option, value in found.items()
    }


def _defaults(name: str, build: Callable[..., object]) -> tuple[dict[str, Any], bool]:
    """Return the options of a network by name, and whether it takes any other."""
    try:
        _, *parameters = inspect.signature(build).parameters.values()
    except (TypeError, ValueError) as err:
        msg = f'network {name} takes no number of classes: expected build(classes, **options)'
        raise ConfigError(msg) from err
    named = [each for each in parameters if each.kind not in _VARIABLE]
    others = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters)
    return {parameter.name: parameter.default for parameter in named}, others


_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _is_sane(value: object) -> bool:
    """Tell if building with a value ends, and in memory: it may come from anybody's file."""
    if isinstance(value, (int, float)):
        return 0 <= value <= LARGEST
    return value is None or isinstance(value, str)


def build_network(
    name: str, num_classes: int | None = None, **options: Any
) -> SegmentationNetwork:
    """
    Build a network by name, with random weights.

    Args:
        name: As of ``find_preset``.
        num_classes: Number of classes; by default those of the preset's class set.
        **options: Of the preset's builder, such as ``experts``.

    Raises:
        ConfigError: As of ``options_of``; or an option has a value that cannot be built, or what
            a user's function returned is not a network of so many classes.
    """
    full = options_of(name, options)
    preset = find_preset(name)
    if num_classes is None and not preset.classes:
        msg = f'network {name} has no classes of its own: give their number'
        raise ConfigError(msg)
    count = num_classes or len(CLASS_SETS[preset.classes])
    if is_entry_point(name):
        return _checked(preset.build(count, **full), name, count)
    current = rename_keys(options, RENAMED_OPTIONS)
    try:
        return preset.build(count, **current)
    except (ValueError, ConfigError) as err:
        msg = f'network {name} cannot be built with {current}: {err}'
        raise ConfigError(msg) from err


def _checked(found: object, name: str, classes: int) -> SegmentationNetwork:
    """Refuse what a user's function returned where training and export could not use it."""
    network = check_result(found, SegmentationNetwork, name, 'network', ConfigError)
    if (kind := getattr(network, 'kind', None)) not in BUNDLE_KINDS:
        msg = f'network {name} has kind {kind!r}, expected one of {", ".join(BUNDLE_KINDS)}'
        raise ConfigError(msg)
    if (count := getattr(network, 'classes', None)) != classes:
        msg = f'network {name} was built for {classes} classes and has {count!r}'
        raise ConfigError(msg)
    for field in ('stride', 'low_res_factor'):
        value = getattr(network, field)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= LARGEST:
            msg = f'network {name} has {field} {value!r}, expected a whole number from 1 on'
            raise ConfigError(msg)
    return network
