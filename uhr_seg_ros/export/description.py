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
What a checkpoint means: its network, the options of it, and the classes.

Training writes this beside the weights, in plain values; whatever reads a checkpoint takes it from
there. Shapes of tensors cannot tell it: the same ones fit other classes and other options. For a
checkpoint that does not say it, the command line does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
import reprlib
from typing import Any

from uhr_seg_ros.core.classes import ClassSet, read_classes
from uhr_seg_ros.core.config_reader import Fields
from uhr_seg_ros.core.domain import Domain, read_domain
from uhr_seg_ros.core.entry_points import is_entry_point
from uhr_seg_ros.core.errors import CheckpointError, ConfigError
from uhr_seg_ros.networks.presets import options_of

#: Key of a checkpoint under which its description is; no other program writes one of that name.
KEY = 'uhr_seg_ros'
FORMAT = 1


@dataclass(frozen=True)
class Description:
    """
    What the weights beside it are for.

    Attributes:
        network: As of ``find_preset``.
        options: All arguments of its construction, also those that nobody gave.
        classes: Names and colors in the order of the outputs.
        domain: What they are for; empty where nobody says it.
    """

    network: str
    options: dict[str, Any]
    classes: ClassSet
    domain: Domain = Domain()  # noqa: RUF009 - it cannot change

    def means(self, other: Description) -> bool:
        """Tell if another description is of the same, perhaps with other colors or domain."""
        mine, theirs = ((one.network, one.options, one.classes.names) for one in (self, other))
        return mine == theirs

    def plain(self) -> dict[str, Any]:
        """Return plain values, which ``weights_only`` loads."""
        entries = zip(self.classes.names, self.classes.colors, strict=True)
        domain = self.domain.plain()
        return {
            'format': FORMAT,
            'network': self.network,
            'options': self.options,
            'classes': [{'name': name, 'color': list(color)} for name, color in entries],
            **({'domain': domain} if domain else {}),
        }


def read_description(content: Any, path: str | Path) -> Description | None:
    """
    Read the description in a checkpoint.

    Args:
        content: What ``load_plain`` gave.
        path: Its file, for texts.

    Returns:
        None where there is none: the checkpoint was not written by training, or before it wrote
        descriptions.

    Raises:
        CheckpointError: It is of a newer version, incomplete, or names what is unknown here.
    """
    if not isinstance(content, Mapping) or KEY not in content:
        return None
    inner = content[KEY]
    if not isinstance(inner, dict):
        msg = f'{path}: its entry {KEY} is {type(inner).__name__}, not a mapping: it was changed'
        raise CheckpointError(msg)
    fields = Fields(Path(path), inner, CheckpointError)
    version = fields.get('format', int)
    if version != FORMAT:
        raise fields.error(
            f'its entry {KEY} has format {reprlib.repr(version)}, this version reads {FORMAT}: '
            'use the version that wrote it, or a newer one'
        )
    network, given = fields.get('network', str), fields.get('options', dict)
    try:
        # The function of a user is not imported because a file names it.
        options = dict(given) if is_entry_point(network) else options_of(network, given)
    except ConfigError as err:
        raise fields.error(f'{err}; it was written by another version') from err
    return Description(network, options, read_classes(fields), read_domain(fields))


def other_options(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Name the options that both have with different values; both as ``options_of`` gives them."""
    return [name for name in one if name in other and one[name] != other[name]]


def other_classes(one: ClassSet, other: ClassSet) -> tuple[str, str] | None:
    """
    Compare the meaning of the outputs of two networks; colors are none.

    Returns:
        Both in words, where they differ; None where all names are the same.
    """
    if one.names == other.names:
        return None
    if len(one) != len(other):
        return _listed(one), _listed(other)
    names = zip(one.names, other.names, strict=True)
    number, pair = next((i, pair) for i, pair in enumerate(names) if pair[0] != pair[1])
    first, second = (f'class {number} {reprlib.repr(name)}' for name in pair)
    return first, second


def _listed(classes: ClassSet) -> str:
    return f'{len(classes)} classes ({reprlib.repr(", ".join(classes.names))[1:-1]})'


@dataclass(frozen=True)
class ConversionRequest:
    """
    What the command line says; None and empty: nothing.

    Attributes:
        network: As of ``find_preset``.
        options: Of the network.
        classes: Names and colors.
        classes_from: Where they are from, in words.
        domain: What the model is for.
    """

    network: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    classes: ClassSet | None = None
    classes_from: str = '--classes'
    domain: Domain = Domain()  # noqa: RUF009 - it cannot change
