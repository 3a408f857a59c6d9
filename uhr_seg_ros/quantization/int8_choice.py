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

"""Which layers of a bundle become int8: those that pay, without the most sensitive ones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.errors import BundleError
from uhr_seg_ros.onnx_graphs.quantization import Quantizer
from uhr_seg_ros.quantization.int8_trial import BRANCHES, feeds, Loss, Trial
from uhr_seg_ros.quantization.int8_weighing import weigh

#: Shows the progress over something.
Show = Callable[[Sequence[Any], str], Iterable[Any]]


@dataclass(frozen=True)
class Layer:
    """A layer: a graph, and the name of a node in it."""

    graph: str
    node: str

    def __str__(self) -> str:
        return f'{self.graph}/{self.node}'


@dataclass(frozen=True)
class Choice:
    """
    What was chosen.

    Attributes:
        int8: the layers that are int8.
        kept: the layers that would pay, but stay float32 for their loss.
        ranking: layer -> what int8 in this layer alone changes; the worst one first.
        loss: of all int8 layers together, on the tiles that were chosen by.

    """

    int8: list[Layer]
    kept: list[Layer]
    ranking: dict[Layer, Loss]
    loss: Loss


class Int8Choice:
    """
    Finds and writes the int8 graphs of a bundle.

    Args:
        bundle: of kind `two_branch`.
        show: shows the progress over a sequence, with a description.

    Raises:
        GraphError: a graph cannot be read.

    """

    def __init__(self, bundle: Bundle, show: Show) -> None:
        self._bundle, self._show = bundle, show
        graphs = [bundle.graphs[name] for name in BRANCHES]
        self._quantizers = {each.name: Quantizer(each.read(), each.path) for each in graphs}
        self.candidates = [
            Layer(graph, node)
            for graph, quantizer in self._quantizers.items()
            for node in quantizer.candidates
        ]

    def calibrate(self, tiles: Sequence[np.ndarray]) -> None:
        """Equalize channels and find ranges on tiles (h, w, 3) uint8 BGR."""
        for name, quantizer in self._quantizers.items():
            steps = {'equalising': quantizer.equalize, 'calibrating': quantizer.calibrate}
            for text, step in steps.items():
                step(feeds(self._bundle, name, self._show(tiles, f'{text} {name}')))

    def choose(self, trial: Trial, least: float, keep: Collection[Layer] = ()) -> Choice:
        """
        Keep the most sensitive layers in float32 until the masks agree.

        Every layer that pays is made int8 alone and ranked by the pixels that change their class.

        Args:
            trial: on tiles that were not calibrated with.
            least: share of the pixels that have to get the class that they get in float32.
            keep: layers that stay float32 in any case.

        Raises:
            BundleError: nothing is left to gain.

        """
        possible = [layer for layer in self.candidates if layer not in keep]
        ranking = self._rank(self._paying(possible), trial)
        worst = list(ranking)
        # Losses fall, by and large, with every layer that is kept: the fewest are found by halves.
        low, high = 0, len(worst)
        found: dict[int, Loss] = {}
        while low < high or low not in found:
            count = (low + high) // 2
            found[count] = self._loss(self._without(possible, worst[:count]), trial)
            if found[count].agreement >= least:
                high = count
            else:
                low = count + 1
        layers = self._without(possible, worst[:low])
        if not layers:
            msg = (
                f'no layer of bundle {self._bundle.path} gains by int8 while {least:.3%} of the '
                'pixels keep their class: leave it in fp32, or accept a smaller --agreement'
            )
            raise BundleError(msg)
        return Choice(layers, worst[:low], ranking, found[low])

    def weigh(
        self, choice: Choice, trial: Trial, least: float, keep: Collection[Layer] = ()
    ) -> Choice:
        """
        Measure, on this machine, which runs of layers pay with their borders; see `weigh`.

        Args:
            choice: what `choose` gave.
            trial: as for `choose`.
            least: as for `choose`.
            keep: layers that stay float32 in any case.

        Raises:
            BundleError: none pays.

        """
        layers = list(choice.int8)
        for graph in self._show(list(self._quantizers), 'timing runs of layers'):
            others = [layer for layer in layers if layer.graph != graph]
            layers = [*others, *self._weighed(graph, layers, others, (choice, trial, least, keep))]
        if not layers:
            msg = (
                f'no layer of bundle {self._bundle.path} is faster in int8 on this machine, the '
                'conversions at its borders counted: leave it in fp32'
            )
            raise BundleError(msg)
        return replace(choice, int8=layers, loss=self._loss(layers, trial))

    def _weighed(
        self,
        graph: str,
        layers: Collection[Layer],
        others: Collection[Layer],
        given: tuple[Choice, Trial, float, Collection[Layer]],
    ) -> list[Layer]:
        choice, trial, least, keep = given
        quantizer = self._quantizers[graph]
        fixed = {each.node for each in (*choice.kept, *keep) if each.graph == graph}

        def gain(before: Collection[str], after: Collection[str]) -> float:
            with TemporaryDirectory(prefix='uhr_seg_') as folder:
                paths = [Path(folder, f'{place}.onnx') for place in ('before', 'after')]
                for names, path in zip((before, after), paths, strict=True):
                    quantizer.write(names, path)
                return trial.gain(graph, *paths)

        def agrees(names: Collection[str]) -> bool:
            found = [*others, *(Layer(graph, name) for name in names)]
            return self._loss(found, trial).agreement >= least

        chosen = [each.node for each in layers if each.graph == graph]
        free = [name for name in quantizer.candidates if name not in fixed]
        return [Layer(graph, name) for name in weigh(quantizer, chosen, free, gain, agrees)]

    def write(self, layers: Iterable[Layer], directory: Path) -> dict[str, Path]:
        """Write the graphs with int8 layers as `<graph>_int8.onnx`; return their paths."""
        nodes: dict[str, list[str]] = {}
        for layer in layers:
            nodes.setdefault(layer.graph, []).append(layer.node)
        paths = {}
        for graph, names in nodes.items():
            paths[graph] = directory / f'{graph}_int8.onnx'
            self._quantizers[graph].write(names, paths[graph])
        return paths

    def _paying(self, layers: Collection[Layer]) -> list[Layer]:
        return [
            Layer(graph, node)
            for graph, quantizer in self._quantizers.items()
            for node in quantizer.profitable([each.node for each in layers if each.graph == graph])
        ]

    def _without(self, layers: Collection[Layer], kept: Collection[Layer]) -> list[Layer]:
        return self._paying([layer for layer in layers if layer not in kept])

    def _rank(self, layers: Sequence[Layer], trial: Trial) -> dict[Layer, Loss]:
        losses = {
            layer: self._loss([layer], trial)
            for layer in self._show(layers, 'measuring each layer')
        }
        return dict(sorted(losses.items(), key=lambda each: _badness(each[1]), reverse=True))

    def _loss(self, layers: Iterable[Layer], trial: Trial) -> Loss:
        with TemporaryDirectory(prefix='uhr_seg_') as folder:
            return trial.loss(self.write(layers, Path(folder)))


def _badness(loss: Loss) -> tuple[float, float]:
    return 1.0 - loss.agreement, loss.logit_error


def matching(layers: Iterable[Layer], prefix: str) -> list[Layer]:
    """Return the layers of a graph (`detail`), of a block, or of a name (`detail/region/...`)."""
    found = [layer for layer in layers if f'{layer}/'.startswith(f'{prefix.rstrip("/")}/')]
    if not found:
        msg = (
            f'no layer that could be int8 is called {prefix!r}: name a graph '
            f'({", ".join(BRANCHES)}) or the beginning of a name that uhr_seg quantize prints'
        )
        raise BundleError(msg)
    return found
