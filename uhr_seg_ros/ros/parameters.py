# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Every parameter of the node, declared once, read as one typed settings object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import re
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import ParameterUninitializedException
from rclpy.node import Node
from rclpy.parameter import Parameter

from uhr_seg_ros.bundle import DEFAULT_MEMORY_LIMIT_MB
from uhr_seg_ros.engines.options import DEFAULT_WORKSPACE_MB, PRECISIONS
from uhr_seg_ros.refinement.refining import METHODS, missing_library, Refinement


@dataclass(frozen=True)
class Settings:
    """The node's parameters at one moment; a dot in a parameter's name is an underscore here."""

    bundle: str
    backend: str
    memory_limit_mb: int
    threads: int
    input_size: tuple[int, int]
    precision: str
    workspace_mb: int
    engine_cache: str
    cameras: tuple[str, ...]
    image_transport: str
    image_qos: str
    autostart: bool
    max_rate_hz: float
    confidence_enabled: bool
    overlay_alpha: float
    overlay_scale: float
    refine: str
    refine_budget_ms: float
    no_frame_warning_s: float
    diagnostics_expected_frequency: float
    diagnostics_gpu_temperature_limit: float
    latency_budget_ms: float

    @property
    def refinement(self) -> Refinement | None:
        """How boundaries are refined, or None."""
        if self.refine == 'none':
            return None
        return Refinement(budget_ms=self.refine_budget_ms)


@dataclass(frozen=True)
class _Spec:
    """
    One parameter.

    `change` says when it may be set: `never` (read-only), `unconfigured` (it shapes what
    configuring builds) or `live` (the next frame follows it). `least` is the smallest value that
    is not zero.
    """

    name: str
    default: Any
    description: str
    limits: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()
    change: str = 'live'
    least: float = 0.0

    @property
    def field(self) -> str:
        return self.name.replace('.', '_')

    def descriptor(self) -> ParameterDescriptor:
        """Return what `ros2 param describe` shows."""
        descriptor = ParameterDescriptor()
        descriptor.description = self.description
        descriptor.read_only = self.change == 'never'
        constraints = [f'one of: {", ".join(self.choices)}'] if self.choices else []
        if self.change == 'unconfigured':
            constraints.append('can change only while the node is unconfigured')
        descriptor.additional_constraints = '; '.join(constraints)
        if self.limits and isinstance(self.default, float):
            low, high = self.limits
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
        elif self.limits:
            low, high = (int(limit) for limit in self.limits)
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
        return descriptor


_SPECS = (
    _Spec('bundle', 'hlrc_s_aerial',
          'Model bundle: a folder, or the name of a folder under models/.',
          change='unconfigured'),
    _Spec('backend', 'auto',
          'tensorrt (NVIDIA GPU), onnxruntime (CPU), or auto: the fastest one that runs here.',
          change='unconfigured'),
    _Spec('input_size', [3840, 2160],
          'Width and height that TensorRT engines are built for when configuring, px. Another '
          'size is built when its first frame comes.', change='unconfigured'),
    _Spec('precision', 'auto',
          'Numbers that the engines compute in; auto: fp16 with TensorRT, what the bundle says on '
          'a CPU.', choices=PRECISIONS, change='unconfigured'),
    _Spec('workspace_mb', DEFAULT_WORKSPACE_MB,
          'Scratch memory of a TensorRT engine and of its build, MB.', (64, 1 << 20),
          change='unconfigured'),
    _Spec('engine_cache', '',
          'Folder of built TensorRT engines; empty: uhr_seg_ros in XDG_CACHE_HOME or ~/.cache.',
          change='unconfigured'),
    _Spec('memory_limit_mb', DEFAULT_MEMORY_LIMIT_MB,
          'Memory for the detail branch, MB; beyond it the frame is tiled. '
          '0 = no limit.', (0, 1 << 20), change='unconfigured'),
    _Spec('threads', 0, 'CPU threads of the engines; 0 = one per core.', (0, 1024),
          change='unconfigured'),
    # rclpy takes an empty list for a byte array: one empty name stands for the unnamed camera.
    _Spec('cameras', [''],
          'Names of the cameras, such as [front, left]: inputs <name>/image_raw, outputs '
          '~/<name>/mask. Empty: one camera without a name.', change='never'),
    _Spec('image_transport', 'raw', 'raw takes image_raw, compressed takes image_raw/compressed.',
          choices=('raw', 'compressed'), change='never'),
    _Spec('image_qos', 'auto',
          'Reliability of the image subscriptions; auto takes what the publisher offers.',
          choices=('auto', 'reliable', 'best_effort'), change='unconfigured'),
    _Spec('autostart', True, 'Configure and activate as soon as the node spins.', change='never'),
    _Spec('max_rate_hz', 0.0,
          'Frames per second and camera that are processed at most; 0 = no limit.', (0.0, 1000.0),
          least=0.001),
    _Spec('confidence.enabled', False, 'Compute and publish ~/confidence.'),
    _Spec('overlay.alpha', 0.5, 'Share of the class colour in ~/overlay, 0..1.', (0.0, 1.0)),
    _Spec('overlay.scale', 0.5, 'Size of ~/overlay and ~/color_mask relative to the frame.',
          (0.01, 1.0)),
    _Spec('refine', 'none',
          'random_walker lets the image decide the boundaries of the mask.', choices=METHODS),
    _Spec('refine_budget_ms', 0.0,
          'Time after which the rest of the boundaries stays as it is, ms; 0 = none.',
          (0.0, 600000.0)),
    _Spec('no_frame_warning_s', 5.0,
          'Warn after this many seconds without a frame; 0 = never.', (0.0, 86400.0)),
    _Spec('diagnostics.expected_frequency', 0.0,
          'Frame rate that each camera should have, Hz; 0 = unknown.', (0.0, 1000.0)),
    _Spec('diagnostics.gpu_temperature_limit', 85.0,
          'Warn when the GPU is this hot, degrees C; 0 = never.', (0.0, 150.0)),
    _Spec('latency.budget_ms', 0.0,
          'Warn when more than 5 % of the frames take longer from arrival to publication, ms; '
          '0 = never.', (0.0, 600000.0)),
)

