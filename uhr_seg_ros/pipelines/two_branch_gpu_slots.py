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

"""What a frame in work occupies of a GPU: its memory and the events of its steps."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import numpy as np

from uhr_seg_ros.backends.tensorrt.cuda import Cuda

#: More than the frame and all results; the ones used last stay.
MAX_BUFFERS = 12


class Buffer(NamedTuple):
    """
    A frame or a result in device memory, and the host memory that it is copied from or to.

    Where `is_shared`, both are the same memory, and nothing is copied.
    """

    address: int
    host: np.ndarray
    is_shared: bool


class Slot:
    """
    What one frame in work occupies.

    Args:
        cuda: the context.

    """

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._buffers: OrderedDict[tuple, Buffer] = OrderedDict()
        self.busy = False
        self.uploaded, self.started = cuda.event(), cuda.event()
        self.computed, self.done = cuda.event(), cuda.event()

    def buffer(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> Buffer:
        """
        Return the memory of a result or of the frame itself, the same for as long as it is used.

        A scale of the pictures that changes again and again leaves no more than `MAX_BUFFERS`.
        """
        key = name, shape, np.dtype(dtype)
        if key not in self._buffers:
            while len(self._buffers) >= MAX_BUFFERS:
                self._free(self._buffers.popitem(last=False)[1])
            size = int(np.prod(shape)) * key[2].itemsize
            # Logits are too large to be locked in memory.
            is_locked = name != 'logits'
            is_shared = self._cuda.is_integrated and is_locked
            host = self._cuda.pinned(size) if is_locked else np.empty(size, np.uint8)
            address = self._cuda.mapped(host) if is_shared else self._cuda.allocate(size)
            self._buffers[key] = Buffer(address, host.view(key[2]).reshape(shape), is_shared)
        self._buffers.move_to_end(key)
        return self._buffers[key]

    def close(self) -> None:
        """Free the memory."""
        while self._buffers:
            self._free(self._buffers.popitem()[1])

    def _free(self, buffer: Buffer) -> None:
        # Host memory goes by itself when nothing refers to it.
        if not buffer.is_shared:
            self._cuda.free(buffer.address)
