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

"""Time per stage and peak memory of the segmenter at one size, in fresh processes."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
import json
from statistics import median
import subprocess
import sys
from typing import Any

import numpy as np

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.benchmark.intervals import describe_interval, join_spreads
from uhr_seg_ros.core.bundle import DEFAULT_MEMORY_LIMIT_MB
from uhr_seg_ros.core.errors import ProcessError, UhrSegError
from uhr_seg_ros.core.memory import peak_resident_bytes, tune_malloc
from uhr_seg_ros.core.subprocesses import python_child
from uhr_seg_ros.pipelines.frame_budget import FrameBudget
from uhr_seg_ros.pipelines.pipeline import TilingOptions
from uhr_seg_ros.pipelines.refinement.refine import Refinement
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.synthetic.scenes import generate_scene

SCENE_SEED = 21

# A scene of this side is repeated over the frame: what is drawn hardly matters for the time.
_SCENE_SIDE = 1024


@dataclass(frozen=True)
class StageOptions:
    """
    What to measure.

    Attributes:
        bundle: folder or name.
        size: height and width of the frame.
        repeat: frames that count; one more comes before them.
        backend: engine back end.
        precision: of the engines; see `EngineOptions`.
        threads: of the engines, 0 = one per core.
        memory_limit_mb: 0 = none.
        budget_ms: what a frame may take, as if nothing were known of earlier ones; 0 = no limit.
        refine: what boundaries are refined by, of `METHODS`.

    """

    bundle: str
    size: tuple[int, int]
    repeat: int
    backend: str = 'auto'
    precision: str = 'auto'
    threads: int = 0
    memory_limit_mb: int = DEFAULT_MEMORY_LIMIT_MB
    budget_ms: float = 0.0
    refine: str = 'none'


def measure(options: StageOptions) -> dict[str, Any]:
    """
    Measure in a child process, whose peak memory is the segmenter's and nothing else.

    Returns:
        `first_ms`: the first frame; `stage_ms`: stage -> min, median, max of the others, with
        `total`; `peak_mb`: peak resident memory; `start_mb`: the same before the bundle is
        loaded; `provenance` of the segmenter; `detail_share`: median of the others.

    Raises:
        ProcessError: the child failed.

    """
    command = python_child('uhr_seg_ros.benchmark.stages', json.dumps(asdict(options)))
    child = subprocess.run(**command, capture_output=True, text=True, check=False)
    if child.returncode:
        last = (child.stderr.strip().splitlines() or [f'exit code {child.returncode}'])[-1]
        msg = f'measuring {options.size[1]}x{options.size[0]} failed: {last}'
        raise ProcessError(msg)
    return json.loads(child.stdout)


def join_processes(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """
    Join what `measure` gives for processes that ran one after the other, at least one.

    Returns:
        What `measure` gives, where `first_ms` is a median, the memory the largest, and `stage_ms`
        has `low` and `high` around each median, see `join_spreads`; `interval`: what they are.

    """
    return {
        **results[0],
        'first_ms': median(result['first_ms'] for result in results),
        'stage_ms': join_spreads([result['stage_ms'] for result in results]),
        'interval': describe_interval(len(results)),
        'peak_mb': max(result['peak_mb'] for result in results),
        'start_mb': max(result['start_mb'] for result in results),
    }


def measure_here(options: StageOptions) -> dict[str, Any]:
    """Measure in this process; see `measure`."""
    tune_malloc()
    image = benchmark_image(options.size)
    start_mb = _peak_mb()
    runs: list[dict[str, float]] = []
    shares: list[float] = []
    with Segmenter(
        options.bundle,
        options.backend,
        TilingOptions(options.memory_limit_mb),
        input_size=options.size,
        options=EngineOptions(threads=options.threads, precision=options.precision),
    ) as segmenter:
        budget = FrameBudget(options.budget_ms) if options.budget_ms else None
        refinement = None if options.refine == 'none' else Refinement()
        for _ in range(options.repeat + 1):
            if budget is not None:
                budget.forget()  # the same frame over and over would need no looking
            result = segmenter(image, budget=budget, refinement=refinement)
            times = result.stage_times
            runs.append({**times, 'total': sum(times.values())})
            shares.append(result.detail_share)
        provenance = {**segmenter.provenance, 'fallback': segmenter.fallback}
    return {
        'size': list(options.size),
        'first_ms': round(runs[0]['total'], 3),
        'stage_ms': spread(runs[1:]),
        'peak_mb': _peak_mb(),
        'start_mb': start_mb,
        'provenance': provenance,
        'detail_share': round(median(shares[1:]), 4),
    }


def benchmark_image(size: tuple[int, int]) -> np.ndarray:
    """Make a frame (H, W, 3) uint8 BGR of a generated scene."""
    height, width = size
    scene = generate_scene(SCENE_SEED, _SCENE_SIDE, _SCENE_SIDE)[0]
    repeats = (-(-height // _SCENE_SIDE), -(-width // _SCENE_SIDE), 1)
    return np.ascontiguousarray(np.tile(scene, repeats)[:height, :width])


def spread(runs: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Return min, median and max of every stage that a run has; 0 ms in those that lack it."""
    stages = dict.fromkeys(stage for run in runs for stage in run)
    columns = {stage: [run.get(stage, 0.0) for run in runs] for stage in stages}
    return {
        stage: {
            'min': round(min(values), 3),
            'median': round(median(values), 3),
            'max': round(max(values), 3),
        }
        for stage, values in columns.items()
    }


def _peak_mb() -> int:
    return (peak_resident_bytes() or 0) >> 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure with the options given as JSON, and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('options', type=json.loads)
    values = parser.parse_args(arguments).options
    try:
        result = measure_here(StageOptions(**{**values, 'size': tuple(values['size'])}))
    except UhrSegError as err:
        print(err, file=sys.stderr)
        return 1
    print(json.dumps(result))
    return 0


if __name__ == '__main__':
    sys.exit(main())
