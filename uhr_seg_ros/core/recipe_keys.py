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

"""Keys of training recipes that have another name now; they are read under both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from uhr_seg_ros.core.errors import ConfigError

#: Former name of a field of a recipe -> its name.
RENAMED_FIELDS = {
    'accumulate': 'grad_accumulation_steps',
    'average': 'ema_decay',
    'starts': 'pretrained',
}
#: The same of the fields of its section ``data``.
RENAMED_DATA = {'ignore_doubtful': 'ignore_noisy_labels', 'recolour': 'recolor'}
#: The same of options of the networks of this package; a user's network has its own.
RENAMED_OPTIONS = {'bent': 'warped_size', 'framed': 'ignore_image_border'}
#: Fields that checkpoints of earlier versions do not tell of -> what their recipes meant.
LATER_FACTS: dict[str, Any] = {
    'milestones': [],
    'focal_gamma': 3.0,
    'mean_over': 'all',
    'low_res_saliency_steps': 0,
    'data.also': {},
    'data.bands': None,
    'data.stretch': None,
    'data.ignore_blocks': {},
    'data.recolor_from': 'any',
    'data.scenery': 'desert',
}


def with_current_keys(recipe: Mapping[str, Any], network: object = None) -> dict[str, Any]:
    """
    Return a recipe, or a part of one, with the keys that it would be written with now.

    Args:
        recipe: What was read.
        network: Of the recipe that this is a part of, where the part does not name it.

    Raises:
        ConfigError: A value is there under both names; names them.
    """
    found = rename_keys(recipe, RENAMED_FIELDS)
    sections = {'data': RENAMED_DATA}
    if ':' not in str(found.get('network', network)):
        sections['options'] = RENAMED_OPTIONS
    for section, names in sections.items():
        if isinstance(inner := found.get(section), dict):
            found[section] = rename_keys(inner, names)
    return found


def with_current_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a checkpoint says of its recipe, ``data.FIELD`` for data, all current keys."""
    of_data = {f'data.{former}': f'data.{name}' for former, name in RENAMED_DATA.items()}
    return LATER_FACTS | with_current_keys(rename_keys(facts, of_data))


def rename_keys(content: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """
    Rename keys of a mapping, in their place.

    Args:
        content: The mapping.
        names: Former name -> name.

    Raises:
        ConfigError: A key is there under both names.
    """
    for former, name in names.items():
        if former in content and name in content:
            msg = f'fields {former} and {name} are the same, under its former and its present name'
            raise ConfigError(f'{msg}: leave {former} out')
    return {names.get(key, key): value for key, value in content.items()}
