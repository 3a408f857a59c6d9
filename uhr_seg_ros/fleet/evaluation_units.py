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

"""Labeled images, measured by any worker; the counts of each lie in a file of its own."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
import json
from pathlib import Path
import resource
from typing import Any

from uhr_seg_ros.core.atomic_io import write_text
from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.core.errors import DataError
from uhr_seg_ros.core.timing import StageClock
from uhr_seg_ros.data import image_io
from uhr_seg_ros.data.dataset import Dataset
from uhr_seg_ros.data.datasets import open_dataset
from uhr_seg_ros.data.sample import FileSample
from uhr_seg_ros.evaluation.evaluator import Evaluator
from uhr_seg_ros.evaluation.measuring import counts_of, Engines, open_measurer
from uhr_seg_ros.evaluation.settings import EvaluationSettings
from uhr_seg_ros.fleet.fingerprints import fingerprint_of
from uhr_seg_ros.fleet.image_units import try_images
from uhr_seg_ros.fleet.options import JobOptions
from uhr_seg_ros.fleet.tools import Tools
from uhr_seg_ros.fleet.units import digest, Outcome, Record, Unit
from uhr_seg_ros.image_io.raster_bands import BandRules

#: Job of a worker, and kind of its units and records.
EVALUATION, MEASURED = 'evaluation', 'measured'


@dataclass(frozen=True)
class EvaluationOptions(JobOptions):
    """
    Those of an evaluation, whose results are counts.

    Attributes:
        dataset: its name, as of `open_dataset`.
        root: its folder.
        split: of it.
        rules: for bands, as `BandRules.fields` gives them.
        settings: `EvaluationSettings` as a dict.
        engines: `Engines` as a dict.

    """

    dataset: str
    root: str
    split: str
    rules: dict[str, Any]
    settings: dict[str, Any]
    engines: dict[str, Any]

    def counts_file(self, image: FileSample) -> Path:
        """Return where the counts of an image lie: they are those of its files as they are now."""
        files = [fingerprint_of(each) for each in (image.image_path, image.label_path)]
        # Not the threads, nor how often something is tried.
        decide = [self.bundle_sha256, self.dataset, self.split, self.rules, self.settings]
        decide += [self.engines['backend'], self.engines['precision']]
        return self.folder / f'{digest([decide, image.name, files])[:24]}.json'

    def open_dataset(self) -> Dataset:
        """
        Open the data set.

        Raises:
            DataError: it is not there.

        """
        dataset = open_dataset(self.dataset, self.root)
        dataset.rules = BandRules.of(self.rules)
        return dataset

    def as_dict(self) -> dict[str, Any]:
        """Return the attributes by their names, and for what job of a worker they are."""
        return {'job': EVALUATION, **super().as_dict()}


class EvaluationTools(Tools[EvaluationOptions]):
    """A worker's model, data set and options."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        chosen = EvaluationOptions(**options)
        self._stack = ExitStack()
        self.measurer = self._stack.enter_context(
            open_measurer(
                load_bundle(chosen.bundle),
                EvaluationSettings(**chosen.settings),
                Engines(**chosen.engines),
            )
        )
        super().__init__(chosen, self.measurer.segmenter)

    @cached_property
    def dataset(self) -> Dataset:
        """The data set, opened with the first unit."""
        return self.options.open_dataset()

    @cached_property
    def images(self) -> dict[str, FileSample]:
        """Name -> image of the split, of those that can be opened."""
        images, _ = self.dataset.open_images(self.options.split)
        return {image.name: image for image in images}

    def image(self, name: str) -> FileSample:
        """
        Return an image of the split.

        Raises:
            DataError: it is not there, or damaged.

        """
        if name not in self.images:
            msg = (
                f'image {name} of {self.options.root} cannot be opened on {self.worker}: all '
                'workers need the same data set at the same place'
            )
            raise DataError(msg)
        return self.images[name]

    def close(self) -> None:
        """Free the memory of the model."""
        self._stack.close()


def measure_images(tools: EvaluationTools, unit: Unit) -> Outcome:
    """
    Measure images.

    Args:
        tools: of the worker.
        unit: `work['images']` lists `input`, `name` and `slot`, the file of its counts, of each.

    """

    def measure(record: Record, known: object) -> None:
        image = tools.image(record.name)
        results = Evaluator(len(tools.segmenter.bundle.classes), StageClock())
        # Every image comes once: room for one with its labels.
        with image_io.cache.limited(4 * image.size[0] * image.size[1]):
            tools.measurer.measure(image, tools.dataset, results)
        text = {
            'counts': counts_of(results),
            'peak_memory_mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            'provenance': tools.segmenter.provenance,
        }
        write_text(tools.options.folder / record.slot, json.dumps(text))
        record.outputs = [record.slot]

    return try_images(tools, unit, MEASURED, measure)
