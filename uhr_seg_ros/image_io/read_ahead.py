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

"""Windows of a raster that are read while others are computed."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from uhr_seg_ros.image_io.raster_files import rasterio_or_error, READ_OPTIONS
from uhr_seg_ros.image_io.rasters import Raster, RasterWindow


class ReadAhead:
    """
    Read a raster in a thread of its own, so that any thread may ask, and one may go ahead.

    A context manager, which ends before that of the raster. While it is open, nothing else reads
    the raster.

    Args:
        raster: open.

    """

    def __init__(self, raster: Raster) -> None:
        self._raster = raster
        self._rasterio = rasterio_or_error(f'{raster.path}: reading it by windows')
        self._pool = ThreadPoolExecutor(1, 'reading')
        self._expected: Future[RasterWindow] | None = None
        self._place: tuple[tuple[int, int], ...] = ()

    def __call__(self, rows: tuple[int, int], columns: tuple[int, int]) -> RasterWindow:
        """Return a window, as `Raster.read`; the one that was expected is there sooner."""
        expected, self._expected = self._expected, None
        if expected is not None and self._place == (rows, columns):
            return expected.result()
        return self._pool.submit(self._read, rows, columns).result()

    def expect(self, rows: tuple[int, int], columns: tuple[int, int]) -> None:
        """Begin to read the window that is asked for next; if another one is, it is dropped."""
        self._place = rows, columns
        self._expected = self._pool.submit(self._read, rows, columns)

    def _read(self, rows: tuple[int, int], columns: tuple[int, int]) -> RasterWindow:
        with self._rasterio.Env(**READ_OPTIONS):  # those of another thread do not count here
            return self._raster.read(rows, columns)

    def __enter__(self) -> ReadAhead:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
