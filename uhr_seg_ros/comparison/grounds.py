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
Leave one ground out in turn: the figure of a recipe that no choice has seen.

Images of the same ground are no independent examples, and images that a recipe was chosen on tell
nothing of new ones. So every recipe is trained once without each ground, and measured on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from uhr_seg_ros.comparison.frame_times import FrameTime, REEXPORT_HINT
from uhr_seg_ros.comparison.plan import Plan, Size, Variant, without_ground
from uhr_seg_ros.comparison.running import Comparison
from uhr_seg_ros.core.config_reader import read_json
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.data.dataset import Dataset


@dataclass(frozen=True)
class LeaveOneGroundOut:
    """
    Work through a plan with grounds in a folder, one `Comparison` per ground.

    Attributes:
        plan: What is compared; it has grounds.
        root: Folder of the data set.
        output: Where everything goes: ``GROUND/VARIANT/SEED/``.
        deadline: Time of ``monotonic`` at which to stop.
        also: Other data sets -> their folders.
    """

    plan: Plan
    root: Path
    output: Path
    deadline: float
    also: Mapping[str, Path] = field(default_factory=dict)

    def run(self) -> None:
        """
        Do whatever is not done yet: all variants without a ground, then without the next one.

        Whenever it stops, most runs are those of all variants. Times are taken after the first
        ground, of the networks trained without it.

        Raises:
            OutOfTimeError: Call it again to go on.
            ConfigError: A command failed; names it.
        """
        for seed in self.plan.seeds:
            for ground in self.plan.grounds:
                for variant in self.plan.variants:
                    self.of(ground, variant, seed).run()
                if self.plan.timed:
                    self.measure()

    def measure(self) -> None:
        """Take the times of the networks trained without the first ground."""
        self.without(next(iter(self.plan.grounds))).measure()

    def without(self, ground: str) -> Comparison:
        """Return the runs of all variants without a ground, as a comparison."""
        measured = self.plan.grounds[ground]
        variants = tuple(without_ground(each, ground, measured) for each in self.plan.variants)
        run = replace(self.plan, variants=variants, timed=False)
        folder = self.output / ground
        return Comparison(run, self.root, measured, folder, self.deadline, also=self.also)

    def of(self, ground: str, variant: Variant, seed: int) -> Comparison:
        """Return the one run of a variant without a ground, as a comparison."""
        whole = self.without(ground)
        variants = (without_ground(variant, ground, whole.split),)
        return replace(whole, plan=replace(whole.plan, variants=variants, seeds=(seed,)))

    def runs(self, variant: Variant) -> Iterator[tuple[str, int, Path]]:
        """Yield ground, seed and folder of every run of a variant."""
        for seed in self.plan.seeds:
            for ground in self.plan.grounds:
                yield ground, seed, self.of(ground, variant, seed).folder(variant, seed)

    def figures(self, variant: Variant) -> list[dict[str, Any]]:
        """
        Read what was measured of a variant.

        Returns:
            Per run its ``ground`` and ``seed``, ``figures`` as ``uhr_seg evaluate`` writes them,
            and ``also``: data set -> the same of it. Runs that are not done are left out.
        """
        found = []
        for ground, seed, folder in self.runs(variant):
            if not (folder / 'figures.json').is_file():
                continue
            also = {
                name: read_json(folder / f'{name}.json', ConfigError, REEXPORT_HINT)
                for name in self.plan.also
                if (folder / f'{name}.json').is_file()
            }
            own = read_json(folder / 'figures.json', ConfigError, REEXPORT_HINT)
            found.append({'ground': ground, 'seed': seed, 'figures': own, 'also': also})
        return found

    def times(self, variant: Variant) -> dict[Size, FrameTime]:
        """Read the time of a frame of each size; empty where none was taken yet."""
        first = self.without(next(iter(self.plan.grounds)))
        return first.times(variant) if self.plan.timed else {}

    def done(self) -> str:
        """Return how much of the plan is done."""
        plan = self.plan
        counts = [len(self.figures(variant)) for variant in plan.variants if not variant.elsewhere]
        done, total = sum(counts), len(counts) * len(plan.seeds) * len(plan.grounds)
        return f'{done} of {total} runs are done, the same command goes on: {self.output}'


def check_grounds(plan: Plan, dataset: Dataset) -> None:
    """
    Refuse grounds that are not those of the data set: one that is left out leaks.

    Raises:
        ConfigError: Names what is missing or unknown.
    """
    known, given = set(dataset.grounds()), set(plan.grounds)
    if known != given:
        msg = (
            f'field grounds has {", ".join(sorted(given))}, expected all of '
            f'{", ".join(sorted(known))}, the grounds of {dataset.name} in {dataset.root}'
        )
        raise ConfigError(msg)
