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

"""What the handlers of units work with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
import os
from pathlib import Path
import socket
from time import perf_counter, process_time, time
from typing import Any, Generic, TypeVar

from uhr_seg_ros.fleet.options import BatchOptions, JobOptions
from uhr_seg_ros.fleet.units import Record
from uhr_seg_ros.pipelines.segmenter import Segmenter

Options = TypeVar('Options', bound=JobOptions)


@dataclass
class Tools(Generic[Options]):
    """
    A worker's model and options.

    Attributes:
        options: of the batch, or whatever the job is.
        segmenter: with the bundle, opened once.
        worker: name of the worker for people: host and process.

    """

    options: Options
    segmenter: Segmenter
    worker: str = field(default_factory=lambda: f'{socket.gethostname()}:{os.getpid()}')

    def output(self, path: Path) -> str:
        """Return a result as records name it."""
        return os.path.relpath(path, self.options.folder)

    def has(self, outputs: list[str]) -> bool:
        """Tell if results of an earlier run are there."""
        return all((self.options.folder / each).exists() for each in outputs)

    @contextmanager
    def timed(self, record: Record) -> Iterator[Record]:
        """Note in a record who did it, on what, and how long the block took."""
        start, start_cpu = perf_counter(), process_time()
        yield record
        record.cpu_seconds = round(process_time() - start_cpu, 4)
        record.seconds = round(perf_counter() - start, 4)
        record.finished = round(time(), 3)
        record.worker, record.backend = self.worker, self.segmenter.backend

    def close(self) -> None:
        """Free the memory of the model."""
        self.segmenter.close()


def open_batch(options: Mapping[str, Any]) -> Tools[BatchOptions]:
    """Open what units of a batch need, of its options as a dict."""
    chosen = BatchOptions(**options)
    return Tools(chosen, chosen.open_segmenter())
