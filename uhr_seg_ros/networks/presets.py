# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""
The networks by name.

``hlrc_cityscapes``, ``hlrc_inria``, ``hlrc_deepglobe``: as published. ``hlrc_s``: the same design
scaled for CPUs and small Jetsons. The others are what ``hlrc_s`` is compared with: its semantic
branch alone, SegFormer-B0 on the frame reduced as the semantic branch's or at full resolution,
and Fast-SCNN at full resolution.

``fctl_inria``, ``fctl_deepglobe``: FCtL as released; ``fctl``: its extended form; ``fctl_s``: that
for CPUs.

``deform_cityscapes``, ``deform_deepglobe``: learned downsampling as released; ``deform_s``: that
around any of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
import inspect
import reprlib
from typing import Any

from uhr_seg_ros.core.classes import CLASS_SETS
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.networks.baselines.fast_scnn import FastSCNN
from uhr_seg_ros.networks.baselines.segformer import SegFormer
from uhr_seg_ros.networks.baselines.single import SingleBranch
from uhr_seg_ros.networks.deformation.network import (
    deform_cityscapes,
    deform_deepglobe,
    DeformedNetwork,
    UniformNetwork,
)
from uhr_seg_ros.networks.fctl.network import fctl, fctl_s
from uhr_seg_ros.networks.fctl.patch_network import PatchNetwork
from uhr_seg_ros.networks.fctl.released import fctl_deepglobe, fctl_inria
from uhr_seg_ros.networks.hlrc.network import HLRC, hlrc, hlrc_s
from uhr_seg_ros.networks.hlrc.semantic import semantic_s

#: Largest number in an option: sizes in px, radii, counts.
LARGEST = 4096
#: One of each kind of bundle.
Network = HLRC | SingleBranch | PatchNetwork | DeformedNetwork | UniformNetwork


def _segformer(classes: int, *, factor: int, stride: int) -> SingleBranch:
    return SingleBranch(SegFormer(classes), classes, factor=factor, stride=stride)


def _semantic_s(classes: int) -> SingleBranch:
    return SingleBranch(semantic_s(classes), classes, factor=4, stride=16)


def _fast_scnn(classes: int) -> SingleBranch:
    return SingleBranch(FastSCNN(classes), classes, factor=1, stride=32)


def deform_s(
    classes: int,
    *,
    inner: str = 'semantic_s',
    sampling: str = 'learned',
    bent: Sequence[int] = (256, 256),
    size: Sequence[int] = (64, 64),
    radius: int = 8,
    framed: bool = True,
) -> DeformedNetwork | UniformNetwork:
    """
    Build learned downsampling, or uniform one as its baseline, around a network.

    Args:
        classes: Number of classes.
        inner: Key of ``NETWORKS``; a network that reduces its images itself does not do so here.
        sampling: ``learned`` or ``uniform``.
        bent: Height and width of what the inner network sees, px.
        size: Of ``DeformedNetwork``.
        radius: Of ``DeformedNetwork``.
        framed: Of ``DeformedNetwork``; without it the border of every image draws the grid to it.
    """
    network = build_network(inner, classes)
    if isinstance(network, SingleBranch):
        network.stride //= network.low_res_factor
        network.low_res_factor = 1
    if any(length % network.stride for length in bent):
        msg = f'bent {tuple(bent)} is no multiple of {network.stride} px, the stride of {inner}'
        raise ValueError(msg)
    if sampling == 'uniform':
        return UniformNetwork(network, tuple(bent))
    if sampling != 'learned':
        msg = f'sampling {sampling!r} is unknown, known: learned, uniform'
        raise ValueError(msg)
    return DeformedNetwork(
        network, size=tuple(size), bent=tuple(bent), radius=radius, framed=framed
    )


@dataclass(frozen=True)
class Preset:
    """How a network is built, and the key of the classes that it is trained for."""

    build: Callable[..., Network]
    classes: str


NETWORKS = {
    'hlrc_cityscapes': Preset(hlrc, 'cityscapes'),
    'hlrc_inria': Preset(partial(hlrc, reconstruct=False), 'inria'),
    'hlrc_deepglobe': Preset(partial(hlrc, experts=16), 'deepglobe'),
    'hlrc_s': Preset(hlrc_s, 'aerial'),
    'semantic_s': Preset(_semantic_s, 'aerial'),
    'segformer_b0_low': Preset(partial(_segformer, factor=4, stride=64), 'aerial'),
    'segformer_b0': Preset(partial(_segformer, factor=1, stride=32), 'aerial'),
    'fast_scnn': Preset(_fast_scnn, 'aerial'),
    'fctl_inria': Preset(fctl_inria, 'inria'),
    'fctl_deepglobe': Preset(fctl_deepglobe, 'deepglobe'),
    'fctl': Preset(fctl, 'inria'),
    'fctl_s': Preset(fctl_s, 'aerial'),
    'deform_cityscapes': Preset(deform_cityscapes, 'cityscapes'),
    'deform_deepglobe': Preset(deform_deepglobe, 'deepglobe'),
    'deform_s': Preset(deform_s, 'aerial'),
}


def options_of(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return every option of a preset with the value that it is built with, in plain values.

    Args:
        name: Key of ``NETWORKS``.
        given: What differs from the defaults.

    Raises:
        ConfigError: The name or an option is unknown, and the message lists the known ones; or a
            value is not plain, negative or above ``LARGEST``.
    """
    if name not in NETWORKS:
        msg = f'unknown network {reprlib.repr(name)}: one of {", ".join(NETWORKS)}'
        raise ConfigError(msg)
    _, *parameters = inspect.signature(NETWORKS[name].build).parameters.values()
    defaults = {parameter.name: parameter.default for parameter in parameters}
    if unknown := sorted(str(option) for option in given if option not in defaults):
        known = ', '.join(defaults) or 'none'
        msg = f'network {name} has no option {", ".join(unknown)}: {known}'
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
        for option, value in (defaults | dict(given)).items()
    }


def _is_sane(value: object) -> bool:
    """Tell if building with a value ends, and in memory: it may come from anybody's file."""
    if isinstance(value, (int, float)):
        return 0 <= value <= LARGEST
    return value is None or isinstance(value, str)


def build_network(name: str, num_classes: int | None = None, **options: Any) -> Network:
    """
    Build a preset by name, with random weights.

    Args:
        name: Key of ``NETWORKS``.
        num_classes: Number of classes; by default those of the preset's class set.
        **options: Of the preset's builder, such as ``experts``.

    Raises:
        ConfigError: The name or an option is unknown, and the message lists the known ones; or
            an option has a value that cannot be built.
    """
    options_of(name, options)
    preset = NETWORKS[name]
    try:
        return preset.build(num_classes or len(CLASS_SETS[preset.classes]), **options)
    except (ValueError, ConfigError) as err:
        msg = f'network {name} cannot be built with {options}: {err}'
        raise ConfigError(msg) from err
