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

"""What a folder of results holds in all, and the manifest as a table for other programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
import csv
from dataclasses import dataclass, field
import heapq
from itertools import count, islice
from pathlib import Path
from typing import Any

from uhr_seg_ros.core.atomic_io import atomic_write
from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.fleet.manifest import Manifest
from uhr_seg_ros.fleet.options import BatchOptions
from uhr_seg_ros.fleet.units import DONE, Record
from uhr_seg_ros.reports.class_areas import AreaSummary, ImageAreas

#: Of the tables of the page.
SLOWEST, FAILURES, PICTURES = 20, 200, 24
_TABLE = 'manifest'
_ROWS_AT_ONCE = 10_000


@dataclass
class Totals:
    """
    What all results come to.

    Attributes:
        areas: of classes; a row for each result.
        done: results that are there.
        failed: those that are not.
        frames: segmented.
        left_out: frames, or blocks of rasters, that could not be read.
        unknown: frames, or blocks, outside of what the model knows.
        seconds: of workers, in all.
        cpu_seconds: likewise, of processors.
        failures: the first of those that failed, and of what is incomplete.
        slowest: by time of the worker, the slowest first.
        pictures: records spread evenly over those that are there.
        kinds: how many there are of each kind.
        systems: coordinate systems of rasters, and how many are in each.
        backends: how many ran on each.

    """

    areas: AreaSummary
    done: int = 0
    failed: int = 0
    frames: int = 0
    left_out: int = 0
    unknown: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    failures: list[Record] = field(default_factory=list)
    slowest: list[Record] = field(default_factory=list)
    pictures: list[Record] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    systems: Counter[str] = field(default_factory=Counter)
    backends: Counter[str] = field(default_factory=Counter)


def add_up(manifest: Manifest, classes: ClassSet) -> Totals:
    """Go through the records of a folder."""
    number = sum(1 for record in manifest.results() if record.status == DONE)
    step = max(1, -(-number // PICTURES))
    totals = Totals(AreaSummary(classes.names))
    heap: list[tuple[float, int, Record]] = []
    numbers = count()
    for record in manifest.results():
        totals.kinds[record.kind] += 1
        if record.status != DONE or record.left_out:
            totals.failures += [record] * (len(totals.failures) < FAILURES)
        if record.status != DONE:
            totals.failed += 1
            continue
        if totals.done % step == 0:
            totals.pictures.append(record)
        totals.done += 1
        totals.frames += record.frames
        totals.left_out += record.left_out
        totals.unknown += record.unknown
        totals.seconds += record.seconds
        totals.cpu_seconds += record.cpu_seconds
        totals.backends[record.backend] += 1
        if record.kind == 'raster':
            totals.systems[record.crs or 'none'] += 1
        entry = record.seconds, next(numbers), record
        (heapq.heappush if len(heap) < SLOWEST else heapq.heappushpop)(heap, entry)
        totals.areas.rows.append(_areas(record, classes))
    totals.slowest = [record for _, _, record in sorted(heap, reverse=True)]
    totals.areas.rows.sort(key=lambda row: (row.name, row.source))
    return totals


def write_table(manifest: Manifest, options: BatchOptions, classes: ClassSet) -> tuple[Path, str]:
    """
    Write the records as Parquet, or as CSV where pyarrow is not there.

    Returns:
        The file, and why it is not Parquet; empty if it is.

    """
    names = _columns(classes)
    rows = (_row(record, classes) for record in manifest.results())
    try:
        import pyarrow  # noqa: F401
    except ImportError as err:
        path = options.folder / f'{_TABLE}.csv'
        with atomic_write(path) as unfinished, unfinished.open('w', newline='') as file:
            writer = csv.DictWriter(file, names, lineterminator='\n')
            writer.writeheader()
            writer.writerows({**row, 'outputs': ';'.join(row['outputs'])} for row in rows)
        return path, f'pyarrow is missing ({err}): pip install pyarrow makes it Parquet'
    path = options.folder / f'{_TABLE}.parquet'
    with atomic_write(path) as unfinished:
        _write_parquet(unfinished, rows, classes)
    return path, ''


def _write_parquet(path: Path, rows: Iterator[dict[str, Any]], classes: ClassSet) -> None:
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    number = {int: pyarrow.int64(), float: pyarrow.float64(), str: pyarrow.string()}
    fields = [
        (name, number.get(type(value), pyarrow.list_(pyarrow.string())))
        for name, value in _row(Record('', '', ''), classes).items()
    ]
    schema = pyarrow.schema(fields)
    with ParquetWriter(path, schema) as writer:
        while batch := list(islice(rows, _ROWS_AT_ONCE)):
            writer.write_table(pyarrow.Table.from_pylist(batch, schema))


def _row(record: Record, classes: ClassSet) -> dict[str, Any]:
    values = {name: _shown(value) for name, value in record.as_dict().items()}
    pixels: Sequence[int] = values.pop('pixels') or [0] * len(classes)
    named = {f'{name}_px': each for name, each in zip(classes.names, pixels, strict=True)}
    return {'key': record.key, **values, **named}


def _shown(value: Any) -> Any:
    """Replace what of the name of a file is not UTF-8, which Parquet and pages have to be."""
    if isinstance(value, list):
        return [_shown(each) for each in value]
    if not isinstance(value, str):
        return value
    return value.encode('utf-8', 'surrogateescape').decode('utf-8', 'replace')


def _columns(classes: ClassSet) -> list[str]:
    return list(_row(Record('', '', ''), classes))


def _areas(record: Record, classes: ClassSet) -> ImageAreas:
    source = f'{record.input} {record.place}' if record.place else record.input
    name = f'{record.name}_{record.place.rpartition(" ")[2]}' if record.place else record.name
    size = record.width, record.height
    pixels = record.pixels or [0] * len(classes)
    return ImageAreas(name, source, *size, pixels, record.m2_per_pixel)
