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
from dataclasses import dataclass, field, replace
from pathlib import Path
import re
from typing import Any

from uhr_seg_ros.core.config_reader import Fields, is_number, MAX_WHOLE, read_mapping
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.recipe_keys import with_current_keys
from uhr_seg_ros.core.text import listed, shown
from uhr_seg_ros.data.dataset import OFF_GROUND, ON_GROUND, ONE_IMAGE

#: Largest side of frames and tiles, px.
MAX_SIDE = 1 << 16

FIELDS = (
    'also',
    'base',
    'common',
    'grounds',
    'seeds',
    'size',
    'sizes',
    'variants',
    'window',
)
#: Field of a variant whose bundles are made by something else.
ELSEWHERE = 'elsewhere'

#: Height and width, px.
Size = tuple[int, int]


@dataclass(frozen=True)
class Variant:
    """
    One row of the table.

    Attributes:
        name: What the row is called.
        config: Its training configuration, without a seed.
        elsewhere: Not trained here: whoever trains it lays the bundle of each run into the folder
            of the run, and what has none is missing in the table.
    """

    name: str
    config: dict[str, Any]
    elsewhere: bool = False

    @property
    def folder(self) -> str:
        """The name, as a folder can have it."""
        return re.sub(r'[^a-z0-9]+', '_', self.name.lower()).strip('_')

    @property
    def start(self) -> str:
        """What its weights start from: the files that its recipe names, and nothing else."""
        if self.elsewhere:
            return 'trained elsewhere'
        files = self.config.get('pretrained') or {}
        return ', '.join(f'{part}: {Path(path).name}' for part, path in files.items()) or 'random'


@dataclass(frozen=True)
class Plan:
    """
    What is compared.

    Attributes:
        variants: The rows; the first one is what the others are compared with.
        seeds: Each variant is trained once with each.
        sizes: Height and width of the frames whose time is taken, px, at least one.
        window: Side of the tiles into which images are cut before they are measured, px; 0: whole
            images are.
        grounds: Each is left out in turn, ground -> what is measured in its place, as
            `Dataset.open_images` takes it; empty: the data set's splits are used.
        also: Another data set -> the split of it that every network is measured on too.
        timed: Whether the time of a frame is taken.
    """

    variants: tuple[Variant, ...]
    seeds: tuple[int, ...]
    sizes: tuple[Size, ...]
    window: int = 0
    grounds: dict[str, str] = field(default_factory=dict)
    also: dict[str, str] = field(default_factory=dict)
    timed: bool = True

    @property
    def size(self) -> Size:
        """The last of the sizes: what is drawn."""
        return self.sizes[-1]

    @property
    def dataset(self) -> str:
        """Name of the data set of all variants; of the first, where they differ."""
        return self.variants[0].config['data']['dataset']

    @property
    def further_datasets(self) -> set[str]:
        """Names of the other data sets that are measured, or that a variant is trained on."""
        trained = (variant.config.get('data', {}).get('also') or () for variant in self.variants)
        return {*self.also, *(name for names in trained for name in names)}


