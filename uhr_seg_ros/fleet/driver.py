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

"""A batch from its inputs to its summary."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
import json
import logging
from pathlib import Path
from time import perf_counter

from uhr_seg_ros.core.atomic_io import write_bytes
from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.core.interruption import note_progress
from uhr_seg_ros.core.progress import named_bar
from uhr_seg_ros.fleet.image_units import IMAGE
from uhr_seg_ros.fleet.inputs import Input
from uhr_seg_ros.fleet.manifest import Manifest
from uhr_seg_ros.fleet.options import BatchOptions
from uhr_seg_ros.fleet.planning import may_be_raster, Planner
from uhr_seg_ros.fleet.pools import Pool
from uhr_seg_ros.fleet.scheduler import Scheduler
from uhr_seg_ros.fleet.summary import add_up, Totals, write_table
from uhr_seg_ros.fleet.summary_page import build
from uhr_seg_ros.fleet.units import FAILED, KEPT, Record, RESULTS
from uhr_seg_ros.replay import inputs as kinds

_LOG = logging.getLogger(__name__)

#: For people, beside `summary.csv` and the manifest.
PAGE = 'summary.html'


@dataclass
class Counts:
    """
    What became of results in this run.

    Attributes:
        done: made now.
        earlier: made by an earlier run.
        failed: not made.
        left_out: frames and blocks of rasters that could not be read, of those that were made.
        frames: segmented now.

    """

    done: int = 0
    earlier: int = 0
    failed: int = 0
    left_out: int = 0
    frames: int = 0


@dataclass
class Batch:
    """
    What a run has done.

    Attributes:
        counts: of its results.
        seconds: that it took.
        totals: of all results in the folder.

    """

    counts: Counts = field(default_factory=Counts)
    seconds: float = 0.0
    totals: Totals | None = None


def run_batch(
    options: BatchOptions,
    inputs: Sequence[Input],
    open_pool: Callable[[], Pool],
    complain: Callable[[str], object],
) -> Batch:
    """
    Do everything that is not done yet.

    Args:
        options: of the batch; its folder is locked by this run.
        inputs: of it.
        open_pool: starts the workers; not called where nothing is to be done.
        complain: is told what failed, and goes on.

    Raises:
        UhrSegError: what ends all of it, such as a full disk.

    """
    batch, start = Batch(), perf_counter()
    counts = batch.counts
    with Manifest(options) as manifest:
        planner = Planner(options, manifest)

        def note(record: Record) -> None:
            is_image = record.kind == IMAGE
            record.settings = options.settings if is_image else options.settings_of_parts
            if record.status == KEPT:
                manifest.renew(record)
                counts.earlier += 1
                return
            manifest.add(record)
            if record.status == FAILED:
                counts.failed += 1
                complain(f'{record} is left out: {record.reason}')
            elif record.kind in RESULTS:
                counts.done += 1
                counts.left_out += record.left_out
                counts.frames += record.frames
                if record.reason:
                    complain(f'{record} is incomplete: {record.reason}')

        def done() -> str:
            finished = counts.done + counts.earlier + planner.earlier
            return f'{finished} results are in {options.folder}; the same command goes on'

        units = planner.units(inputs)
        first = next(units, None)
        if first is not None:
            with (
                note_progress(done),
                named_bar('batch', _least_units(options, inputs), unit='unit') as bar,
                open_pool() as pool,
            ):

                def step(ready: int) -> None:
                    bar.total = max(bar.total, bar.n + 1 + ready)
                    bar.update()

                scheduler = Scheduler(pool, options.retries, planner.is_finished, note)
                scheduler.run(chain([first], units), step)
        counts.earlier += planner.earlier
        batch.seconds = perf_counter() - start
        batch.totals = _write_summary(manifest, options, batch)
    return batch


def _least_units(options: BatchOptions, inputs: Sequence[Input]) -> int:
    """Return how many units there are at least; workers find more in what they cut."""
    images = sum(each.kind == kinds.IMAGE and not may_be_raster(each) for each in inputs)
    shards = -(-images // (options.unit_frames * options.every))
    return shards + len(inputs) - images


def _write_summary(manifest: Manifest, options: BatchOptions, batch: Batch) -> Totals:
    classes = load_bundle(options.bundle).classes
    totals = add_up(manifest, classes)
    totals.areas.write(options.folder)
    _, reason = write_table(manifest, options, classes)
    if reason:
        _LOG.info('manifest.csv instead of manifest.parquet: %s', reason)
    run = {
        'bundle': Path(options.bundle).name,
        'model.yaml, SHA-256': options.bundle_sha256,
        'made in this run': f'{batch.counts.done:,} results in {batch.seconds:,.1f} s',
        'made before': f'{batch.counts.earlier:,}',
        'options': json.dumps(options.as_dict()),
    }
    page = build(totals, options, classes, run)
    # Names of files need not be UTF-8.
    write_bytes(options.folder / PAGE, page.encode('utf-8', 'replace'))
    return totals
