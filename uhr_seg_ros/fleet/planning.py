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

"""The first units of a batch: shards of images, and one for each input that a worker cuts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from uhr_seg_ros.fleet.image_units import IMAGE
from uhr_seg_ros.fleet.inputs import Input
from uhr_seg_ros.fleet.manifest import Manifest
from uhr_seg_ros.fleet.options import BatchOptions
from uhr_seg_ros.fleet.units import RESULTS, slot_of, Unit
from uhr_seg_ros.image_io.raster_files import GDAL_SUFFIXES
from uhr_seg_ros.replay import inputs as kinds

#: What may be a map.
RASTER_SUFFIXES = ('.tif', '.tiff', *GDAL_SUFFIXES)
#: Kind of input -> kind of its result.
RESULT = {kinds.RECORDING: 'bag', kinds.VIDEO: 'video', kinds.IMAGE: 'raster'}


class Planner:
    """
    Turns inputs into units, without those that an earlier run has finished.

    Args:
        options: of the batch.
        manifest: of the folder.

    Attributes:
        earlier: inputs of which nothing is left to do.

    """

    def __init__(self, options: BatchOptions, manifest: Manifest) -> None:
        self._options, self._manifest = options, manifest
        self.earlier = 0

    def units(self, inputs: Sequence[Input]) -> Iterator[Unit]:
        """Yield the units in the order of the inputs; images in a row are one folder."""
        row: list[Input] = []
        for each in inputs:
            if each.kind == kinds.IMAGE and not may_be_raster(each):
                row.append(each)
                continue
            yield from self._shards(row)
            row = []
            yield from self._cut_by_worker(each)
        yield from self._shards(row)

    def is_finished(self, unit: Unit) -> bool:
        """Tell if an earlier run has done a part of an input with the same content."""
        known = self._manifest.find(unit.slot) if unit.slot else None
        is_finished = known is not None and known.content == unit.content
        self.earlier += is_finished and unit.kind in (*RESULTS, 'images')
        return is_finished

    def _shards(self, row: Sequence[Input]) -> Iterator[Unit]:
        options, images = self._options, []
        for each in row[:: options.every]:
            slot = slot_of(options.settings, IMAGE, each.place, each.name)
            work = self._work(each, slot)
            if work is None:
                continue
            images.append({'input': each.place, 'name': each.name, 'slot': slot, **work})
            if len(images) == options.unit_frames:
                yield _shard(images)
                images = []
        if images:
            yield _shard(images)

    def _cut_by_worker(self, each: Input) -> Iterator[Unit]:
        settings, result = self._options.settings_of_parts, RESULT[each.kind]
        slot = slot_of(settings, result, each.place, each.name)
        work = self._work(each, slot)
        if work is not None:  # a plan itself is no result, so it has no fingerprint
            yield Unit(f'plan_{result}', each.place, each.name, work=work, slot=slot)

    def _work(self, each: Input, slot: str) -> dict[str, Any] | None:
        """Return what is known of an input; None where there is nothing to do."""
        known = self._manifest.find(slot)
        if known is not None and each.fingerprint and known.fingerprint == each.fingerprint:
            self.earlier += 1
            return None
        return {'fingerprint': each.fingerprint, 'known': known and known.as_work()}


def may_be_raster(each: Input) -> bool:
    """Tell by its name if an image may be a map, which a worker finds out."""
    return each.kind == kinds.IMAGE and Path(each.place).suffix.lower() in RASTER_SUFFIXES


def _shard(images: list[dict[str, Any]]) -> Unit:
    first, last = images[0], images[-1]
    place = f'and {len(images) - 1} more, to {last["name"]}' if len(images) > 1 else ''
    return Unit('images', first['input'], first['name'], place, {'images': images})
