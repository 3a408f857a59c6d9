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

"""Which classes are free ground, and which are not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from uhr_seg_ros.core.class_edits import require_class
from uhr_seg_ros.core.classes import ClassSet, mask_dtype
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.text import listed
from uhr_seg_ros.geometry.ground_plane import FREE, OCCUPIED, UNKNOWN


def ground_values(classes: ClassSet, free: Sequence[str], occupied: Sequence[str]) -> np.ndarray:
    """
    Return what every id of a mask means on the ground.

    Args:
        classes: of the bundle.
        free: names of classes.
        occupied: names of classes; what is in neither is unknown.

    Returns:
        int8, `FREE`, `OCCUPIED` or `UNKNOWN` for every id that the mask's type can hold.

    Raises:
        ConfigError: a name that the bundle does not have, or that is in both, or none at all.

    """
    kinds = {'free': tuple(filter(None, free)), 'occupied': tuple(filter(None, occupied))}
    ids = classes.ids
    names = listed(ids)
    if not any(kinds.values()):
        msg = f'ground_grid.free_classes and occupied_classes are empty: the bundle has {names}'
        raise ConfigError(msg)
    values = np.full(np.iinfo(mask_dtype(len(classes))).max + 1, UNKNOWN, np.int8)
    for kind, value in (('free', FREE), ('occupied', OCCUPIED)):
        for name in kinds[kind]:
            require_class(f'ground_grid.{kind}_classes', name, ids)
            values[ids[name]] = value
    if both := set(kinds['free']) & set(kinds['occupied']):
        msg = f'ground_grid.free_classes and occupied_classes both have {listed(sorted(both))}'
        raise ConfigError(msg)
    return values
