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

"""Files of `uhr_seg benchmark`: what was measured, also where a signal came in between."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from uhr_seg_ros.benchmark.host import write_results
from uhr_seg_ros.core.interruption import note_progress, Terminated
from uhr_seg_ros.core.progress import named_bar


@contextmanager
def kept_results(
    arguments: argparse.Namespace, report: Callable[[], dict[str, Any]]
) -> Iterator[None]:
    """Write what was measured until a signal came, marked `interrupted`, where that is asked."""
    try:
        yield
    except (KeyboardInterrupt, Terminated):
        found = report()
        if found and arguments.json:
            write_results(arguments.json, {**found, 'interrupted': True})
        raise


@contextmanager
def counted_graphs(
    arguments: argparse.Namespace, step: str
) -> Iterator[Callable[[dict[str, Any], int], None]]:
    """
    Show the progress of graphs, and keep what was found until a signal comes.

    Yields:
        What is called after each graph, with the report so far and the number of all graphs.

    """
    found: dict[str, Any] = {}
    with (
        note_progress(lambda: f'{bar.n} of {bar.total or "all"} graphs done'),
        kept_results(arguments, lambda: found),
        named_bar(step, 0, unit='graph') as bar,
    ):

        def on_graph(report: dict[str, Any], total: int) -> None:
            found.update(report)
            bar.total = total
            bar.update()

        yield on_graph


def finish(arguments: argparse.Namespace, report: dict[str, Any]) -> int:
    """Write the whole report, where that is asked, and return the exit code 0."""
    if arguments.json:
        write_results(arguments.json, report)
    return 0
