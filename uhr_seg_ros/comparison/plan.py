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

"""What is compared: variants of one training configuration, each with several seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
import re
import reprlib
from typing import Any

import yaml

from uhr_seg_ros.core.atomic_io import write_text
from uhr_seg_ros.core.config_reader import Fields, MAX_WHOLE, read_mapping
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.recipe_keys import with_current_keys
from uhr_seg_ros.core.text import listed, shown

#: Largest side of frames and tiles, px.
MAX_SIDE = 1 << 16

FIELDS = ('base', 'common', 'seeds', 'size', 'variants', 'window')


@dataclass(frozen=True)
class Variant:
    """
    One row of the table.

    Attributes:
        name: What the row is called.
        config: Its training configuration, without a seed.
    """

    name: str
    config: dict[str, Any]

    @property
    def folder(self) -> str:
        """The name, as a folder can have it."""
        return re.sub(r'[^a-z0-9]+', '_', self.name.lower()).strip('_')


@dataclass(frozen=True)
class Plan:
    """
    What is compared.

    Attributes:
        variants: The rows.
        seeds: Each variant is trained once with each.
        size: Height and width of the frames whose time is taken, px.
        window: Side of the tiles into which images are cut before they are measured, px; 0: whole
            images are.
    """

    variants: tuple[Variant, ...]
    seeds: tuple[int, ...]
    size: tuple[int, int]
    window: int = 0


def read_plan(path: Path) -> Plan:
    """
    Read a YAML file.

    ``base`` names a training configuration beside the file, ``common`` is what differs from it
    in all variants, ``variants`` maps names to what differs in each (mappings are merged),
    ``seeds`` is a list, ``size`` is [width, height] of the frames whose time is taken, ``window``
    the side of tiles that are measured instead of whole images.

    Raises:
        ConfigError: The file, a field or the base is missing or wrong.
    """
    content = read_mapping(path, ConfigError, 'see config/compare/ for a plan')
    fields = Fields(path, content, ConfigError)
    if unknown := sorted(map(str, set(content) - set(FIELDS))):
        raise fields.error(f'unknown {listed(unknown)}, known: {", ".join(FIELDS)}')
    base = with_current_keys(
        read_mapping(
            path.parent / fields.get('base', str), ConfigError, 'base is a file of config/train/'
        )
    )
    network = base.get('network')
    if fields.has('common'):
        base = merged(base, with_current_keys(fields.get('common', dict), network))
    variants = tuple(
        Variant(
            str(name), merged(base, with_current_keys(_mapping(fields, name, changes), network))
        )
        for name, changes in fields.get('variants', dict).items()
    )
    folders = [variant.folder for variant in variants]
    if not variants or len(set(folders)) < len(folders) or not all(folders):
        raise fields.error(f'field variants needs names that differ in letters: {shown(folders)}')
    width, height = fields.numbers('size', 2)
    if not all(1 <= side <= MAX_SIDE and side == int(side) for side in (width, height)):
        text = f'field size is {[width, height]}, expected whole numbers of px, 1 to {MAX_SIDE}'
        raise fields.error(text)
    return Plan(variants, _seeds(fields), (int(height), int(width)), _window(fields))


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Change a configuration; where both have a mapping, it is merged, else replaced."""
    result = dict(base)
    for name, value in changes.items():
        old = base.get(name)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and value:
            value = merged(old, value)
        result[name] = value
    return result


def write_config(variant: Variant, seed: int, path: Path) -> None:
    """Write the training configuration of one run."""
    text = yaml.safe_dump(variant.config | {'seed': seed}, sort_keys=False)
    write_text(path, text)


def check_config(variant: Variant, seed: int, path: Path) -> None:
    """
    Check that a finished run was trained by the configuration that the plan has now.

    Args:
        variant: Of the plan.
        seed: Of the run.
        path: What ``write_config`` wrote before the run; a run without it is taken as it is.

    Raises:
        ConfigError: Fields differ; names them with both values.
    """
    if not path.is_file():
        return
    trained = read_mapping(path, ConfigError, 'remove its folder to train it again')
    trained = with_current_keys(trained)
    planned = variant.config | {'seed': seed}
    differ = [
        f'{name} was {reprlib.repr(trained.get(name))} and is {reprlib.repr(planned.get(name))}'
        for name in trained | planned
        if trained.get(name) != planned.get(name)
    ]
    if differ:
        msg = (
            f'{path.parent} was trained by another plan: {"; ".join(differ)}; choose another '
            '--output, or remove the folder to train it again'
        )
        raise ConfigError(msg)


def _mapping(fields: Fields, name: object, changes: object) -> Mapping[str, Any]:
    if changes is None:
        return {}
    if not isinstance(changes, Mapping):
        raise fields.error(f'field variants.{name} is {shown(changes)}, expected a mapping')
    return changes


def _seeds(fields: Fields) -> tuple[int, ...]:
    seeds = fields.get('seeds', list)
    right = all(
        isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed <= MAX_WHOLE
        for seed in seeds
    )
    if not seeds or not right or len(set(seeds)) < len(seeds):
        expected = 'different whole numbers from 0 on'
        raise fields.error(f'field seeds is {shown(seeds)}, expected {expected}')
    return tuple(seeds)


def _window(fields: Fields) -> int:
    window = fields.get('window', int) if fields.has('window') else 0
    if not 0 <= window <= MAX_SIDE:
        raise fields.error(f'field window is {shown(window)}, expected px, or 0 for whole images')
    return window
