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
Arrays in files that are mapped into memory, with room on the disk from the beginning.

A mapped file has holes until it is written to, and a page that finds the disk full then ends the
process (SIGBUS) without a word.
"""

from __future__ import annotations

from collections.abc import Sequence
import errno
import math
import os
from pathlib import Path

import numpy as np

from uhr_seg_ros.core.errors import WriteError

#: What file systems say that have no room, or no more for this user.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
#: What file systems say that cannot promise room.
_NO_PROMISE = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


def new_mapped(path: Path, dtype: np.dtype | type, shape: Sequence[int]) -> np.memmap:
    """
    Make a file of numpy (`.npy`) and map it, to be written.

    Raises:
        WriteError: the disk has no room for all of it; no file is left, so others find the disk
            as it was.
        OSError: it cannot be made.

    """
    try:
        array = np.lib.format.open_memmap(path, 'w+', dtype, tuple(shape))
        with path.open('r+b') as file:
            reserve(file.fileno())
    except OSError as err:
        path.unlink(missing_ok=True)
        if err.errno in _NO_ROOM:
            needed = math.prod(shape) * np.dtype(dtype).itemsize
            msg = f'{path.parent} has no room for a file of {-(-needed >> 20)} MiB'
            raise WriteError(msg) from err
        raise OSError(err.errno, err.strerror, str(path)) from err
    return array


def reserve(file: int) -> None:
    """
    Take the room that a file of this length needs.

    Args:
        file: its descriptor.

    Raises:
        OSError: the disk has no room.

    """
    try:
        os.posix_fallocate(file, 0, max(os.fstat(file).st_size, 1))
    except OSError as err:
        if err.errno not in _NO_PROMISE:
            raise
