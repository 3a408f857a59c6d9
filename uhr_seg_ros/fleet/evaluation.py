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

"""A data set evaluated in units, and the counts of all added up: the figures of one process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
import json
from pathlib import Path
from typing import Any

from uhr_seg_ros.core.errors import ConfigError, ProcessError
from uhr_seg_ros.core.interruption import note_progress
from uhr_seg_ros.core.progress import named_bar
from uhr_seg_ros.data.sample import FileSample
from uhr_seg_ros.evaluation.evaluator import Evaluator
from uhr_seg_ros.evaluation.measuring import add_counts
from uhr_seg_ros.fleet.evaluation_units import EvaluationOptions
from uhr_seg_ros.fleet.pools import Pool
from uhr_seg_ros.fleet.scheduler import Scheduler
from uhr_seg_ros.fleet.units import FAILED, Record, Unit


def evaluate_in_units(
    options: EvaluationOptions,
    images: Sequence[FileSample],
    open_pool: Callable[[], Pool],
    results: Evaluator,
) -> dict[str, Any]:
    """
    Measure what no earlier run has, and add up the counts of all images in their order.

    Args:
        options: of the evaluation; its folder is locked by this run.
        images: of the split.
        open_pool: starts the workers; not called where nothing is to be done.
        results: takes the counts.

    Returns:
        `provenance`, `seconds` of all workers together, and `peak_memory_mb` of the largest.

    Raises:
        ProcessError: some images could not be measured; the counts of the others stay.
        ConfigError: workers of this and earlier runs ran on different engines.

    """
    files = {image.name: options.counts_file(image) for image in images}
    missing = [image for image in images if not files[image.name].exists()]
    failed: list[Record] = []
    left = len(missing)

    def note(record: Record) -> None:
        nonlocal left
        if record.status == FAILED:
            failed.append(record)
        else:
            left -= 1

    def done() -> str:
        return (
            f'{len(images) - left} of {len(images)} images are measured: {options.folder} '
            '(the same command goes on)'
        )

    with note_progress(done):
        if missing:
            with named_bar('evaluating', len(missing), unit='image') as bar, open_pool() as pool:
                scheduler = Scheduler(pool, options.retries, lambda unit: False, note)
                scheduler.run(_units(missing, files), lambda ready: bar.update())
        if failed:
            msg = f'{len(failed)} images could not be measured, the first: {failed[0].reason}'
            raise ProcessError(msg)
    return _add_up(list(files.values()), results)


def _units(images: Sequence[FileSample], files: Mapping[str, Path]) -> Iterator[Unit]:
    """Yield a unit for each image: they are large, and each has a file of its own anyway."""
    for each in images:
        place, name = str(each.image_path), each.name
        image = {'input': place, 'name': name, 'slot': files[name].name}
        yield Unit('measure', place, name, '', {'images': [image]})


def _add_up(files: Sequence[Path], results: Evaluator) -> dict[str, Any]:
    """Add up counts in the order of the images: means of floats depend on it."""
    provenance: dict[str, Any] | None = None
    peak = 0
    for file in files:
        part = json.loads(file.read_text(encoding='utf-8'))
        add_counts(results, part['counts'])
        peak = max(peak, part['peak_memory_mb'])
        provenance = provenance or part['provenance']
        if part['provenance'] != provenance:
            msg = (
                f'images in {file.parent} were measured on unlike engines, {provenance} and '
                f'{part["provenance"]}: remove {file}, or the folder, and name one --backend'
            )
            raise ConfigError(msg)
    return {'provenance': provenance, 'seconds': results.seconds, 'peak_memory_mb': peak}
