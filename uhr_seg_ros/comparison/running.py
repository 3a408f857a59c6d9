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

"""
The steps of a comparison: train, evaluate, take the time.

Each is a command of its own process, as a user would call it, and leaves a file; a step whose
file is there is not done again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
import os
from pathlib import Path
import signal
import subprocess
from threading import Lock
from time import monotonic
from typing import Any

from uhr_seg_ros.comparison.frame_times import (
    FrameTime,
    join_times,
    read_times,
    REEXPORT_HINT,
    size_text,
)
from uhr_seg_ros.comparison.plan import Plan, Size, Variant
from uhr_seg_ros.comparison.run_configs import check_config, write_config
from uhr_seg_ros.core.bundle import MODEL_FILE
from uhr_seg_ros.core.config_reader import read_json, read_mapping
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.interruption import Terminated
from uhr_seg_ros.core.intervals import PROCESSES
from uhr_seg_ros.core.resources import available_cores
from uhr_seg_ros.core.subprocesses import python_child

#: Frames per measurement of time, after those that warm up.
REPEAT = 7


class OutOfTimeError(ConfigError):
    """The time is over before the plan is."""

    def __init__(self) -> None:
        super().__init__('the time is over: call it again to go on')


class Steps:
    """The processes of the steps that are at work; they end with whoever waits for them."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._running: set[subprocess.Popen] = set()
        self._ended = False

    def run(self, args: Sequence[str], **options: Any) -> int:
        """Run a command, with options of `Popen`; return its exit code."""
        with self._lock:
            if self._ended:
                return -signal.SIGTERM
            process = subprocess.Popen(args, **options)
            self._running.add(process)
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
        finally:
            with self._lock:
                self._running.discard(process)

    def end(self) -> None:
        """End what runs, and start nothing more."""
        with self._lock:
            self._ended = True
            for process in self._running:
                process.terminate()


