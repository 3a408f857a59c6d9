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

"""Values of parameters as people write them: `5` for `5.0`, and what is no value at all."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException
from rclpy.node import Node
from rclpy.parameter import Parameter

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.text import one_line, shown
from uhr_seg_ros.ros.parameters.spec import ParameterSpec

Check = Callable[[list[Parameter]], SetParametersResult]

_EXPECTED = {
    bool: 'true or false',
    int: 'a whole number, such as 4',
    float: 'a number, such as 5.0',
    str: 'a text, in quotes where YAML takes it for something else: on the command line as '
    '"\'12\'"',
}
_EXPECTED_IN_LISTS = {
    int: 'a list of whole numbers, such as [3840, 2160]',
    float: 'a list of numbers, such as [0.0, 0.5, 1.0]',
    str: 'a list of texts, such as [front, rear]',
}
_MOST_NAMED = 8
"""So many unknown parameters are named: a file may be for many nodes."""

_NAMES = {bool: 'a truth value', int: 'a whole number', float: 'a number', str: 'a text'}


def declare(node: Node, spec: ParameterSpec, check: Check) -> None:
    """
    Declare a parameter; whole numbers are taken where numbers are expected.

    Args:
        node: where it is declared.
        spec: what it is.
        check: a callback of the node, which is not asked about a value of the wrong type.

    Raises:
        ConfigError: the value from outside is of another type.

    """
    try:
        node.declare_parameter(spec.name, spec.default, spec.descriptor())
    except InvalidParameterTypeException:
        value = fitted(spec, _given(node, spec.name, check))
        node.declare_parameter(spec.name, value, spec.descriptor(), ignore_override=True)


def accept_whole_numbers(node: Node) -> None:
    """Take whole numbers where numbers are expected when parameters are set, too."""

    def convert(parameters: list[Parameter]) -> list[Parameter]:
        return [_with_numbers(node, each) for each in parameters]

    if hasattr(node, 'add_pre_set_parameters_callback'):  # not in Humble: refused with both types
        node.add_pre_set_parameters_callback(convert)


def fitted(spec: ParameterSpec, value: Any) -> Any:
    """Return a value in the type of a parameter, or raise ConfigError."""
    found = _as_numbers(spec.default, value)
    if type(found) is type(spec.default) and not isinstance(found, list):
        return found
    expected, what = _EXPECTED.get(type(spec.default)), _NAMES.get(type(value), 'a list')
    if isinstance(spec.default, list):
        kind = type(spec.default[0])
        if isinstance(found, list) and all(type(each) is kind for each in found):
            return found
        expected = _EXPECTED_IN_LISTS[kind]
    msg = f'parameter {spec.name} is {shown(value)}, {what}: expected {expected}'
    if spec.choices:
        msg += f'; one of {", ".join(spec.choices)}'
    raise ConfigError(msg)


def unknown_parameters(node: Node) -> str:
    """
    Return what was given from outside and nobody has declared, in one line; or empty.

    Each name comes with the nearest one that there is: ROS itself ignores a misspelled parameter.
    Those of the quality of service are declared later, with their topics.
    """
    given = getattr(node, '_parameter_overrides', {})  # rclpy has no other way to ask
    names = [name for name in given if not name.startswith('qos_overrides.')]
    unknown = sorted(name for name in names if not node.has_parameter(name))
    if not unknown:
        return ''
    known = list(node._parameters)
    parts = []
    for name in unknown[:_MOST_NAMED]:
        near = get_close_matches(name, known, 1)
        parts.append(f'{shown(name)} (is it {near[0]}?)' if near else shown(name))
    more = ' and others' if len(unknown) > _MOST_NAMED else ''
    return f'parameters that this node does not have are ignored: {", ".join(parts)}{more}'


def explained(error: Exception) -> str:
    """Return why a node could not be made; what rcl says of lists gets its way out."""
    text = one_line(error)
    if 'Sequence should be of same type' in text:
        text += '. Write all numbers of a list in the same way: [0.0, 0.5, 1.0], not [0, 0.5, 1]'
    return text


def _as_numbers(example: Any, value: Any) -> Any:
    """Return whole numbers as numbers, if the example is or has some; others as they are."""
    if hasattr(value, 'tolist'):  # rclpy hands lists of numbers on as arrays
        value = value.tolist()
    if isinstance(example, float) and type(value) is int:
        return float(value)
    has_numbers = (
        not isinstance(example, str)
        and hasattr(example, '__iter__')
        and all(isinstance(each, float) for each in example)
    )
    if has_numbers and isinstance(value, list) and all(type(each) is int for each in value):
        return [float(each) for each in value]
    return value


def _with_numbers(node: Node, parameter: Parameter) -> Parameter:
    """Return a parameter with numbers where the node has numbers."""
    if parameter.type_ not in (Parameter.Type.INTEGER, Parameter.Type.INTEGER_ARRAY):
        return parameter
    example = node.get_parameter_or(parameter.name).value
    return Parameter(parameter.name, value=_as_numbers(example, parameter.value))


def _given(node: Node, name: str, check: Check) -> Any:
    """Return the value that a parameter got from outside, whatever its type."""
    node.remove_on_set_parameters_callback(check)
    try:
        any_type = ParameterDescriptor(dynamic_typing=True)
        value = node.declare_parameter(name, None, any_type).value
        node.undeclare_parameter(name)
    finally:
        node.add_on_set_parameters_callback(check)
    return value.tolist() if hasattr(value, 'tolist') else value
