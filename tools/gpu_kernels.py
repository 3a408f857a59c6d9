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

"""The kernels on a real GPU: right, and how close to the memory's bandwidth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tools.gpu_cases import random_frame
from uhr_seg_ros.backends.tensorrt.compiling import compile_kernels
from uhr_seg_ros.backends.tensorrt.cuda import Cuda
from uhr_seg_ros.backends.tensorrt.kernels import DeviceFrame, DeviceMap, Kernels
from uhr_seg_ros.core.classes import CLASS_SETS
from uhr_seg_ros.core.gpu import find_gpu
from uhr_seg_ros.core.raw_frame import FORMATS, RawFrame
from uhr_seg_ros.core.visualization import OverlayOptions, scaled_size

LAUNCHES = 100
_BYTES_AS_THEY_ARE = (1.0, 1.0, 1.0, 0.0, 0.0, 0.0)


class KernelBench:
    """Launches kernels, checks what they write and times them."""

    def __init__(self) -> None:
        capability = find_gpu().capability
        self._cuda = Cuda()
        self._module = self._cuda.load(compile_kernels(capability))
        self._stream = self._cuda.stream()
        self._taken: list[int] = []

    def write_bandwidth(self) -> float:
        """Return how fast memory can be filled, GB/s: what kernels are compared with."""
        size = 1 << 30
        address = self._take(size)
        milliseconds = self._time(lambda: self._cuda.clear(address, size, self._stream))
        self._free()
        return round(size / milliseconds / 1e6, 1)

    def prepare(self, name: str, size: tuple[int, int]) -> dict[str, Any]:
        """Convert a frame; colors have to be OpenCV's, bit for bit."""
        frame = random_frame(name, size)
        kernels = Kernels(self._cuda, self._module, np.dtype(np.float16))
        on_device, pixels = self._put(frame), size[0] * size[1]
        image, low_res = self._take(6 * pixels), self._take(6 * pixels // 16)
        window = (0, 0, *size)
        milliseconds = self._time(
            lambda: kernels.prepare(
                on_device, window, _BYTES_AS_THEY_ARE, image, low_res, self._stream
            )
        )
        found = self._get(image, (3, *size), np.float16)
        expected = frame.bgr[..., ::-1].transpose(2, 0, 1)
        moved = frame.data.size + 6 * pixels * 17 // 16
        self._free()
        return {
            'wrong_values': int((found != expected).sum()),
            **_speed(milliseconds, moved),
        }

    def finish(self, classes: int, size: tuple[int, int]) -> dict[str, Any]:
        """Upsample logits; the mask has to be that of float64 but for ties."""
        kernels = Kernels(self._cuda, self._module, np.dtype(np.float16))
        shape = (1, classes, size[0] // 4, size[1] // 4)
        quarter = np.random.default_rng(0).standard_normal(shape).astype(np.float16)
        source = DeviceMap.over(self._upload(quarter), shape, 2)
        mask = self._take(size[0] * size[1])
        milliseconds = self._time(
            lambda: kernels.finish(source, size, (mask, 1), 0, 0, self._stream)
        )
        found = self._get(mask, size, np.uint8)
        rows = slice(0, 64)
        expected = _upsample(quarter[0, :, :17].astype(np.float64))[:, rows].argmax(0)
        self._free()
        return {
            'same_class': float((found[rows] == expected).mean()),
            **_speed(milliseconds, quarter.nbytes + found.nbytes),
        }

    def paint(self, size: tuple[int, int], scale: float) -> dict[str, Any]:
        """Paint both pictures; they have to be those of the CPU path within one level."""
        classes = CLASS_SETS['cityscapes']
        kernels = Kernels(self._cuda, self._module, np.dtype(np.float16))
        frame = random_frame('bgr8', size)
        mask = np.random.default_rng(1).integers(0, 19, size, np.uint8)
        small = scaled_size(size, scale)
        overlay, color_mask = (self._take(3 * small[0] * small[1]) for _ in range(2))
        palette = self._upload(np.ascontiguousarray(classes.palette_bgr())), len(classes)
        on_device, mask_at = self._put(frame), (self._upload(mask), 1)
        milliseconds = self._time(
            lambda: kernels.paint(
                on_device, mask_at, palette, small, 0.5, overlay, color_mask, self._stream
            )
        )
        expected = OverlayOptions(True, True, 0.5, scale).paint(frame.bgr, mask, classes)
        found = [
            self._get(address, (*small, 3), np.uint8).astype(int)
            for address in (overlay, color_mask)
        ]
        self._free()
        moved = frame.data.size + mask.size + 6 * small[0] * small[1]
        return {
            'largest_difference': int(np.abs(found[0] - expected['overlay']).max()),
            'wrong_colours': int((found[1] != expected['color_mask']).sum()),
            **_speed(milliseconds, moved),
        }

    def close(self) -> None:
        """Free everything."""
        self._cuda.close()

    def _put(self, frame: RawFrame) -> DeviceFrame:
        address, step = self._upload(frame.data), frame.data.shape[1]
        return DeviceFrame(address, step, frame.height, frame.width, FORMATS.index(frame.format))

    def _upload(self, values: np.ndarray) -> int:
        address = self._take(values.nbytes)
        self._cuda.upload(address, values, self._stream)
        self._cuda.synchronize(self._stream)
        return address

    def _get(self, address: int, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        values: np.ndarray = np.empty(shape, dtype)
        self._cuda.download(values, address, self._stream)
        self._cuda.synchronize(self._stream)
        return values

    def _take(self, size: int) -> int:
        self._taken.append(self._cuda.allocate(size))
        return self._taken[-1]

    def _free(self) -> None:
        while self._taken:
            self._cuda.free(self._taken.pop())

    def _time(self, work: Callable[[], None]) -> float:
        """Return the time of one launch among many, ms."""
        for _ in range(5):
            work()
        start, end = self._cuda.event(), self._cuda.event()
        self._cuda.record(start, self._stream)
        for _ in range(LAUNCHES):
            work()
        self._cuda.record(end, self._stream)
        self._cuda.finish(end)
        return self._cuda.elapsed_ms(start, end) / LAUNCHES


def _speed(milliseconds: float, moved: int) -> dict[str, float]:
    return {'ms': round(milliseconds, 4), 'gb_per_s': round(moved / milliseconds / 1e6, 1)}


def _upsample(values: np.ndarray) -> np.ndarray:
    """Enlarge (C, h, w) by four, bilinearly with half-pixel centers."""
    for axis in (1, 2):
        size = values.shape[axis]
        place = (np.arange(4 * size) + 0.5) / 4 - 0.5
        low = np.floor(place).astype(int)
        part = np.expand_dims(place - low, tuple({0, 1, 2} - {axis}))
        before = values.take(np.clip(low, 0, size - 1), axis) * (1 - part)
        values = before + values.take(np.clip(low + 1, 0, size - 1), axis) * part
    return values
