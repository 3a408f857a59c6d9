# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Every parameter of the node, declared once, read as one typed settings object."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.exceptions import ParameterUninitializedException
from rclpy.node import Node
from rclpy.parameter import Parameter

from uhr_seg_ros.geometry.visibility import ZBuffer
from uhr_seg_ros.refinement.refining import Refinement
from uhr_seg_ros.ros.parameter_table import extrinsic_specs, OBJECTIONS, Spec, SPECS
from uhr_seg_ros.ros.poses import Extrinsics


@dataclass(frozen=True)
class Settings:
    """
    The node's parameters at one moment; a dot in a parameter's name is an underscore here.

    `extrinsics` has the declared pose of every camera.
    """

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
    transition_timeout: float
    configure_timeout: float
    max_rate_hz: float
    confidence_enabled: bool
    overlay_alpha: float
    overlay_scale: float
    refine: str
    refine_budget_ms: float
    cloud_enabled: bool
    cloud_source: str
    cloud_max_time_difference: float
    cloud_rectified: bool
    cloud_keep_unseen: bool
    cloud_z_buffer_enabled: bool
    cloud_z_buffer_columns: int
    cloud_z_buffer_tolerance: float
    cloud_fixed_frame: str
    no_frame_warning_s: float
    diagnostics_expected_frequency: float
    diagnostics_gpu_temperature_limit: float
    latency_budget_ms: float
    extrinsics: dict[str, Extrinsics]

    @property
    def refinement(self) -> Refinement | None:
        """How boundaries are refined, or None."""
        if self.refine == 'none':
            return None
        return Refinement(budget_ms=self.refine_budget_ms)

    @property
    def z_buffer(self) -> ZBuffer | None:
        """How hidden points are found, or None."""
        if not self.cloud_z_buffer_enabled:
            return None
        return ZBuffer(self.cloud_z_buffer_columns, self.cloud_z_buffer_tolerance)


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
        self._specs: dict[str, Spec] = {}
        self._declared = False
        node.add_on_set_parameters_callback(self._check)
        self._declare(SPECS)
        for camera in self._cameras:
            self._declare(extrinsic_specs(camera))
        self._declared = True

    @property
    def settings(self) -> Settings:
        """The values of this moment."""
        values = {spec.field: self._value(spec) for spec in SPECS}
        values['cameras'] = self._cameras
        values['input_size'] = tuple(values['input_size'])
        extrinsics = {camera: self._extrinsics(camera) for camera in self._cameras}
        return Settings(**values, extrinsics=extrinsics)

    @property
    def _cameras(self) -> tuple[str, ...]:
        """The cameras to serve; one without a name where none is given."""
        return tuple(self._value(self._specs['cameras'])) or ('',)

    def _declare(self, specs: Iterable[Spec]) -> None:
        for spec in specs:
            self._specs[spec.name] = spec
            if not self._node.has_parameter(spec.name):
                self._node.declare_parameter(spec.name, spec.default, spec.descriptor())

    def _extrinsics(self, camera: str) -> Extrinsics:
        camera_frame, points_frame, *pose = map(self._value, extrinsic_specs(camera))
        return Extrinsics(camera_frame, points_frame, *map(tuple, pose))

    def _value(self, spec: Spec) -> Any:
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

    def _objection(self, spec: Spec, value: Any) -> str:
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
        other = OBJECTIONS.get(spec.name.rpartition('.')[2])
        return other(value or []) if other else ''

