# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Every parameter of the node, declared once, read as one typed settings object."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from threading import Lock
from types import MappingProxyType
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.exceptions import ParameterUninitializedException
from rclpy.node import Node
from rclpy.parameter import Parameter

from uhr_seg_ros.geometry.visibility import ZBuffer
from uhr_seg_ros.pipelines.refinement.refine import Refinement
from uhr_seg_ros.ros.parameters.declaration import accept_whole_numbers, declare
from uhr_seg_ros.ros.parameters.settings import extrinsic_specs, OBJECTIONS, ParameterSpec, SPECS
from uhr_seg_ros.ros.points.transforms import Extrinsics


@dataclass(frozen=True)
class Settings:
    """
    The node's parameters at one moment; a dot in a parameter's name is an underscore here.

    It cannot change. `extrinsics` has the declared pose of every camera.
    """

    bundle: str
    camera_view: str
    backend: str
    memory_limit_mb: int
    max_pixels: int
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
    watchdog_timeout: float
    max_rate_hz: float
    confidence_enabled: bool
    overlay_alpha: float
    overlay_scale: float
    refine: str
    refine_budget_ms: float
    cloud_enabled: bool
    cloud_source: str
    cloud_max_time_difference: float
    cloud_memory_limit_mb: int
    cloud_rectified: bool
    cloud_keep_unseen: bool
    cloud_z_buffer_enabled: bool
    cloud_z_buffer_columns: int
    cloud_z_buffer_tolerance: float
    cloud_fixed_frame: str
    cloud_transform_timeout: float
    no_frame_warning_s: float
    diagnostics_expected_frequency: float
    diagnostics_gpu_temperature_limit: float
    latency_budget_ms: float
    extrinsics: Mapping[str, Extrinsics]

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
    Declares the parameters on a node, guards their changes and holds their values.

    What is set together changes together, for whoever reads `settings` on another thread.

    Args:
        node: where they are declared; those it has already are left as they are.
        is_unconfigured: tells whether structural parameters may change now.

    """

    def __init__(self, node: Node, is_unconfigured: Callable[[], bool]) -> None:
        self._node = node
        self._is_unconfigured = is_unconfigured
        self._specs: dict[str, ParameterSpec] = {}
        self._values: dict[str, Any] = {}
        self._settings: Settings | None = None
        # One thread may set a parameter while another one configures the node.
        self._lock = Lock()
        node.add_on_set_parameters_callback(self._check)
        accept_whole_numbers(node)
        self._declare(SPECS)
        for camera in self._cameras:
            self._declare(extrinsic_specs(camera))
        self._settings = self._snapshot()

    @property
    def settings(self) -> Settings:
        """The values of this moment."""
        return self._settings

    def settled(self) -> Settings:
        """Return the values that hold when a change that is being checked is over."""
        with self._lock:
            return self._settings

    @property
    def _cameras(self) -> tuple[str, ...]:
        """The cameras to serve; one without a name where none is given."""
        return tuple(self._values['cameras']) or ('',)

    def _declare(self, specs: Iterable[ParameterSpec]) -> None:
        for spec in specs:
            self._specs[spec.name] = spec
            if not self._node.has_parameter(spec.name):
                declare(self._node, spec, self._check)
            try:
                value = self._node.get_parameter(spec.name).value
            except ParameterUninitializedException:  # `cameras: []` in a file leaves it unset
                value = None
            self._note(spec, value)

    def _note(self, spec: ParameterSpec, value: Any) -> None:
        value = spec.default if value is None else value
        self._values[spec.name] = tuple(value) if isinstance(spec.default, list) else value

    def _snapshot(self) -> Settings:
        values = {spec.field: self._values[spec.name] for spec in SPECS}
        values['cameras'] = self._cameras
        poses = {
            camera: Extrinsics(*(self._values[spec.name] for spec in extrinsic_specs(camera)))
            for camera in self._cameras
        }
        return Settings(**values, extrinsics=MappingProxyType(poses))

    def _check(self, parameters: list[Parameter]) -> SetParametersResult:
        """
        Accept or refuse new values; rclpy has checked type, range and read-only before.

        What is accepted counts from here on: rclpy stores it next, and asks nobody else who could
        refuse. Humble has no callback behind that; and behind it, the node could already be
        configuring itself with the old values.
        """
        with self._lock:
            ours = [each for each in parameters if each.name in self._specs]
            for parameter in ours:
                if reason := self._objection(self._specs[parameter.name], parameter.value):
                    return SetParametersResult(successful=False, reason=reason)
            if self._settings is not None:
                for parameter in ours:
                    self._note(self._specs[parameter.name], parameter.value)
                self._settings = self._snapshot()
        return SetParametersResult(successful=True)

    def _objection(self, spec: ParameterSpec, value: Any) -> str:
        """Return why `value` is refused, or an empty string."""
        is_set = self._settings is not None
        if spec.change == 'unconfigured' and is_set and not self._is_unconfigured():
            return (
                f'{spec.name} can change only while the node is unconfigured: deactivate and '
                'clean up first'
            )
        if spec.choices and value not in spec.choices:
            return f'{spec.name} is {value!r}: expected one of {", ".join(spec.choices)}'
        if isinstance(spec.default, str) and spec.default and not value:
            return f'{spec.name} is empty'
        if spec.least and 0 < value < spec.least:
            return f'{spec.name} is {value:g}: expected 0, or at least {spec.least:g}'
        other = OBJECTIONS.get(spec.name.rpartition('.')[2])
        return other(value or []) if other else ''
