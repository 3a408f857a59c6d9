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

"""The rasters of `uhr_seg segment`: maps in, maps out, of any size."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
import sys
from typing import Any

from uhr_seg_ros.core.atomic_io import write_bytes
from uhr_seg_ros.core.classes import mask_dtype
from uhr_seg_ros.core.errors import ConfigError, ImageError
from uhr_seg_ros.core.image_writing import encode_image
from uhr_seg_ros.core.memory import trim_heap
from uhr_seg_ros.core.progress import named_bar
from uhr_seg_ros.core.visualization import OverlayOptions
from uhr_seg_ros.image_io.georeference import GroundPixel, is_georeferenced
from uhr_seg_ros.image_io.headers import image_size
from uhr_seg_ros.image_io.limits import available_memory
from uhr_seg_ros.image_io.raster_bands import BandRules
from uhr_seg_ros.image_io.raster_files import raster_driver, rasterio_or_error
from uhr_seg_ros.image_io.raster_polygons import write_polygons
from uhr_seg_ros.image_io.raster_writing import MapForm, WorkMap
from uhr_seg_ros.image_io.rasters import Raster
from uhr_seg_ros.pipelines.raster_blocks import Block, BlockEngine, BlockOptions, BlockResult
from uhr_seg_ros.pipelines.raster_engine import choose_engine, mask_form
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.reports.class_areas import count_pixels, ImageAreas
from uhr_seg_ros.reports.raster_work import Preview, RasterWork

#: A picture of more pixels than OpenCV decodes.
_MOST_PIXELS = 1 << 30


@dataclass(frozen=True)
class RasterOptions:
    """
    What is chosen about rasters, for all of them.

    Attributes:
        folder: of the results.
        rules: for bands.
        blocks: how blocks are made.
        memory_mb: of the process, MB.
        detail_mb: of the detail branch, MB; 0: no limit.
        overlay: whether an overlay is written.
        confidence: whether the confidence is written.
        polygons: GeoPackage of the polygons; None for none.
        frames_only: an option that only frames have, as it is written; empty: none.
        resume: go on with an earlier run.
        settings: what decides how results look, see `Journal`.

    """

    folder: Path
    rules: BandRules
    blocks: BlockOptions
    memory_mb: int
    detail_mb: int
    overlay: bool
    confidence: bool
    polygons: Path | None
    frames_only: str
    resume: bool
    settings: dict[str, Any]


@dataclass(frozen=True)
class SegmentedRaster:
    """
    What a raster has become.

    Attributes:
        areas: of its classes.
        damaged: blocks of the file that could not be read.
        novelties: of its windows.

    """

    areas: ImageAreas
    damaged: int
    novelties: list[float]


class RasterSegmentation:
    """
    Segments rasters and writes their maps.

    Args:
        segmenter: with the model.
        options: what is chosen.

    """

    def __init__(self, segmenter: Segmenter, options: RasterOptions) -> None:
        self._segmenter, self._options = segmenter, options
        self._told: set[str] = set()

    def mask(self, stem: str) -> Path:
        """Return the file of the mask of a raster."""
        return self._options.folder / f'{stem}_mask.tif'

    def takes(self, path: Path) -> bool:
        """Tell if a file is a map, or too large for memory, and so is segmented by blocks."""
        try:
            driver = raster_driver(path)
            needed = self._needs_windows(path, driver)
            if not (needed or (driver == 'GTiff' and is_georeferenced(path))):
                return False
        except ImageError:  # reading it says what is wrong
            return False
        if needed:
            return True
        if self._options.frames_only:
            reason = f'{self._options.frames_only} is of frames without a place on a map'
        else:
            try:
                rasterio_or_error('a mask that keeps its place on the map')
            except ConfigError as err:
                reason = str(err)
            else:
                return True
        self._say(f'{path}: its mask is a picture without coordinates: {reason}')
        return False

    def segment(self, path: Path, stem: str, m2_per_pixel: float) -> SegmentedRaster:
        """
        Segment a raster block by block; what is finished stays for `--resume`.

        Args:
            path: of the raster.
            stem: begins the names of the results.
            m2_per_pixel: of the ground; 0: what the raster says.

        Raises:
            UhrSegError: it cannot be read or written, or needs what is not there.

        """
        options, segmenter = self._options, self._segmenter
        if options.frames_only:
            msg = f'{path} is segmented by windows, and {options.frames_only} is not: leave it out'
            raise ConfigError(msg)
        folder = options.folder / f'.{stem}_raster'
        with Raster(path, options.rules) as raster:
            if raster.crs is None or raster.transform is None:
                self._say(f'{path} has no coordinates: its mask has none either')
            engine, prepare = self._engine(raster, folder)
            settings = {**options.settings, 'raster': _state(path), 'form': engine.form}
            work = RasterWork(folder, settings, options.resume)
            if work.is_other:
                self._say(f'{path}: what an earlier run began had other options: begun anew')
            ground = GroundPixel(m2_per_pixel) if m2_per_pixel else raster.ground_pixel()
            if ground.reason:
                self._say(
                    f'{path}: {ground.reason}: no square meters; --ground-resolution gives them'
                )
            self._tell_misfit(path, raster, ground.m2)
            self._run(stem, raster, engine, prepare, work, ground.m2)
            height, width = raster.file_size
            pixels = work.pixels(len(segmenter.bundle.classes))
            areas = ImageAreas(stem, str(path), width, height, pixels, ground.m2)
            found = SegmentedRaster(areas, len(work.damaged), work.novelties)
            work.remove()
        return found

    def _run(
        self,
        stem: str,
        raster: Raster,
        engine: BlockEngine,
        prepare: Callable[[Callable[[], object]], None],
        work: RasterWork,
        m2_per_pixel: float,
    ) -> None:
        classes, size = self._segmenter.bundle.classes, raster.file_size
        dtype = mask_dtype(len(classes))
        form = mask_form(self._segmenter.bundle, raster)
        resume = not work.is_new
        mask = WorkMap(work.folder / 'mask.tif', form, resume)
        confidence = None
        if self._options.blocks.confidence:
            placed = {'crs': raster.crs, 'transform': raster.transform, 'tags': form.tags}
            shade = MapForm(size, 'uint8', None, resampling='AVERAGE', **placed)
            confidence = WorkMap(work.folder / 'confidence.tif', shade, resume)
        preview = Preview(work.folder, raster.size, dtype) if self._options.overlay else None

        def finish(block: Block, result: BlockResult, damaged: set[tuple[int, int]]) -> None:
            ids = raster.enlarged(result.mask, block.rows, block.columns)
            mask.write(*ids)
            if confidence is not None and result.confidence is not None:
                confidence.write(*raster.enlarged(result.confidence, block.rows, block.columns))
            if preview is not None:
                preview.add(block, result)
            work.add(block, count_pixels(ids[0], len(classes)), result.novelty, damaged)
            engine.done(block)

        with (
            named_bar(raster.path.name, len(engine.blocks), unit='block') as bar,
            ThreadPoolExecutor(1, 'blocks') as beside,
        ):
            prepare(bar.refresh)
            finishing: Future[None] | None = None
            for block in engine.blocks:
                # What follows the last one, the overlay and the COG, has its memory.
                self._segmenter.keep_memory(block is not engine.blocks[-1])
                if block in work:
                    engine.done(block)
                else:
                    before = set(raster.damaged)
                    result = engine.run(block)
                    if finishing is not None:
                        finishing.result()
                    # While the next one is read and its graphs run.
                    finishing = beside.submit(finish, block, result, raster.damaged - before)
                bar.update()
            if finishing is not None:
                finishing.result()
        self._segmenter.keep_memory(True)
        trim_heap()
        if preview is not None:
            paint = OverlayOptions(overlay=True)
            painted = paint.paint(preview.image, preview.mask, classes)['overlay']
            target = self._options.folder / f'{stem}_overlay.jpg'
            write_bytes(target, encode_image('.jpg', painted))
        if self._options.polygons is not None:
            sure = None if confidence is None else confidence.path
            write_polygons(mask.path, sure, self._options.polygons, stem, classes, m2_per_pixel)
        if confidence is not None and self._options.confidence:
            confidence.finish(self._options.folder / f'{stem}_confidence.tif')
        mask.finish(self.mask(stem))

    def _engine(
        self, raster: Raster, folder: Path
    ) -> tuple[BlockEngine, Callable[[Callable[[], object]], None]]:
        """Choose how a raster is segmented; also return what is to be done before its blocks."""
        options = self._options
        engine, tokens = choose_engine(
            self._segmenter,
            raster.size,
            raster.read,
            folder,
            options.blocks,
            memory_mb=options.memory_mb,
            detail_mb=options.detail_mb,
        )
        return engine, _nothing if tokens is None else tokens.compute

    def _tell_misfit(self, path: Path, raster: Raster, m2_per_pixel: float) -> None:
        """Say where pixels, as they are seen, show more or less ground than the model knows."""
        bundle = self._segmenter.bundle
        known = bundle.domain.ground_resolution
        if not (m2_per_pixel and known):
            return
        side = m2_per_pixel**0.5 * raster.file_size[0] / raster.size[0]
        if misfit := bundle.domain.scale_misfit(bundle.name, side):
            nearest = known[0] if side < known[0] else known[1]
            self._say(f'{path}: {misfit}; --target-resolution {nearest:g} does so')

    def _needs_windows(self, path: Path, driver: str) -> bool:
        """Tell if a file can be segmented in no other way."""
        own = self._options.rules or self._options.blocks.confidence
        if driver in ('VRT', 'JP2OpenJPEG') or (driver and own):
            return True
        if not driver:
            return False
        try:
            height, width = image_size(path)
        except ImageError:
            return driver == 'GTiff'  # such as one that is too large for our own reader
        needed = height * width * (4 + self._segmenter.bytes_per_pixel())
        return height * width > _MOST_PIXELS or needed > (available_memory() or needed)

    def _say(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            print(f'uhr_seg: {text}', file=sys.stderr)


def _nothing(step: Callable[[], object]) -> None:
    """Do what is to be done before windows that know nothing of each other."""


def _state(path: Path) -> list[Any]:
    """Tell a raster from what it is after somebody has written to it."""
    status = path.stat()
    return [str(path.absolute()), status.st_mtime_ns, status.st_size]
