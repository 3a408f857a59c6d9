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

"""Frames and outputs for the checks of the kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest

from uhr_seg_ros.core.raw_frame import FORMATS, memory_shape, RawFrame

#: Type of the tensors between kernels and engines -> end of the names of its kernels.
SUFFIXES = {np.float32: 'f32', np.float16: 'f16'}
both_types = pytest.mark.parametrize('dtype', SUFFIXES)

#: Bytes around an output that no kernel may touch.
GUARD = 256

Output = Callable[[Sequence[int], type], np.ndarray]


def guarded_outputs() -> Iterator[Output]:
    """Yield what makes arrays full of NaN (255 as bytes); look if they were written around."""
    made = []

    def make(shape: Sequence[int], dtype: type) -> np.ndarray:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        made.append(np.full(size + 2 * GUARD, 255, np.uint8))
        return made[-1][GUARD : GUARD + size].view(dtype).reshape(shape)

    yield make
    for buffer in made:
        assert (buffer[:GUARD] == 255).all()
        assert (buffer[-GUARD:] == 255).all()


def random_frame(pixel_format: str, size: tuple[int, int], padding: int = 0) -> RawFrame:
    """Make a frame of noise whose rows lie `padding` bytes apart."""
    rows, row_bytes = memory_shape(pixel_format, *size)
    rng = np.random.default_rng(sum(size))
    noise = rng.integers(0, 256, (rows, row_bytes + padding), np.uint8)
    return RawFrame(noise[:, :row_bytes], pixel_format, *size)


def frame_arguments(frame: RawFrame) -> list:
    """Return what kernels take for a frame."""
    size = frame.height, frame.width
    return [frame.data, frame.data.strides[0], *size, FORMATS.index(frame.format)]
