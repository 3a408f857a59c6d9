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

"""The kernels and copies on a real GPU: right, and how close to the memory's bandwidth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from tools.gpu_cases import random_frame, Result, Scale
from tools.gpu_machine import Machine
from uhr_seg_ros.backends.tensorrt.kernels import DeviceFrame, DeviceMap, Kernels
from uhr_seg_ros.core.classes import CLASS_SETS
from uhr_seg_ros.core.raw_frame import FORMATS, RawFrame
from uhr_seg_ros.core.visualization import OverlayOptions, scaled_size

_BYTES_AS_THEY_ARE = (1.0, 1.0, 1.0, 0.0, 0.0, 0.0)

#: More buffers than this are no larger than the cache for other reasons.
_MOST_SETS = 64


class KernelBench:
    """
    Launches kernels, checks what they write and times them.

    A timed kernel goes through so many buffers that none is in the cache when its turn comes
    again, and its launches are one CUDA graph, so that Python is not what is timed.

    Args:
        machine: the GPU.
        cubin: the kernels.
        scale: how much is measured.

    """

    def __init__(self, machine: Machine, cubin: bytes, scale: Scale) -> None:
        self._scale, self._l2 = scale, machine.l2_bytes()
        self._cuda = machine.cuda()
        self._kernels = Kernels(self._cuda, self._cuda.load(cubin), np.dtype(np.float16))
        self._stream = self._cuda.stream()
        self._taken: list[int] = []

    def prepare(self, name: str) -> Result:
        """Convert a frame; colors have to be OpenCV's, bit for bit."""
        return {'wrong_values': self._converted(name), **self._speed_of_prepare(name)}

    def finish(self, classes: int) -> Result:
        """Upsample logits; the mask has to be that of float64 but for ties."""
        return {'same_class': self._finished(classes), **self._speed_of_finish(classes)}

    def paint(self, scale: float) -> Result:
        """Paint both pictures; they have to be those of the CPU path within one level."""
        size, classes = self._scale.check_size, CLASS_SETS['cityscapes']
        frame = random_frame('bgr8', size)
        mask = np.random.default_rng(1).integers(0, len(classes), size, np.uint8)
        expected = OverlayOptions(True, True, 0.5, scale).paint(frame.bgr, mask, classes)
        small = scaled_size(size, scale)
        with self._memory():
            pictures = self._painted(frame, mask, small)
            found = [self._get(each, (*small, 3), np.uint8).astype(int) for each in pictures]
        return {
            'largest_difference': int(np.abs(found[0] - expected['overlay']).max()),
            'wrong_colors': int((found[1] != expected['color_mask']).sum()),
        }

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

    def copies(self) -> Iterator[tuple[str, Callable[[], Result]]]:
        """Time copies: each way, both at once, from pageable memory, filling."""
        for name in ('pinned upload', 'pinned download', 'both at once', 'pageable upload'):
            yield name, partial(self._copy, name)
        yield 'fill', self._fill

    def all_once(self) -> Result:
        """Run every kernel on small frames, and compare with the CPU."""
        found = {name: self._converted(name) for name in FORMATS}
        found |= {'finish': self._finished(5), **self.paint(0.5), **self.accumulate()}
        return found

    def close(self) -> None:
        """Free everything."""
        self._cuda.close()

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

    def _copy(self, name: str) -> Result:
        size, other = self._scale.copied, self._cuda.stream()
        with self._memory():
            up, down = (self._cuda.pinned(size) for _ in range(2))
            if name == 'pageable upload':
                up = np.ones(size, np.uint8)
            up[:], down[:] = 1, 0
            there, here = self._take(size), self._take(size)
            forked, joined = self._cuda.event(), self._cuda.event()

            def work() -> None:
                if 'download' in name or 'both' in name:
                    self._cuda.record(forked, self._stream)
                    self._cuda.wait(other, forked)
                    self._cuda.download(down, here, other)
                    self._cuda.record(joined, other)
                if 'upload' in name or 'both' in name:
                    self._cuda.upload(there, up, self._stream)
                if 'download' in name or 'both' in name:
                    self._cuda.wait(self._stream, joined)

            milliseconds = self._time(work, 8)
        moved = size * (2 if 'both' in name else 1)
        return _speed(milliseconds, moved)

    def _fill(self) -> Result:
        size = max(self._scale.copied, 4 * self._l2)
        with self._memory():
            address = self._take(size)
            return _speed(
                self._time(lambda: self._cuda.clear(address, size, self._stream), 16), size
            )

    def _speed_of_prepare(self, name: str) -> Result:
        size = self._scale.sizes['4K']
        frame = random_frame(name, size)
        moved = frame.data.size + 6 * size[0] * size[1] * 17 // 16
        with self._memory():
            works = []
            for _ in range(self._sets(moved)):
                source, targets = self._put(frame), self._inputs(size)
                works.append(partial(self._launch_prepare, source, size, *targets))
            return _speed(self._per_launch(works), moved)

    def _speed_of_finish(self, classes: int) -> Result:
        size = self._scale.sizes['4K']
        quarter = _logits(classes, size)
        moved = quarter.nbytes + size[0] * size[1]
        with self._memory():
            works = []
            for _ in range(self._sets(moved)):
                source, mask = self._upload(quarter), self._take(size[0] * size[1])
                works.append(partial(self._finish, source, quarter.shape, size, mask))
            return _speed(self._per_launch(works), moved)

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

    def _painted(
        self, frame: RawFrame, mask: np.ndarray, small: tuple[int, int]
    ) -> tuple[int, int]:
        classes = CLASS_SETS['cityscapes']
        palette = self._upload(np.ascontiguousarray(classes.palette_bgr())), len(classes)
        pictures = self._take(3 * small[0] * small[1]), self._take(3 * small[0] * small[1])
        at = self._upload(mask), 1
        self._kernels.paint(self._put(frame), at, palette, small, 0.5, *pictures, self._stream)
        return pictures

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

    @contextmanager
    def _memory(self) -> Iterator[None]:
        """Free what the block takes."""
        first = len(self._taken)
        try:
            yield
        finally:
            while len(self._taken) > first:
                self._cuda.free(self._taken.pop())

    def _sets(self, moved: int) -> int:
        """Count the sets of buffers that are four times the cache together."""
        return min(max(2, -(-4 * self._l2 // moved)), _MOST_SETS)

    def _per_launch(self, works: list[Callable[[], Any]]) -> float:
        """Return the time of one launch, ms: the sets in turn, captured as one graph."""
        launches = max(self._scale.launches, len(works))

        def all_of_them() -> None:
            for place in range(launches):
                works[place % len(works)]()

        graph = self._cuda.capture(self._stream, all_of_them)
        milliseconds = self._time(lambda: graph.launch(self._stream), 3)
        graph.close()
        return milliseconds / launches

    def _time(self, work: Callable[[], None], count: int) -> float:
        """Return the time of one call among many, ms."""
        for _ in range(2):
            work()
        start, end = self._cuda.event(), self._cuda.event()
        self._cuda.record(start, self._stream)
        for _ in range(count):
            work()
        self._cuda.record(end, self._stream)
        self._cuda.finish(end)
        return self._cuda.elapsed_ms(start, end) / count


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


def _speed(milliseconds: float, moved: int) -> Result:
    return {'ms': round(milliseconds, 4), 'gb_per_s': round(moved / milliseconds / 1e6, 1)}
