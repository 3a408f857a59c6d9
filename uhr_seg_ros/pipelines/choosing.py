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
What a bundle runs on where the user leaves it to us: `auto` as a back end or as a precision.

A GPU in fp16, then in fp32, which still is many times faster than a CPU, then the CPU.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from uhr_seg_ros.backends.options import EngineOptions, WIDTHS
from uhr_seg_ros.backends.registry import BACKENDS, REFERENCE, select_backend
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.cuda_driver import Driver, DriverMissingError
from uhr_seg_ros.pipelines.pipeline import InferencePipeline, TilingOptions
from uhr_seg_ros.pipelines.registry import open_pipeline
from uhr_seg_ros.pipelines.verification import RefusedError


def needs_one_thread(backend: str) -> bool:
    """Tell if what may be chosen belongs to the thread that opens it, as all of CUDA does."""
    if backend != 'auto':
        return select_backend(backend, EngineOptions())[0] != REFERENCE
    try:
        Driver()
    except DriverMissingError:  # so `auto` will not choose a GPU
        return False
    return True


class Choice(NamedTuple):
    """Something to run on: the back end as a user writes it, and one of `PRECISIONS`."""

    backend: str
    precision: str

    def __str__(self) -> str:
        return self.backend if self.precision == 'auto' else f'{self.backend} in {self.precision}'


def list_choices(bundle: Bundle, backend: str, precision: str) -> list[Choice]:
    """
    List what to try one after the other, the fastest first.

    Args:
        bundle: the model.
        backend: as the user writes it, or `auto`.
        precision: one of `PRECISIONS`.

    Returns:
        One choice at least; one only where the user chose both.

    Raises:
        EngineError: the back end is unknown.

    """
    if backend != 'auto':
        wider = _wider(bundle, backend, precision) if precision == 'auto' else []
        return [Choice(backend, each) for each in (precision, *wider)]
    *faster, last = BACKENDS
    choices = [
        Choice(name, each)
        for name in faster
        for each in (precision, *_wider(bundle, name, precision))
    ]
    return [*choices, Choice(last, precision)]


def _wider(bundle: Bundle, backend: str, precision: str) -> list[str]:
    """List the precisions of a kind on a back end that are wider, the narrowest first."""
    name, _ = select_backend(backend, EngineOptions())
    entry = bundle.kind.pipelines.get(name)
    allowed = entry.precisions if entry else ()
    if precision == 'auto' and allowed:
        precision = allowed[0]
    wider = WIDTHS[: WIDTHS.index(precision)] if precision in WIDTHS else ()
    return [each for each in reversed(wider) if each in allowed]


class Chooser:
    """
    Opens the first choice that works, and the next one where engines are refused later.

    Args:
        bundle: the model.
        backend: as the user writes it, or `auto`.
        tiling: how large a piece of a frame the detail branch gets at a time.
        options: of the engines.
        input_size: height and width, px, that engines are built for at once; or None.

    Attributes:
        chosen: what was opened last.

    Raises:
        EngineError: the back end is unknown.

    """

    def __init__(
        self,
        bundle: Bundle,
        backend: str,
        tiling: TilingOptions,
        options: EngineOptions,
        input_size: tuple[int, int] | None,
    ) -> None:
        self._bundle, self._tiling, self._options = bundle, tiling, options
        self._input_size = input_size
        self._left = list_choices(bundle, backend, options.precision)
        self._wanted = self.chosen = self._left[0]
        self._reasons: list[str] = []

    @property
    def fallback(self) -> str:
        """Why this is not what was wanted first; empty if it is."""
        if not self._reasons:
            return ''
        reasons = '; '.join(self._reasons)
        if self.chosen.backend == self._wanted.backend:
            return f'{self.chosen.backend} computes in {self.chosen.precision}: {reasons}'
        return f'{self._wanted.backend} is not used: {reasons}'

    @property
    def has_other_backend(self) -> bool:
        """Whether a back end is left beside the one that was opened last."""
        return any(each.backend != self.chosen.backend for each in self._left)

    def open(self) -> InferencePipeline:
        """
        Open the next choice that works.

        Raises:
            UhrSegError: none is left that does; the error of the last one.

        """
        while True:
            self.chosen = self._left.pop(0)
            try:
                return self._open_chosen()
            except Exception as err:  # whatever it is, something else may run
                self.pass_over(err)

    def pass_over(self, error: Exception) -> None:
        """
        Leave what is chosen, for this reason.

        Raises:
            Exception: this one, if nothing else is left.

        """
        if not isinstance(error, RefusedError):  # a wider precision would fail in the same way
            self._left = [each for each in self._left if each.backend != self.chosen.backend]
        if not self._left:
            raise error
        self._reasons.append(str(error) or type(error).__name__)
        if isinstance(error, RefusedError):
            self._options.report(f'going on with {self._left[0]}: {error}')

    def _open_chosen(self) -> InferencePipeline:
        options = replace(self._options, precision=self.chosen.precision)
        pipeline = open_pipeline(self._bundle, self.chosen.backend, self._tiling, options)
        try:
            if self._input_size is not None:
                pipeline.prepare(self._input_size)
        except Exception:
            pipeline.close()
            raise
        return pipeline
