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

"""A disk that is full is an error where a file is made, not the end of the process later."""

from __future__ import annotations

import numpy as np
import pytest
from small_disk import SmallDisk

from uhr_seg_ros.core.errors import WriteError
from uhr_seg_ros.core.mapped_files import new_mapped


def test_a_disk_without_room(small_disk: SmallDisk) -> None:
    path = small_disk.path / 'rows.npy'
    with pytest.raises(WriteError, match='disk has no room for a file of 2 MiB'):
        new_mapped(path, np.uint8, (1100, 1000))
    assert not list(small_disk.path.iterdir())
    array = new_mapped(path, np.uint16, (100, 300))
    small_disk.fill()
    array[:] = 7
    array.flush()
    assert (np.load(path) == 7).all()
