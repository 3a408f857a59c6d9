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

from functools import partial
import math

import numpy as np

from tools.gpu_bench import Bench, speed
from tools.gpu_cases import random_frame, Result, Scale
from tools.gpu_machine import Machine
from uhr_seg_ros.backends.tensorrt.kernels import DeviceFrame, DeviceMap, Kernels
from uhr_seg_ros.core.classes import CLASS_SETS
from uhr_seg_ros.core.raw_frame import FORMATS, RawFrame
from uhr_seg_ros.core.visualization import OverlayOptions, scaled_size

_CLASSES = CLASS_SETS['cityscapes']

#: Channels of `local` of the shipped bundle.
_LOCAL_CHANNELS = 32

_BYTES_AS_THEY_ARE = (1.0, 1.0, 1.0, 0.0, 0.0, 0.0)


class KernelBench(Bench):
    """
    Launches kernels, checks what they write and times them.

    Args:
        machine: the GPU.
        cubin: the kernels.
        scale: how much is measured.

    """

    def __init__(self, machine: Machine, cubin: bytes, scale: Scale) -> None:
        super().__init__(machine, scale)
        self._kernels = Kernels(self._cuda, self._cuda.load(cubin), np.dtype(np.float16))

    def prepare(self, name: str) -> Result:
        """Convert a frame; colors have to be OpenCV's, bit for bit."""
        return {'wrong_values': self._converted(name), **self._speed_of_prepare(name)}

    def finish(self, classes: int) -> Result:
        """Upsample logits; the mask has to be that of float64 but for ties."""
        return {'same_class': self._finished(classes), **self._speed_of_finish(classes)}

    def paint(self, scale: float) -> Result:
        """Paint both pictures; they have to be those of the CPU path within one level."""
        return {**self._pictured(scale), **self._speed_of_paint(scale)}

    def accumulate(self) -> Result:
        """Add a weighted tile twice; sums have to be those of float32 within half's rounding."""
        rng, (channels, rows, columns) = np.random.default_rng(2), (32, 45, 75)
        tile = rng.standard_normal((1, channels, rows, columns)).astype(np.float16)
        weights = [rng.random(side).astype(np.float32) for side in (rows, columns)]
        with self._memory():
            total = self._take(tile.nbytes)
            self._cuda.clear(total, tile.nbytes, self._stream)
            source = DeviceMap.over(self._upload(tile), tile.shape, 2)
            target = DeviceMap.over(total, tile.shape, 2)
            at = self._upload(weights[0]), self._upload(weights[1])
            for _ in range(2):
                self._kernels.accumulate(source, target, (0, 0), at, self._stream)
            found = self._get(total, tile.shape, np.float16).astype(np.float32)
        expected = 2 * tile.astype(np.float32) * weights[0][:, None] * weights[1]
        return {'largest_difference': float(np.abs(found - expected).max())}

    def check(self) -> Result:
        """Look for what is not finite; the flag has to be up for any such value, else down."""
        return {'wrong_flags': self._wrong_flags(), **self._speed_of_check()}

    def all_once(self) -> Result:
        """Run every kernel on small frames, and compare with the CPU."""
        found: Result = {name: self._converted(name) for name in FORMATS}
        found |= {'finish': self._finished(5), **self._pictured(0.5), **self.accumulate()}
        return found | {'wrong_flags': self._wrong_flags()}

    def _converted(self, name: str) -> int:
        """Count the values of a converted frame that are not OpenCV's."""
        size = self._scale.check_size
        with self._memory():
            frame, (image, low_res) = random_frame(name, size), self._inputs(size)
            self._launch_prepare(self._put(frame), size, image, low_res)
            found = self._get(image, (3, *size), np.float16)
        return int((found != frame.bgr[..., ::-1].transpose(2, 0, 1)).sum())

    def _finished(self, classes: int) -> float:
        """Return the share of pixels of a mask that have the class of float64."""
        size = self._scale.check_size
        with self._memory():
            quarter, mask = _logits(classes, size), self._take(size[0] * size[1])
            self._finish(self._upload(quarter), quarter.shape, size, mask)
            found = self._get(mask, size, np.uint8)
        expected = upsampled(quarter[0].astype(np.float64)).argmax(0)
        return float((found == expected).mean())

    def _wrong_flags(self) -> int:
        """Count the maps, one right and others wrong in one value, whose flags are wrong."""
        # The last values are no full vector of the kernel.
        values = np.zeros(
            _LOCAL_CHANNELS * math.prod(self._scale.check_size) // 16 + 3, np.float16
        )
        values[::3], values[1::3] = np.finfo(np.float16).max, np.finfo(np.float16).tiny
        faults = [None, (0, np.nan), (len(values) // 2, -np.inf), (len(values) - 1, np.inf)]
        wrong = 0
        for fault in faults:
            spoiled = values.copy()
            if fault is not None:
                spoiled[fault[0]] = fault[1]
            with self._memory():
                flag = self._take(4)
                self._cuda.clear(flag, 4, self._stream)
                address = self._upload(spoiled)
                self._kernels.check(address, len(spoiled), flag, self._stream)
                wrong += int(self._get(flag, (1,), np.uint32)[0] != (fault is not None))
        return wrong

    def _pictured(self, scale: float) -> Result:
        """Compare both pictures with those of the CPU path."""
        size = self._scale.check_size
        frame, mask = random_frame('bgr8', size), _random_mask(size)
        expected = OverlayOptions(True, True, 0.5, scale).paint(frame.bgr, mask, _CLASSES)
        small = scaled_size(size, scale)
        with self._memory():
            pictures = self._take(3 * small[0] * small[1]), self._take(3 * small[0] * small[1])
            self._paint(self._put(frame), self._upload(mask), self._palette(), small, pictures)
            found = [self._get(each, (*small, 3), np.uint8).astype(int) for each in pictures]
        return {
            'largest_difference': int(np.abs(found[0] - expected['overlay']).max()),
            'wrong_colors': int((found[1] != expected['color_mask']).sum()),
        }

    def _speed_of_prepare(self, name: str) -> Result:
        size = self._scale.sizes['4K']
        frame = random_frame(name, size)
        moved = frame.data.size + 6 * size[0] * size[1] * 17 // 16
        with self._memory():
            works = []
            for _ in range(self._sets(moved)):
                source, targets = self._put(frame), self._inputs(size)
                works.append(partial(self._launch_prepare, source, size, *targets))
            return speed(self._per_launch(works), moved)

    def _speed_of_finish(self, classes: int) -> Result:
        size = self._scale.sizes['4K']
        quarter = _logits(classes, size)
        moved = quarter.nbytes + size[0] * size[1]
        with self._memory():
            works = []
            for _ in range(self._sets(moved)):
                source, mask = self._upload(quarter), self._take(size[0] * size[1])
                works.append(partial(self._finish, source, quarter.shape, size, mask))
            return speed(self._per_launch(works), moved)

    def _speed_of_paint(self, scale: float) -> Result:
        size = self._scale.sizes['4K']
        frame, mask = random_frame('bgr8', size), _random_mask(size)
        small = scaled_size(size, scale)
        pixels = small[0] * small[1]
        # Smaller pictures skip pixels of the frame: 3 + 1 bytes are read for 6 that are written.
        moved = 10 * pixels
        with self._memory():
            works, palette = [], self._palette()
            for _ in range(self._sets(moved)):
                pictures = self._take(3 * pixels), self._take(3 * pixels)
                source, classes = self._put(frame), self._upload(mask)
                works.append(partial(self._paint, source, classes, palette, small, pictures))
            return speed(self._per_launch(works), moved)

    def _speed_of_check(self) -> Result:
        """Time it on the largest map that it looks through, `local`."""
        height, width = self._scale.sizes['4K']
        values = _logits(_LOCAL_CHANNELS, (height, width))
        with self._memory():
            works, flag = [], self._take(4)
            for _ in range(self._sets(values.nbytes)):
                source = self._upload(values)
                works.append(partial(self._kernels.check, source, values.size, flag, self._stream))
            return speed(self._per_launch(works), values.nbytes)

    def _inputs(self, size: tuple[int, int]) -> tuple[int, int]:
        pixels = size[0] * size[1]
        return self._take(6 * pixels), self._take(6 * pixels // 16)

    def _launch_prepare(
        self, frame: DeviceFrame, size: tuple[int, int], image: int, low_res: int
    ) -> None:
        window = (0, 0, *size)
        self._kernels.prepare(frame, window, _BYTES_AS_THEY_ARE, image, low_res, self._stream)

    def _finish(
        self, source: int, shape: tuple[int, ...], size: tuple[int, int], mask: int
    ) -> None:
        quarter = DeviceMap.over(source, shape, 2)
        self._kernels.finish(quarter, size, (mask, 1), 0, 0, self._stream)

    def _paint(
        self,
        frame: DeviceFrame,
        mask: int,
        palette: int,
        size: tuple[int, int],
        pictures: tuple[int, int],
    ) -> None:
        colors = palette, len(_CLASSES)
        self._kernels.paint(frame, (mask, 1), colors, size, 0.5, *pictures, self._stream)

    def _palette(self) -> int:
        return self._upload(np.ascontiguousarray(_CLASSES.palette_bgr()))

    def _put(self, frame: RawFrame) -> DeviceFrame:
        address, step = self._upload(frame.data), frame.data.shape[1]
        return DeviceFrame(address, step, frame.height, frame.width, FORMATS.index(frame.format))


def upsampled(values: np.ndarray) -> np.ndarray:
    """Enlarge (C, h, w) by four, bilinearly with half-pixel centers."""
    for axis in (1, 2):
        size = values.shape[axis]
        place = (np.arange(4 * size) + 0.5) / 4 - 0.5
        low = np.floor(place).astype(int)
        part = np.expand_dims(place - low, tuple({0, 1, 2} - {axis}))
        before = values.take(np.clip(low, 0, size - 1), axis) * (1 - part)
        values = before + values.take(np.clip(low + 1, 0, size - 1), axis) * part
    return values


def _logits(classes: int, size: tuple[int, int]) -> np.ndarray:
    shape = (1, classes, size[0] // 4, size[1] // 4)
    return np.random.default_rng(0).standard_normal(shape).astype(np.float16)


def _random_mask(size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(1).integers(0, len(_CLASSES), size, np.uint8)
