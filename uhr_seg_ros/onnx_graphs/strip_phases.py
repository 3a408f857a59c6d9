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
A graph of one image cut into phases, each of which may run in horizontal strips.

Only sums over all positions see the whole frame: those of linear attention. Before and after
them, rows of a result depend on a few rows around them. A phase computes one map, or such sums,
from maps that are kept whole; which ones are kept decides how many rows neighboring strips both
compute, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
import math

import numpy as np
import onnx
from onnx import helper, numpy_helper

from uhr_seg_ros.onnx_graphs.cpu_rewrites import any_size, PROBE
from uhr_seg_ros.onnx_graphs.folding import replace_nodes
from uhr_seg_ros.onnx_graphs.graph_view import GraphView
from uhr_seg_ros.onnx_graphs.row_reach import (
    layouts,
    map_rows,
    needed_rows,
    Reach,
    ROW_AXES,
)

#: Input of a phase that sums: first row and end of what a strip adds, in rows of what is summed.
INTERIOR = 'interior_rows'


@dataclass(frozen=True)
class Phase:
    """
    A part of a graph.

    Attributes:
        model: takes every height and width, and `INTERIOR` where it sums.
        inputs: maps that it reads, whole or summed.
        outputs: what it makes.
        sums: whether the outputs of all strips are to be added, not put below each other.
        unit: px of the frame by which strips may be cut.
        reach: units that a strip needs above and below.
        strides: map -> px of the frame per row; without what has no rows.
        row_axes: map -> its axis of rows.
        row_bytes: of the largest step, per row and column of the frame.

    """

    model: onnx.ModelProto
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    sums: bool
    unit: int
    reach: Reach
    strides: Mapping[str, int]
    row_axes: Mapping[str, int]
    row_bytes: float


def phases_of(model: onnx.ModelProto) -> list[Phase]:
    """
    Cut a graph.

    Args:
        model: as `rewrite_for_cpu` gives it.

    Returns:
        the phases, in their order.

    Raises:
        UnknownGraph: the graph cannot be cut.

    """
    graph = _Rows(model)
    outputs = [tensor.name for tensor in model.graph.output]
    kept = [*graph.kept(outputs), *outputs]
    phases: list[Phase] = []
    done: set[str] = set(graph.view.inputs)
    groups: dict[object, list[str]] = {}
    for name in kept:
        sources = graph.slice_back([name], {*kept} - {name} | graph.view.inputs)[1]
        key = name if name in graph.layouts else ('sums', *sources)
        groups.setdefault(key, []).append(name)
    for targets in groups.values():
        phases.append(graph.phase(targets, done))
        done.update(targets)
    return phases