@dataclass(frozen=True)
class Comparison:
    """
    Work through a plan in a folder.

    Attributes:
        plan: What is compared.
        root: Its folder.
        split: What is evaluated.
        output: Where everything goes: ``VARIANT/SEED/`` and ``VARIANT/``.
        deadline: Time of ``monotonic`` at which to stop; a training stops with a checkpoint.
        jobs: So many runs are trained side by side, each with its share of the cores; what they
            print goes to ``VARIANT/SEED/output.log``.
        also: Other data sets that recipes and the plan name -> their folders.
    """

    plan: Plan
    root: Path
    split: str
    output: Path
    deadline: float
    jobs: int = 1
    also: Mapping[str, Path] = field(default_factory=dict)
    _steps: Steps = field(default_factory=Steps, repr=False, compare=False)

    def run(self) -> None:
        """
        Do whatever is not done yet: all variants with the first seed, then with the next.

        Raises:
            OutOfTimeError: Call it again to go on.
            ConfigError: A command failed; names it.
        """
        pool = ThreadPoolExecutor(self.jobs)
        try:
            runs = [
                pool.submit(self._run_one, variant, seed)
                for seed in self.plan.seeds
                for variant in self.plan.variants
            ]
            for run in runs:
                run.result()
        except (KeyboardInterrupt, Terminated):
            self._steps.end()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
        if self.plan.timed:
            self.measure()

    def done(self) -> str:
        """Return how much of the plan is done."""
        runs = [(variant, seed) for seed in self.plan.seeds for variant in self.plan.variants]
        count = sum((self.folder(*run) / 'figures.json').is_file() for run in runs)
        return f'{count} of {len(runs)} runs are done, the same command goes on: {self.output}'

    def folder(self, variant: Variant, seed: int) -> Path:
        """Return the folder of one run."""
        return self.output / variant.folder / str(seed)

    def is_missing(self, variant: Variant, seed: int) -> bool:
        """Tell if a run has no bundle because it is made elsewhere and was not laid here."""
        return variant.elsewhere and not (self.folder(variant, seed) / 'bundle').is_dir()

    def _run_one(self, variant: Variant, seed: int) -> None:
        if self.is_missing(variant, seed):
            place = self.folder(variant, seed) / 'bundle'
            print(f'{variant.name}, seed {seed}, is left out: no bundle in {place}', flush=True)
            return
        if not variant.elsewhere:
            self.train(variant, seed)
        self.evaluate(variant, seed)
        for name in self.plan.also:
            self.evaluate_also(variant, seed, name)

    def train(self, variant: Variant, seed: int) -> None:
        """Train one variant with one seed, or go on with it."""
        folder = self.folder(variant, seed)
        config = folder / 'config.yaml'
        model = folder / 'bundle' / MODEL_FILE
        if model.is_file():
            check_config(variant, seed, config)
            # A training that was stopped leaves a bundle, too.
            provenance = read_mapping(model, ConfigError, REEXPORT_HINT).get('provenance')
            if not (isinstance(provenance, dict) and 'unfinished' in provenance):
                return
        write_config(variant, seed, config)
        run = folder / 'run'
        resume = ['--resume'] if (run / 'last.pth').is_file() else []
        minutes = (self.deadline - monotonic()) / 60
        if minutes <= 0:
            raise OutOfTimeError
        print(f'{variant.name}, seed {seed}', flush=True)
        try:
            self._call(
                folder,
                'train',
                '--config',
                config,
                '--root',
                self.root,
                '--output',
                run,
                '--output-bundle',
                folder / 'bundle',
                '--name',
                f'{variant.folder}_{seed}',
                '--minutes',
                f'{minutes:.2f}',
                *resume,
                *self._roots_of(variant),
            )
        except ConfigError as err:
            # A training that --minutes stopped ends with 1, as does one that breaks.
            if monotonic() >= self.deadline:
                raise OutOfTimeError from err
            raise

    def evaluate(self, variant: Variant, seed: int) -> None:
        """Measure the accuracy of one run."""
        folder = self.folder(variant, seed)
        side = self.plan.window
        tiles = ('--mode', 'slide', '--window', side, '--stride', side) if side else ()
        if not (folder / 'figures.json').is_file():
            self._call(
                folder,
                'evaluate',
                '--bundle',
                folder / 'bundle',
                '--split',
                self.split,
                '--dataset',
                variant.config['data']['dataset'],
                '--root',
                self.root,
                '--json',
                folder / 'figures.json',
                *tiles,
            )

    def evaluate_also(self, variant: Variant, seed: int, name: str) -> None:
        """Measure the accuracy of one run on another data set of the plan."""
        folder = self.folder(variant, seed)
        path = folder / f'{name}.json'
        if not path.is_file():
            bundle, split = folder / 'bundle', self.plan.also[name]
            data = '--dataset', name, '--root', self.also[name], '--split', split
            self._call(folder, 'evaluate', '--bundle', bundle, *data, '--json', path)

    def _roots_of(self, variant: Variant) -> list[str]:
        """Return the option that tells the folders of further data sets of a recipe."""
        names = variant.config['data'].get('also') or {}
        return [word for name in names for word in ('--also', f'{name}={self.also[name]}')]

    def measure(self) -> None:
        """
        Take the times, in rounds: a fresh process of each variant, then the next one of each.

        What slows the machine for a while slows all variants. The networks are those of the first
        seed.

        Raises:
            OutOfTimeError: Call it again to go on.
        """
        for number in range(PROCESSES):
            for variant in self.plan.variants:
                self._measure_once(variant, number)

    def _measure_once(self, variant: Variant, number: int) -> None:
        path, seed = self._time_folder(variant) / f'{number}.json', self.plan.seeds[0]
        if (
            path.is_file()
            or self._old_time_file(variant).is_file()
            or self.is_missing(variant, seed)
        ):
            return
        if monotonic() >= self.deadline:
            raise OutOfTimeError
        path.parent.mkdir(parents=True, exist_ok=True)
        self._call(
            None,
            'benchmark',
            'stages',
            '--bundle',
            self.folder(variant, seed) / 'bundle',
            *(word for size in self.plan.sizes for word in ('--size', size_text(size))),
            '--repeat',
            REPEAT,
            '--processes',
            1,
            '--backend',
            'onnxruntime',
            '--json',
            path,
        )

    def figures(self, variant: Variant) -> list[dict[str, Any]]:
        """Read what ``evaluate`` wrote for each seed; empty for what is missing."""
        seeds = [seed for seed in self.plan.seeds if not self.is_missing(variant, seed)]
        paths = [self.folder(variant, seed) / 'figures.json' for seed in seeds]
        return [read_json(path, ConfigError, REEXPORT_HINT) for path in paths]

    def times(self, variant: Variant) -> dict[Size, FrameTime]:
        """
        Read the time of a frame of each size; empty where none was taken.

        Raises:
            ConfigError: What was measured is no such file, or of other sizes.
        """
        old, folder = self._old_time_file(variant), self._time_folder(variant)
        paths = [old] if old.is_file() else sorted(folder.glob('*.json'))
        if not paths:
            return {}
        found = join_times([read_times(path) for path in paths])
        if missing := [size_text(size) for size in self.plan.sizes if size not in found]:
            place = old if old.is_file() else folder
            msg = f'{place} has no time of {", ".join(missing)}: {REEXPORT_HINT}'
            raise ConfigError(msg)
        return {size: found[size] for size in self.plan.sizes}

    def _time_folder(self, variant: Variant) -> Path:
        return self.output / variant.folder / 'time'

    def _old_time_file(self, variant: Variant) -> Path:
        """Return the file of earlier versions, which measured one variant after the other."""
        return self.output / variant.folder / 'time.json'

    def _call(self, folder: Path | None, *words: object) -> None:
        """Run a command; the folder is that of the run, None where it has the machine alone."""
        if folder is None or self.jobs == 1:
            code = self._steps.run(**python_child('uhr_seg_ros.cli', *words))
        else:
            threads = max(available_cores() // self.jobs, 1)
            environment = os.environ | {'OMP_NUM_THREADS': str(threads)}
            with (folder / 'output.log').open('a', encoding='utf-8') as log:
                child = python_child('uhr_seg_ros.cli', *words, env=environment)
                code = self._steps.run(**child, stdout=log, stderr=subprocess.STDOUT)
        if code:
            msg = f'this failed with exit code {code}: uhr_seg {" ".join(map(str, words))}'
            raise ConfigError(msg)
