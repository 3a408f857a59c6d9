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

"""One row of the table of parameters, which is a field of a dataclass at the same time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

ROW = 'parameter'
"""Key of a row in the metadata of a field."""


@dataclass(frozen=True)
class ParameterSpec:
    """
    One parameter.

    Attributes:
        name: as ROS knows it, such as `cloud.source`.
        default: its value where nobody gives one.
        description: what `ros2 param describe` says.
        field: of the dataclass.
        limits: the smallest and the largest value.
        least: the smallest value that is not zero.
        choices: the values that it may have; empty for any.
        validator: tells why a value is refused; an empty string where it is not.
        change: when it may be set: `never` (read-only), `unconfigured` (it shapes what configuring
            builds) or `live` (the next frame follows it).

    """

    name: str
    default: Any
    description: str
    field: str
    limits: tuple[float, float] | None = None
    least: float = 0.0
    choices: tuple[str, ...] = ()
    validator: Callable[[Any], str] | None = None
    change: str = 'live'

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

    def objection(self, value: Any) -> str:
        """Return why a value of the right type and range is refused, or an empty string."""
        if self.choices and value not in self.choices:
            return f'{self.name} is {value!r}: expected one of {", ".join(self.choices)}'
        if isinstance(self.default, str) and self.default and not value:
            return f'{self.name} is empty'
        if self.least and 0 < value < self.least:
            return f'{self.name} is {value:g}: expected 0, or at least {self.least:g}'
        return self.validator(value or []) if self.validator else ''


def row(default: Any, description: str, *, name: str = '', **more: Any) -> Any:
    """
    Make a field of a dataclass a parameter.

    Args:
        default: its value where nobody gives one; a list is a tuple in the dataclass.
        description: what `ros2 param describe` says.
        name: as ROS knows it, where that is not the name of the field: a dot is no underscore.
        more: see `ParameterSpec`.

    """
    value = tuple(default) if isinstance(default, list) else default
    return field(default=value, metadata={ROW: (name, default, description, more)})


def specs_of(kind: Any, prefix: str = '') -> tuple[ParameterSpec, ...]:
    """Return the parameters of a dataclass of rows, in their order; their names get a prefix."""
    return tuple(
        ParameterSpec(prefix + (name or each.name), default, description, each.name, **more)
        for each in fields(kind)
        if ROW in each.metadata
        for name, default, description, more in [each.metadata[ROW]]
    )
