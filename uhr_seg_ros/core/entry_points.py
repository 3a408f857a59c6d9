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

"""A user's own functions, named in a configuration as ``module:attribute``."""

from __future__ import annotations

from collections.abc import Callable
import importlib
from typing import Any, TypeVar

from uhr_seg_ros.core.errors import UhrSegError
from uhr_seg_ros.core.text import one_line, shown

T = TypeVar('T')


def is_entry_point(name: object) -> bool:
    """Tell if a name means a function of a module, and not something that is built in."""
    return isinstance(name, str) and ':' in name


def load_entry_point(name: str, field: str, error_class: type[UhrSegError]) -> Callable[..., Any]:
    """
    Import a function or a class that a user names.

    The module is found as Python finds others: installed, or in a folder of PYTHONPATH. The
    current folder is not searched, since it may be one of downloaded recordings.

    Example:
        >>> build = load_entry_point('my.module:build', 'network', ConfigError)

    Args:
        name: ``module:attribute``, both may be dotted.
        field: Where it was named, for the texts of errors, such as "network".
        error_class: What is raised.

    Raises:
        UhrSegError: Of `error_class`: the name has another form, there is no such module or
            attribute, the module fails as it is imported, or the attribute cannot be called.
    """
    module_name, _, attribute = name.partition(':')
    if not all(part.isidentifier() for part in f'{module_name}.{attribute}'.split('.')):
        msg = f'{field} is {shown(name)}, expected module:attribute, such as my_package.mine:open'
        raise error_class(msg)
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as err:  # whatever the user's module does
        if isinstance(err, ModuleNotFoundError) and _is_within(module_name, err.name):
            msg = (
                f'{field} is {shown(name)}, but there is no module {err.name}: install the '
                'package that has it, or add its folder to PYTHONPATH'
            )
            raise error_class(msg) from err
        reason = one_line(f'{type(err).__name__}: {err}', 300)
        msg = f'{field} is {shown(name)}, but {module_name} cannot be imported ({reason})'
        raise error_class(msg) from err
    for part in attribute.split('.'):
        if not hasattr(found, part):
            msg = f'{field} is {shown(name)}, but {module_name} has no {attribute}'
            raise error_class(msg)
        found = getattr(found, part)
    if not callable(found):
        msg = f'{field} is {shown(name)}, which is {shown(found)}, expected a function or a class'
        raise error_class(msg)
    return found


def check_result(
    result: object, kind: type[T], name: str, field: str, error_class: type[UhrSegError]
) -> T:
    """
    Check what a user's function has returned.

    Args:
        result: What it returned.
        kind: What it has to be.
        name: As in `load_entry_point`, for the text of the error.
        field: As there.
        error_class: As there.

    Returns:
        The result, as it is.

    Raises:
        UhrSegError: Of `error_class`: the result is something else.
    """
    if not isinstance(result, kind):
        expected = f'{kind.__module__}.{kind.__qualname__}'
        msg = f'{field} is {shown(name)}, which returned {shown(result)}, expected {expected}'
        raise error_class(msg)
    return result


def _is_within(module: str, missing: str | None) -> bool:
    """Tell if it is the module itself or a package around it that is missing."""
    return missing is not None and f'{module}.'.startswith(f'{missing}.')
