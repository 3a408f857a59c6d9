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

"""Memory of a GPU that is freed together."""

from __future__ import annotations

import numpy as np

from uhr_seg_ros.backends.tensorrt.cuda import Cuda, Stream


class DeviceMemory:
    """
    Blocks of device memory, for as long as this lives.

    Args:
        cuda: the context.
        stream: on which arrays are uploaded.

    """

    def __init__(self, cuda: Cuda, stream: Stream) -> None:
        self._cuda, self._stream = cuda, stream
        self._addresses: list[int] = []

    def take(self, size: int) -> int:
        """Allocate bytes; returns the address."""
        address = self._cuda.allocate(size)
        self._addresses.append(address)
        return address

    def upload(self, values: np.ndarray) -> int:
        """Copy an array of any shape there, row by row; returns the address."""
        values = np.ascontiguousarray(values)
        address = self.take(values.nbytes)
        self._cuda.upload(address, values, self._stream)
        # The array may go as soon as this returns.
        self._cuda.synchronize(self._stream)
        return address

    def close(self) -> None:
        """Free it; calling it again does nothing."""
        for address in self._addresses:
            self._cuda.free(address)
        self._addresses.clear()
