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

"""From BGR bytes to normalized RGB planes, in few passes over memory."""

from __future__ import annotations

import cv2
import numpy as np

from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.pipelines.tiling import padded_size, Span

#: Rows that are split into planes at a time: enough for all cores, few enough to bound memory.
BAND_ROWS = 512

#: A pixel as normalized planes, bytes.
PLANES_BYTES = 12


class Preprocessor:
    """
    Make the inputs of both branches; the arrays are reused by the next call.

    A frame whose sides are not multiples of `bundle.multiple` is continued to the right and
    below with its last column and row. The fastest way measured at 3840x2160 on two cores is
    one split into byte planes, one table look-up per plane (which normalizes) and one area
    reduction of the normalized planes, whose mean is the normalized mean.

    Args:
        bundle: gives mean, std, multiple and low_res_factor.

    """

    def __init__(self, bundle: Bundle) -> None:
        self._multiple = bundle.multiple
        self._factor = bundle.low_res_factor
        mean, std = (np.array(values, np.float32)[:, None] for values in (bundle.mean, bundle.std))
        self._tables = ((np.arange(256, dtype=np.float32) - mean) / std)[:, None, :]
        self._buffers: dict[str, np.ndarray] = {}

    def forget(self) -> None:
        """Free the memory of the last call."""
        self._buffers.clear()

    def padded_size(self, image: np.ndarray) -> tuple[int, int]:
        """Return height and width of the padded frame, px."""
        return padded_size(image.shape[:2], self._multiple)

    def whole(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """
        Make the inputs for the whole frame.

        Args:
            image: (H, W, 3) uint8 BGR.

        Returns:
            detail input (1, 3, Hp, Wp) and low-resolution input (1, 3, Hp / f, Wp / f),
            float32, RGB, normalized.

        """
        height, width = self.padded_size(image)
        planes = self.window(image, (0, height), (0, width))
        low_res = self._low_res_buffer(height, width)
        self._reduce(planes[0], low_res[0])
        return planes, low_res

    def low_res(self, image: np.ndarray) -> np.ndarray:
        """Make the low-resolution input alone, without room for the whole detail input."""
        height, width = self.padded_size(image)
        low_res = self._low_res_buffer(height, width)
        for top in range(0, height, BAND_ROWS):
            bottom = min(top + BAND_ROWS, height)
            planes = self.window(image, (top, bottom), (0, width))
            rows = slice(top // self._factor, bottom // self._factor)
            self._reduce(planes[0], low_res[0, :, rows])
        return low_res

    def window(self, image: np.ndarray, rows: Span, columns: Span) -> np.ndarray:
        """
        Make the detail input of a part of the padded frame.

        Args:
            image: (H, W, 3) uint8 BGR.
            rows: first row and end of the part, px.
            columns: first column and end of the part, px.

        Returns:
            (1, 3, rows, columns) float32, RGB, normalized.

        """
        part = image[slice(*rows), slice(*columns)]
        height, width = part.shape[:2]
        shape = (1, 3, rows[1] - rows[0], columns[1] - columns[0])
        planes = self._buffer('planes', shape, np.float32)
        for top in range(0, height, BAND_ROWS):
            bottom = min(top + BAND_ROWS, height)
            self._normalize(part[top:bottom], planes[0, :, top:bottom, :width])
        planes[..., :height, width:] = planes[..., :height, width - 1 : width]
        planes[..., height:, :] = planes[..., height - 1 : height, :]
        return planes

    def _normalize(self, image: np.ndarray, planes: np.ndarray) -> None:
        """Write (h, w, 3) uint8 BGR into planes (3, h, w) float32 RGB."""
        height, width = image.shape[:2]
        parts = self._buffer('bytes', (3, height, width), np.uint8)
        cv2.split(image, list(parts))
        for part, table, plane in zip(parts[::-1], self._tables, planes, strict=True):
            cv2.LUT(part, table, dst=plane)

    def _reduce(self, planes: np.ndarray, low_res: np.ndarray) -> None:
        """Write the means of blocks of (3, h, w) into (3, h / f, w / f)."""
        height, width = low_res.shape[1:]
        for plane, target in zip(planes, low_res, strict=True):
            cv2.resize(plane, (width, height), dst=target, interpolation=cv2.INTER_AREA)

    def _low_res_buffer(self, height: int, width: int) -> np.ndarray:
        shape = (1, 3, height // self._factor, width // self._factor)
        return self._buffer('low_res', shape, np.float32)

    def _buffer(self, name: str, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        """Reuse the memory of the last call; only a larger shape takes more."""
        size = int(np.prod(shape))
        if name not in self._buffers or self._buffers[name].size < size:
            self._buffers[name] = np.empty(size, dtype)
        return self._buffers[name][:size].reshape(shape)
