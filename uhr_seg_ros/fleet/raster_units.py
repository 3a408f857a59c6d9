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

"""Rasters in rows of blocks: the semantic branch first, then the rows, then one map of all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
import json
import logging
from pathlib import Path
import secrets
import shutil
from typing import Any

import numpy as np

from uhr_seg_ros.core.atomic_io import atomic_write, write_bytes, write_text
from uhr_seg_ros.core.classes import mask_dtype
from uhr_seg_ros.core.errors import ConfigError, ImageError, RecordingError
from uhr_seg_ros.core.image_writing import encode_image
from uhr_seg_ros.core.mapped_files import new_mapped
from uhr_seg_ros.core.visualization import OverlayOptions
from uhr_seg_ros.fleet.fingerprints import content_of
from uhr_seg_ros.fleet.image_units import IMAGE
from uhr_seg_ros.fleet.inputs import local_copy
from uhr_seg_ros.fleet.tools import Tools
from uhr_seg_ros.fleet.units import digest, KEPT, Outcome, Record, slot_of, Unit
from uhr_seg_ros.image_io.georeference import is_georeferenced
from uhr_seg_ros.image_io.headers import image_size
from uhr_seg_ros.image_io.raster_files import raster_driver, rasterio_or_error
from uhr_seg_ros.image_io.raster_writing import BLOCK, WorkMap
from uhr_seg_ros.image_io.rasters import Raster
from uhr_seg_ros.pipelines.raster_blocks import Block, BlockEngine, BlockOptions
from uhr_seg_ros.pipelines.raster_engine import choose_engine, mask_form
from uhr_seg_ros.pipelines.raster_tokens import RasterTokens, save
from uhr_seg_ros.reports.class_areas import count_pixels
from uhr_seg_ros.reports.raster_work import Preview

_LOG = logging.getLogger(__name__)

TOKENS, ROWS, RASTER = 'tokens', 'rows', 'raster'

#: A raster counts as frames of so many pixels.
FRAME_PIXELS = 3840 * 2160
#: A TIFF of more pixels is segmented by blocks, whatever memory there is.
_LARGE = 1 << 28
#: Rows that are copied into a map at a time.
_BAND = 2 * BLOCK


def plan_raster(tools: Tools, unit: Unit) -> Outcome:
    """Cut a raster into rows of blocks; what is no map becomes an image."""
    options = tools.options
    record = Record(RASTER, unit.input, unit.name, slot=unit.slot)
    with local_copy(unit.input, options.cache) as path:
        if not _is_map(tools, path):
            # A record in the place of a plan that failed earlier.
            return Outcome([Record.of(unit)], [[_as_image(tools, unit, path)]])
        with _opened(tools, unit, path) as (raster, engine, tokens):
            record.content = digest([content_of(each) for each in raster.files])
            record.fingerprint = unit.work['fingerprint']
            known = unit.work['known']
            if known and known['content'] == record.content and tools.has(known['outputs']):
                record.status = KEPT
                return Outcome([record])
            if raster.crs is None or raster.transform is None:
                _LOG.warning('%s has no coordinates: its mask has none either', unit.input)
            width = raster.size[1]
            rows = [list(each) for _, each in groupby(engine.blocks, lambda block: block.rows)]
            form = digest(engine.form)
            windows = 0 if tokens is None else len(tokens.windows)
    work = {'folder': unit.slot, 'form': form, 'fingerprint': record.fingerprint}

    def part(kind: str, place: str, **more: Any) -> Unit:
        slot = slot_of(options.settings_of_parts, kind, unit.input, unit.name, place)
        mine = {**work, **more}
        return Unit(kind, unit.input, unit.name, place, mine, slot, record.content)

    stages = []
    if windows > 1:
        parts = [part(TOKENS, f'context {index}', window=index) for index in range(windows)]
        stages.append(parts)
    if windows:
        stages.append([part(TOKENS, 'context', window=None)])
    spans = _spans(rows, width, options.unit_frames * FRAME_PIXELS)
    stages.append(
        [
            part(
                ROWS,
                f'rows {rows[start][0].rows[0]} to {rows[stop - 1][0].rows[1] - 1}',
                number=number,
                span=[start, stop],
            )
            for number, (start, stop) in enumerate(spans)
        ]
    )
    joined = {**work, 'count': len(spans)}
    last = Unit(RASTER, unit.input, unit.name, '', joined, unit.slot, record.content)
    return Outcome(stages=[*stages, [last]])


def compute_tokens(tools: Tools, unit: Unit) -> Outcome:
    """Run the semantic branch on a window of the raster, or put the windows together."""
    record = Record.of(unit)
    folder = _folder(tools, unit)
    window = unit.work['window']
    with (
        tools.timed(record),
        local_copy(unit.input, tools.options.cache) as path,
        _opened(tools, unit, path) as (_, _, tokens),
    ):
        assert tokens is not None  # or there would be no such unit
        if window is None:
            tokens.compute(_nothing)
        else:
            tokens.compute_window(window)
    name = 'tokens.npy' if window is None else f'tokens_{window}.npy'
    # Windows are gone when they are put together.
    record.outputs = [tools.output(folder / name)] if window is None else []
    return Outcome([record])


def segment_rows(tools: Tools, unit: Unit) -> Outcome:
    """Segment rows of blocks into files of their own."""
    options, number = tools.options, unit.work['number']
    record = Record.of(unit)
    folder = _folder(tools, unit)
    # Of this try alone: the worker of a driver that was killed may still be at the same rows.
    own = folder / f'blocks_{number}_{secrets.token_hex(4)}'
    own.mkdir(parents=True)
    classes = len(tools.segmenter.bundle.classes)
    with (
        tools.timed(record),
        local_copy(unit.input, options.cache) as path,
        _opened(tools, unit, path, own) as (raster, engine, _),
    ):
        if digest(engine.form) != unit.work['form']:
            msg = (
                f'{unit.input} would be cut otherwise on {tools.worker} than where it was planned'
            )
            raise ConfigError(msg)
        rows = [list(each) for _, each in groupby(engine.blocks, lambda block: block.rows)]
        blocks = [block for row in rows[slice(*unit.work['span'])] for block in row]
        preview = Preview(own, raster.size, mask_dtype(classes)) if options.overlay else None
        with atomic_write(folder / f'rows_{number}.npy', durable=False) as unfinished:
            top, bottom = _run(tools, raster, engine, blocks, unfinished, preview, record)
        if preview is not None:
            first, last = (
                -(-edge // preview.step) for edge in (blocks[0].rows[0], blocks[-1].rows[1])
            )
            small = preview.image[first:last], preview.mask[first:last]
            save(folder / f'preview_{number}.npz', *small)
        damaged = sorted(map(list, raster.damaged))
    note = {'rows': [top, bottom], 'damaged': damaged, 'record': record.as_dict()}
    write_text(folder / f'rows_{number}.json', json.dumps(note))
    shutil.rmtree(own, ignore_errors=True)
    names = [f'rows_{number}.json', f'rows_{number}.npy']
    record.outputs = [tools.output(folder / name) for name in names]
    return Outcome([record])


def join_raster(tools: Tools, unit: Unit) -> Outcome:
    """Write the map of all rows, and its overlay."""
    options, folder = tools.options, _folder(tools, unit)
    classes = tools.segmenter.bundle.classes
    record = Record.of(unit)
    record.fingerprint = unit.work['fingerprint']
    notes = [
        json.loads((folder / f'rows_{number}.json').read_text(encoding='utf-8'))
        for number in range(unit.work['count'])
    ]
    mask, overlay = (
        options.folder / f'{unit.name}_{each}' for each in ('mask.tif', 'overlay.jpg')
    )
    with (
        tools.timed(record),
        local_copy(unit.input, options.cache) as path,
        Raster(path, options.rules) as raster,
    ):
        work = WorkMap(folder / 'mask.tif', mask_form(tools.segmenter.bundle, raster), False)
        for number, note in enumerate(notes):
            values = np.load(folder / f'rows_{number}.npy', mmap_mode='r')
            top = note['rows'][0]
            for start in range(0, len(values), _BAND):
                band = np.ascontiguousarray(values[start : start + _BAND])
                work.write(band, (top + start, top + start + len(band)), (0, band.shape[1]))
        if options.overlay:
            _write_overlay(tools, folder, len(notes), overlay)
        work.finish(mask)
        record.height, record.width = raster.file_size
        record.m2_per_pixel = options.ground_resolution**2 or raster.ground_pixel().m2
        record.crs = '' if raster.crs is None else raster.crs.to_string()
    record.pixels = [0] * len(classes)
    for part in (Record(**note['record']) for note in notes):
        record.pixels = [a + b for a, b in zip(record.pixels, part.pixels, strict=True)]
        record.unknown += part.unknown
        record.seconds = round(record.seconds + part.seconds, 4)
        record.cpu_seconds = round(record.cpu_seconds + part.cpu_seconds, 4)
    record.frames = 1
    record.left_out = len({tuple(each) for note in notes for each in note['damaged']})
    if record.left_out:
        record.reason = f'{record.left_out} blocks cannot be read: they have no class'
    written = [mask, *([overlay] if options.overlay else [])]
    record.outputs = [tools.output(each) for each in written]
    shutil.rmtree(folder, ignore_errors=True)
    return Outcome([record])


def _run(
    tools: Tools,
    raster: Raster,
    engine: BlockEngine,
    blocks: list[Block],
    path: Path,
    preview: Preview | None,
    record: Record,
) -> tuple[int, int]:
    """Write the mask of blocks, (rows, W), into a file of numpy; return its rows of the raster."""
    classes = len(tools.segmenter.bundle.classes)
    dtype = mask_dtype(classes)
    placed = [
        raster.enlarged(np.empty(_shape(block), bool), block.rows, block.columns)[1]
        for block in (blocks[0], blocks[-1])
    ]
    top, bottom = placed[0][0], placed[1][1]
    shape = bottom - top, raster.file_size[1]
    values = new_mapped(path, dtype, shape)
    counts = np.zeros(classes, np.int64)
    for block in blocks:
        result = engine.run(block)
        ids, rows, columns = raster.enlarged(result.mask, block.rows, block.columns)
        values[rows[0] - top : rows[1] - top, slice(*columns)] = ids
        if preview is not None:
            preview.add(block, result)
        counts += count_pixels(ids, classes)
        record.unknown += result.novelty is not None and result.novelty > 1
        engine.done(block)
    values.flush()
    record.pixels = counts.tolist()
    return top, bottom


def _write_overlay(tools: Tools, folder: Path, count: int, path: Path) -> None:
    images, masks = [], []
    for number in range(count):
        with np.load(folder / f'preview_{number}.npz') as file:
            images.append(file['arr_0'])
            masks.append(file['arr_1'])
    paint = OverlayOptions(overlay=True)
    classes = tools.segmenter.bundle.classes
    painted = paint.paint(np.concatenate(images), np.concatenate(masks), classes)['overlay']
    write_bytes(path, encode_image('.jpg', painted))


@contextmanager
def _opened(
    tools: Tools, unit: Unit, path: Path, own: Path | None = None
) -> Iterator[tuple[Raster, BlockEngine, RasterTokens | None]]:
    """Open a raster and choose how it is segmented; all workers choose alike."""
    options, folder = tools.options, _folder(tools, unit)
    folder.mkdir(parents=True, exist_ok=True)
    with Raster(path, options.rules) as raster:
        engine, tokens = choose_engine(
            tools.segmenter,
            raster.size,
            raster.read,
            own or folder,
            BlockOptions(refinement=options.refinement),
            memory_mb=options.raster_memory_mb,
            detail_mb=options.memory_limit_mb,
            tokens_folder=folder,
        )
        yield raster, engine, tokens


def _is_map(tools: Tools, path: Path) -> bool:
    """Tell if a file is segmented by blocks; by the file alone, so that all nodes agree."""
    driver = raster_driver(path)
    if driver in ('VRT', 'JP2OpenJPEG') or (driver and tools.options.rules):
        return True
    if driver != 'GTiff':
        return False
    try:
        height, width = image_size(path)
        needed = height * width > _LARGE
        is_placed = is_georeferenced(path)
    except ImageError:  # such as one that is too large for our own reader
        return True
    if is_placed and not needed:
        try:
            rasterio_or_error('a mask that keeps its place on the map')
        except ConfigError as err:
            _LOG.warning('%s: its mask is a picture without coordinates: %s', path, err)
            return False
    return needed or is_placed


def _as_image(tools: Tools, unit: Unit, path: Path) -> Unit:
    slot = slot_of(tools.options.settings, IMAGE, unit.input, unit.name)
    image = {
        'input': unit.input,
        'name': unit.name,
        'slot': slot,
        'fingerprint': unit.work['fingerprint'],
        'known': None,
    }
    try:
        content = content_of(path)
    except RecordingError:  # reading it says what is wrong
        content = ''
    return Unit('images', unit.input, unit.name, '', {'images': [image]}, slot, content)


def _spans(rows: list[list[Block]], width: int, pixels: int) -> list[tuple[int, int]]:
    """Put rows of blocks together to units of so many pixels at most, but of one row at least."""
    spans: list[tuple[int, int]] = []
    start, held = 0, 0
    for index, (block, *_) in enumerate(rows):
        size = (block.rows[1] - block.rows[0]) * width
        if index > start and held + size > pixels:
            spans.append((start, index))
            start, held = index, 0
        held += size
    return [*spans, (start, len(rows))]


def _shape(block: Block) -> tuple[int, int]:
    return block.rows[1] - block.rows[0], block.columns[1] - block.columns[0]


def _folder(tools: Tools, unit: Unit) -> Path:
    return tools.options.work / unit.work.get('folder', unit.slot)


def _nothing() -> None:
    """Do nothing after a window."""