class _Rows:
    """A graph, where its rows lie, and what its tensors depend on."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model, self.view = model, GraphView(model)
        self.layouts = layouts(self.view)
        self.rows = map_rows(self.view, self.layouts)
        self.order = {
            name: place for place, node in enumerate(self.view.nodes) for name in node.output
        }
        self._levels: dict[str, int] = {}
        self._passed: dict[str, frozenset[str]] = {}
        self.sums: list[str] = []
        for node in self.view.nodes:
            self._look_at(node)

    def _look_at(self, node: onnx.NodeProto) -> None:
        """
        Find out by how many sums a node's results are separated from the image.

        With that, which tensors of the same level every path to them passes.
        """
        levels = [self._levels.get(name, 0) for name in node.input]
        level = max(levels, default=0)
        maps = [name for name in node.input if name in self.layouts]
        if maps and node.output[0] not in self.layouts:
            self.sums += node.output
            level += 1
        near = [
            self._passed[x] for x in maps if self._levels.get(x, 0) == level and x in self._passed
        ]
        common = frozenset.intersection(*near) if near else frozenset()
        for name in node.output:
            self._levels[name] = level
            if name in self.layouts:
                self._passed[name] = common | {name}

    def kept(self, outputs: list[str]) -> list[str]:
        """Choose which tensors are kept whole between phases, in an order to make them in."""
        waists = set(self.sums)
        for name in self.sums:
            waists |= self._narrowest(self._summed_with(name))
        last = max(self._levels[name] for name in outputs)
        if waists and {self._levels[name] for name in outputs} == {last}:
            waists |= self._narrowest(outputs)
        trunk, _ = self.slice_back(waists, self.view.inputs)
        made = {name for node in trunk for name in node.output}
        for node in self.view.nodes:
            if node.output[0] not in made:
                waists |= made & set(node.input) & set(self.layouts)
        waists |= self._before_resizes() | self._narrow_maps()
        waists = {self._before_pair(name) for name in waists} - set(outputs) - self.view.inputs
        return sorted(waists, key=lambda name: self.order[name])

    def _narrowest(self, names: Iterable[str]) -> set[str]:
        """Return the smallest map that every path to some maps passes; of equals, the last."""
        common = frozenset.intersection(*(self._passed[name] for name in names))
        kept = [name for name in common if self.layouts[name] in ROW_AXES]
        key = lambda name: (self.bytes(name), -self.order[name])  # noqa: E731
        return {min(kept, key=key)} if kept else set()

    def _summed_with(self, name: str) -> list[str]:
        """Return what a sum is over, and all others that start from a map as small as its own."""
        own = [each for each in self.view.makers[name].input if each in self.layouts]
        (waist,) = self._narrowest(own) or own[:1]
        together = list(own)
        for other in self.sums:
            if self._levels[other] == self._levels[name]:
                maps = [each for each in self.view.makers[other].input if each in self.layouts]
                common = self._narrowest([*together, *maps])
                if common and self.bytes(min(common)) <= self.bytes(waist):
                    together += maps
        return together

    def _before_resizes(self) -> set[str]:
        """Return what is enlarged: what follows is computed at the larger size alone."""
        narrow = {name for node in self._narrow_nodes() for name in node.input}
        return {
            node.input[0]
            for node in self.view.nodes
            if node.op_type == 'Resize' and node.output[0] not in narrow
        }

    def _narrow_maps(self) -> set[str]:
        """Return maps of fewer channels than the image, such as a pyramid's: they look far."""
        return {node.output[0] for node in self._narrow_nodes()}

    def _narrow_nodes(self) -> list[onnx.NodeProto]:
        """Return what concatenates such maps, or mixes the channels of the image to one."""
        (image,) = self.view.inputs
        channels = self.view.shape(image)[1]
        return [
            node
            for node in self.view.nodes
            if self.layouts.get(node.output[0]) == 'map'
            and self.view.shape(node.output[0])[1] < channels
            and (node.op_type == 'Concat' or image in node.input)
        ]

    def _before_pair(self, name: str) -> str:
        """Return the bytes that a map of an int8 graph is kept as."""
        maker = self.view.makers.get(name)
        if maker is not None and maker.op_type == 'DequantizeLinear':
            return maker.input[0]
        return name

    def bytes(self, name: str) -> float:
        """Return the size of a tensor per px of the frame."""
        size = onnx.helper.tensor_dtype_to_np_dtype(self.view.types[name]).itemsize
        return size * math.prod(self.view.shape(name)) / math.prod(PROBE)

    def slice_back(
        self, targets: Iterable[str], known: Iterable[str]
    ) -> tuple[list[onnx.NodeProto], tuple[str, ...]]:
        """Return the nodes that make some tensors from known ones, and which of these."""
        known, needed, used = set(known), set(targets), set()
        nodes = []
        for node in reversed(self.view.nodes):
            if needed & set(node.output):
                nodes.append(node)
                used |= known & set(node.input)
                needed |= set(node.input) - known
        return nodes[::-1], tuple(sorted(used))

    def phase(self, targets: list[str], known: set[str]) -> Phase:
        """Cut out what makes some tensors from known ones."""
        nodes, inputs = self.slice_back(targets, known)
        sums = targets[0] not in self.layouts
        reach = self._reach(nodes, [] if sums else targets, inputs, sums=sums)
        strides = {
            name: PROBE[0] // self.rows[name]
            for name in (*inputs, *targets)
            if name in self.layouts
        }
        touched = {name for node in nodes for name in (*node.input, *node.output)}
        unit = max(PROBE[0] // self.rows[name] for name in touched & set(self.layouts))
        sizes = [
            sum(self.bytes(x) for x in {*n.input, *n.output} & set(self.layouts)) for n in nodes
        ]
        up = max((-(-reach[name][0] * strides[name] // unit) for name in reach), default=0)
        down = max((-(-reach[name][1] * strides[name] // unit) for name in reach), default=0)
        return Phase(
            any_size_part(self, nodes, inputs, targets, sums=sums),
            inputs,
            tuple(targets),
            sums,
            unit,
            (max(up, 0), max(down, 0)),
            strides,
            {n: ROW_AXES[self.layouts[n]] for n in strides},
            max(sizes),
        )

    def _reach(
        self, nodes: list[onnx.NodeProto], targets: list[str], inputs: Iterable[str], *, sums: bool
    ) -> dict[str, Reach]:
        """Return how many rows of each input are needed above and below a strip's own."""
        needs: dict[str, Reach] = dict.fromkeys(targets, (0, 0))
        for node in reversed(nodes):
            wanted = [needs[name] for name in node.output if name in needs]
            if sums and node.output[0] not in self.layouts:
                wanted.append((0, 0))
            if not wanted:
                continue
            reach = max(up for up, _ in wanted), max(down for _, down in wanted)
            for name in node.input:
                if name in self.layouts:
                    up, down = needed_rows(self.view, node, reach)
                    before = needs.get(name, (up, down))
                    needs[name] = max(before[0], up), max(before[1], down)
        return {name: needs[name] for name in inputs if name in needs}


def any_size_part(
    graph: _Rows,
    nodes: list[onnx.NodeProto],
    inputs: Iterable[str],
    targets: Iterable[str],
    *,
    sums: bool,
) -> onnx.ModelProto:
    """Return nodes as a graph of its own that takes every height and width."""
    view = graph.view
    part = onnx.ModelProto()
    part.CopyFrom(graph.model)
    for field, names in (('input', inputs), ('output', targets)):
        part.graph.ClearField(field)
        getattr(part.graph, field).extend(
            helper.make_tensor_value_info(name, view.types[name], view.shape(name))
            for name in names
        )
    part = any_size(replace_nodes(part, nodes))
    for tensor in part.graph.input:
        _free(tensor, graph.layouts.get(tensor.name))
    return _summed_inside(part) if sums else part


def _free(tensor: onnx.ValueInfoProto, layout: str | None) -> None:
    """Let the height and width of an input be any."""
    if layout in ROW_AXES:
        for axis, name in ((0, 'rows'), (1, 'columns')):
            tensor.type.tensor_type.shape.dim[
                ROW_AXES[layout] + axis
            ].dim_param = f'{tensor.name}_{name}'


def _summed_inside(model: onnx.ModelProto) -> onnx.ModelProto:
    """Cut maps down to the rows that a strip adds, before they become rows of positions."""
    nodes = []
    for node in model.graph.node:
        if node.op_type == 'Reshape':
            inside = f'{node.output[0]}_inside'
            cut = [node.input[0], f'{INTERIOR}_first', f'{INTERIOR}_end', f'{INTERIOR}_axis']
            nodes.append(helper.make_node('Slice', cut, [inside], inside))
            node.input[0] = inside
        nodes.append(node)
    parts = [helper.make_node('Split', [INTERIOR], cut[1:3], INTERIOR, axis=0)]
    model.graph.initializer.append(numpy_helper.from_array(np.array([2]), cut[3]))
    model.graph.input.append(helper.make_tensor_value_info(INTERIOR, onnx.TensorProto.INT64, [2]))
    return replace_nodes(model, parts + nodes)
