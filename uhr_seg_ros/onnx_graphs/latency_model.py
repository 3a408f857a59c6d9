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
What int8 saves on a CPU, and what the conversions around it cost.

The figures are ms of one core of a Xeon with AVX512-VNNI and AMX under ONNX Runtime 1.31, per
million values or per thousand million multiply-adds. Only their ratios matter: from half to twice
the speed of a conversion, and from two thirds to one and a half times the gain of a convolution,
the same nodes are chosen. Where int8 is exact, what is chosen so is then measured, run by run,
with its borders (`quantization/int8_weighing.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
import math

from uhr_seg_ros.onnx_graphs.int8_nodes import Int8Nodes

#: What a convolution saves per 10^9 multiply-adds, ms.
SAVED_PER_GMAC = 6.0
#: What others save per 10^6 values of their result, ms.
SAVED_PER_MILLION = {'Add': 0.4, 'Concat': 0.4, 'Resize': 0.9}
#: Quantizing 10^6 values and putting their channels last, and the way back, ms.
ENTERING, LEAVING = 0.75, 1.2


class LatencyModel:
    """
    Estimate what a choice of int8 nodes gains.

    Args:
        nodes: of the graph.
        sizes: number of values of every activation, for one size of the input.

    """

    def __init__(self, nodes: Int8Nodes, sizes: Mapping[str, int]) -> None:
        self._nodes, self._sizes = nodes, sizes

    def gain(self, chosen: Collection[str]) -> float:
        """Estimate what int8 saves, conversions deducted, ms."""
        nodes = self._nodes
        entering = {tensor for name in chosen for tensor in nodes.inputs(name)}
        leaving = {nodes.result(name) for name in chosen if nodes.leaves(name, chosen)}
        converted = ENTERING * self._millions(entering - nodes.results(chosen))
        return sum(map(self._saved, chosen)) - converted - LEAVING * self._millions(leaving)

    def best_of(self, names: Collection[str]) -> set[str]:
        """Take single nodes or whole runs out of a choice as long as that gains."""
        best = self._nodes.joined(names)
        most = self.gain(best)
        while smaller := max(self._smaller(best), key=self.gain, default=set()):
            if self.gain(smaller) <= most:
                break
            best, most = smaller, self.gain(smaller)
        return best if most > 0 else set()

    def _smaller(self, chosen: set[str]) -> Iterator[set[str]]:
        for name in sorted(chosen):
            yield self._nodes.joined(chosen - {name})
        for run in self.runs(chosen):
            yield self._nodes.joined(chosen - run)

    def runs(self, chosen: Collection[str]) -> Iterator[set[str]]:
        """Split a choice into runs of nodes that hand values to each other."""
        left = set(chosen)
        while left:
            run: set[str] = set()
            more = {min(left)}
            while more:
                run |= more
                left -= more
                more = set(filter(self._touches(run), left))
            yield run

    def _touches(self, run: Collection[str]) -> Callable[[str], bool]:
        """Return a test: whether a node reads a run, or is read by it."""
        nodes = self._nodes
        given = nodes.results(run)
        read = {tensor for name in run for tensor in nodes.inputs(name)}
        return lambda name: nodes.result(name) in read or not given.isdisjoint(nodes.inputs(name))

    def _saved(self, name: str) -> float:
        values = self._millions([self._nodes.result(name)])
        operator = self._nodes.operator(name)
        if operator != 'Conv':
            return SAVED_PER_MILLION[operator] * values
        return SAVED_PER_GMAC * values * math.prod(self._nodes.kernel(name)[1:]) / 1e3

    def _millions(self, tensors: Collection[str]) -> float:
        return sum(self._sizes[tensor] for tensor in tensors) / 1e6