def read_plan(path: Path) -> Plan:
    """
    Read a YAML file.

    ``base`` names a training configuration beside the file, ``common`` is what differs from it
    in all variants, ``variants`` maps names to what differs in each (mappings are merged),
    ``seeds`` is a list, ``size`` is [width, height] of the frames whose time is taken, ``sizes`` a
    list of such, ``window`` the side of tiles that are measured instead of whole images.
    ``grounds`` maps a ground that is left out to the one image of it that is measured, or to
    nothing for all of them; time is taken then with ``sizes`` only. ``also`` maps another data set
    to the split of it that is measured, too. A variant with ``elsewhere: true`` is not trained.

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
    if fields.has('common'):
        common = with_current_keys(fields.get('common', dict), base.get('network'))
        base = merged(base, common)
    variants = tuple(
        _variant(fields, base, name, changes)
        for name, changes in fields.get('variants', dict).items()
    )
    folders = [variant.folder for variant in variants]
    if not variants or len(set(folders)) < len(folders) or not all(folders):
        raise fields.error(f'field variants needs names that differ in letters: {shown(folders)}')
    grounds = _grounds(fields)
    return Plan(
        variants,
        _seeds(fields),
        _sizes(fields),
        _window(fields),
        grounds,
        _also(fields),
        timed=not grounds or fields.has('sizes'),
    )


def without_ground(variant: Variant, ground: str, measured: str) -> Variant:
    """Leave a ground out of a variant's training, and validate on what is measured of it."""
    data = {'train': f'{OFF_GROUND}{ground}', 'validation': measured, 'hold_out': None}
    return replace(variant, config=merged(variant.config, {'data': data}))


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Change a configuration; where both have a mapping, it is merged, else replaced."""
    result = dict(base)
    for name, value in changes.items():
        old = base.get(name)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and value:
            value = merged(old, value)
        result[name] = value
    return result


def _mapping(fields: Fields, name: object, changes: object) -> Mapping[str, Any]:
    if changes is None:
        return {}
    if not isinstance(changes, Mapping):
        raise fields.error(f'field variants.{name} is {shown(changes)}, expected a mapping')
    return changes


def _variant(fields: Fields, base: Mapping[str, Any], name: object, changes: object) -> Variant:
    given = dict(_mapping(fields, name, changes))
    elsewhere = given.pop(ELSEWHERE, False)
    if not isinstance(elsewhere, bool) or (elsewhere and given):
        text = f'field variants.{name} has {ELSEWHERE}: {shown(elsewhere)}, expected true alone'
        raise fields.error(text)
    config = merged(base, with_current_keys(given, base.get('network')))
    return Variant(str(name), config, elsewhere)


def _sizes(fields: Fields) -> tuple[Size, ...]:
    """Read ``size`` or ``sizes``, which are [width, height], as height and width."""
    if fields.has('size') and fields.has('sizes'):
        raise fields.error('fields size and sizes are there: one of them is enough')
    key = 'sizes' if fields.has('sizes') else 'size'
    given = fields.get('sizes', list) if key == 'sizes' else [list(fields.numbers('size', 2))]
    right = given and all(
        isinstance(size, list)
        and len(size) == 2
        and all(is_number(side) and 1 <= side <= MAX_SIDE and side == int(side) for side in size)
        for size in given
    )
    if not right:
        found = shown(given if key == 'sizes' else given[0])
        pairs = 'pairs of ' if key == 'sizes' else ''
        raise fields.error(
            f'field {key} is {found}, expected {pairs}whole numbers of px, 1 to {MAX_SIDE}'
        )
    return tuple((int(height), int(width)) for width, height in given)


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


def _grounds(fields: Fields) -> dict[str, str]:
    chosen = _texts(fields, 'grounds', optional=True)
    if len(chosen) == 1:
        raise fields.error(f'field grounds is {shown(chosen)}, expected at least two')
    return {
        ground: f'{ONE_IMAGE}{image}' if image else f'{ON_GROUND}{ground}'
        for ground, image in chosen.items()
    }


def _also(fields: Fields) -> dict[str, str]:
    also = _texts(fields, 'also')
    if also and not fields.has('grounds'):
        raise fields.error('field also is for plans with grounds')
    return {name: str(split) for name, split in also.items()}


def _texts(fields: Fields, key: str, *, optional: bool = False) -> dict[str, str | None]:
    """Read a mapping of texts to texts, or to nothing where that is allowed; empty without it."""
    found = fields.get(key, dict) if fields.has(key) else {}
    for name, value in found.items():
        right = isinstance(value, str) or (optional and value is None)
        if not isinstance(name, str) or not right:
            raise fields.error(f'field {key} has {shown(name)}: {shown(value)}, expected texts')
    return found