MIN_SIDE, MAX_SIDE = 16, 16384
"""Limits of a side of `input_size`, px."""

_CAMERA_NAME = re.compile(r'[A-Za-z][A-Za-z0-9_]*')


class Parameters:
    """
    Declares the parameters on a node, guards their changes and reads them.

    Args:
        node: where they are declared; those it has already are left as they are.
        is_unconfigured: tells whether structural parameters may change now.

    """

    def __init__(self, node: Node, is_unconfigured: Callable[[], bool]) -> None:
        self._node = node
        self._is_unconfigured = is_unconfigured
        self._specs = {spec.name: spec for spec in _SPECS}
        self._declared = False
        node.add_on_set_parameters_callback(self._check)
        for spec in _SPECS:
            if not node.has_parameter(spec.name):
                node.declare_parameter(spec.name, spec.default, spec.descriptor())
        self._declared = True

    @property
    def settings(self) -> Settings:
        """The values of this moment."""
        values = {spec.field: self._value(spec) for spec in _SPECS}
        values['cameras'] = _camera_names(values['cameras'])
        values['input_size'] = tuple(values['input_size'])
        return Settings(**values)

    def _value(self, spec: _Spec) -> Any:
        try:
            return self._node.get_parameter(spec.name).value
        except ParameterUninitializedException:  # `cameras: []` in a file leaves it unset
            return spec.default

    def _check(self, parameters: list[Parameter]) -> SetParametersResult:
        """Accept or refuse new values; rclpy has checked type, range and read-only before."""
        for parameter in parameters:
            spec = self._specs.get(parameter.name)
            reason = '' if spec is None else self._objection(spec, parameter.value)
            if reason:
                return SetParametersResult(successful=False, reason=reason)
        return SetParametersResult(successful=True)

    def _objection(self, spec: _Spec, value: Any) -> str:
        """Return why `value` is refused, or an empty string."""
        if spec.change == 'unconfigured' and self._declared and not self._is_unconfigured():
            return (f'{spec.name} can change only while the node is unconfigured: deactivate and '
                    'clean up first')
        if spec.choices and value not in spec.choices:
            return f'{spec.name} is {value!r}: expected one of {", ".join(spec.choices)}'
        if isinstance(spec.default, str) and spec.default and not value:
            return f'{spec.name} is empty'
        if spec.least and 0 < value < spec.least:
            return f'{spec.name} is {value:g}: expected 0, or at least {spec.least:g}'
        other = _OBJECTIONS.get(spec.name)
        return other(value or []) if other else ''


def _camera_names(names: list[str]) -> tuple[str, ...]:
    """Return the cameras to serve; one without a name where none is given."""
    return tuple(names) or ('',)


def _objection_to_cameras(names: list[str]) -> str:
    if list(names) in ([], ['']):
        return ''
    if bad := [name for name in names if not _CAMERA_NAME.fullmatch(name)]:
        return f'cameras has {bad[0]!r}: a name is letters, digits and _, a letter first'
    if len(set(names)) < len(names):
        return f'cameras {list(names)} names a camera twice'
    return ''


def _objection_to_size(size: list[int]) -> str:
    if len(size) == 2 and all(MIN_SIDE <= side <= MAX_SIDE for side in size):
        return ''
    return (f'input_size is {list(size)}: expected width and height, each {MIN_SIDE} to '
            f'{MAX_SIDE} px')


def _objection_to_refining(method: str) -> str:
    return '' if method == 'none' else missing_library()


_OBJECTIONS: dict[str, Callable[[Any], str]] = {
    'cameras': _objection_to_cameras,
    'input_size': _objection_to_size,
    'refine': _objection_to_refining,
}
