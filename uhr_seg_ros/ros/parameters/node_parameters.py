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

"""The parameters of the node: declared, guarded, and at hand as settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Lock
from types import MappingProxyType
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.exceptions import ParameterUninitializedException
from rclpy.node import Node
from rclpy.parameter import Parameter

from uhr_seg_ros.ros.parameters.declaration import (
    accept_whole_numbers,
    declare,
    unknown_parameters,
)
from uhr_seg_ros.ros.parameters.extrinsics import extrinsic_specs, Extrinsics
from uhr_seg_ros.ros.parameters.regions import Region, region_specs
from uhr_seg_ros.ros.parameters.settings import Settings, SPECS
from uhr_seg_ros.ros.parameters.spec import ParameterSpec


class Parameters:
    """
    Declares the parameters on a node, guards their changes and holds their values.

    What is set together changes together, for whoever reads `settings` on another thread.

    Args:
        node: where they are declared; those it has already are left as they are.
        is_unconfigured: tells whether structural parameters may change now.
        review: gets the settings that a change would make; returns why it is refused, or an empty
            string.
        on_change: gets the settings before and after a change that was accepted.

    Attributes:
        settings: the values of this moment; another object after each change.

    """

    settings: Settings

    def __init__(
        self,
        node: Node,
        is_unconfigured: Callable[[], bool],
        review: Callable[[Settings], str] = lambda new: '',
        on_change: Callable[[Settings, Settings], object] = lambda old, new: None,
    ) -> None:
        self._node, self._review, self._on_change = node, review, on_change
        self._is_unconfigured = is_unconfigured
        self._specs: dict[str, ParameterSpec] = {}
        self._values: dict[str, Any] = {}
        self._is_declared = False
        # One thread may set a parameter while another one configures the node.
        self._lock = Lock()
        node.add_on_set_parameters_callback(self._check)
        accept_whole_numbers(node)
        self._declare(SPECS)
        for camera in self._cameras:
            self._declare((*extrinsic_specs(camera), *region_specs(camera)))
        self.settings = self._snapshot()
        self._is_declared = True
        if unknown := unknown_parameters(node):
            node.get_logger().warning(unknown)

    def settled(self) -> Settings:
        """Return the values that hold when a change that is being checked is over."""
        with self._lock:
            return self.settings

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
        values = self._fields(SPECS)
        values['cameras'] = self._cameras
        poses = {
            camera: Extrinsics(**self._fields(extrinsic_specs(camera))) for camera in self._cameras
        }
        regions = {
            camera: Region(**self._fields(region_specs(camera))) for camera in self._cameras
        }
        parts = {camera: region for camera, region in regions.items() if region.is_part}
        return Settings(
            **values, extrinsics=MappingProxyType(poses), regions=MappingProxyType(parts)
        )

    def _fields(self, specs: Iterable[ParameterSpec]) -> dict[str, Any]:
        return {spec.field: self._values[spec.name] for spec in specs}

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
            if not self._is_declared:
                return SetParametersResult(successful=True)
            before, old = dict(self._values), self.settings
            for parameter in ours:
                self._note(self._specs[parameter.name], parameter.value)
            new = self._snapshot()
            if reason := self._review(new):
                self._values = before
                return SetParametersResult(successful=False, reason=reason)
            self.settings = new
        self._on_change(old, new)
        return SetParametersResult(successful=True)

    def _objection(self, spec: ParameterSpec, value: Any) -> str:
        """Return why `value` is refused, or an empty string."""
        if spec.change == 'unconfigured' and self._is_declared and not self._is_unconfigured():
            return (
                f'{spec.name} can change only while the node is unconfigured: deactivate and '
                'clean up first'
            )
        return spec.objection(value)
