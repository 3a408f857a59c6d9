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

"""The protocols `Backend` and `Engine`, which every back end implements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from uhr_seg_ros.core.bundle import Graph

#: Shape of a tensor; a dimension that is only known at run time is None.
Shape = tuple[int | None, ...]
#: Input name -> shape that an engine is built for.
Shapes = Mapping[str, tuple[int, ...]]


class Engine(Protocol):
    """
    One opened graph on one back end.

    Attributes:
        name: name of the back end, such as `onnxruntime`.
        keeps_memory: whether what a run takes stays for the next one. A back end whose memory
            does not grow with the inputs may not look at it.

    """

    keeps_memory: bool
    name: str

    @property
    def input_shapes(self) -> Mapping[str, Shape]:
        """Tensor name -> shape."""
        ...

    @property
    def output_shapes(self) -> Mapping[str, Shape]:
        """Tensor name -> shape."""
        ...

    def provenance(self) -> dict[str, str]:
        """Return what runs the graph: `backend`, `version`, `device`, `precision`."""
        ...

    def run(
        self, feeds: Mapping[str, np.ndarray], outputs: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """
        Run the graph once.

        A back end may compute outputs that nobody asked for (ONNX Runtime does), so a graph
        has no costly output that is seldom wanted.

        Args:
            feeds: every input by name.
            outputs: names of the wanted outputs.

        Returns:
            The wanted outputs by name; the arrays belong to the caller.

        Raises:
            EngineError: an input does not fit, or the back end failed.

        """
        ...

    def forget(self) -> None:
        """Give back what earlier runs took; a back end may keep what it needs for the next one."""
        ...

    def close(self) -> None:
        """Free the memory; the engine is not used afterwards."""
        ...


class Backend(Protocol):
    """
    One runtime on one device, for the graphs of one bundle; `registry.open_backend` opens it.

    Attributes:
        name: such as `onnxruntime` or `onnxruntime:cuda`.

    """

    name: str

    def open(self, graph: Graph, shapes: Shapes) -> Engine:
        """
        Open a graph of the bundle in the precision of the options.

        Args:
            graph: graph of the bundle.
            shapes: of the inputs; a back end that takes every size at run time ignores them.

        Raises:
            BundleError: the file is not the one that was hashed.
            EngineError: the graph cannot be opened; says why.

        """
        ...

    def provenance(self) -> dict[str, str]:
        """Return what runs the graphs: `backend`, `version`, `device`, `precision`."""
        ...

    @property
    def unverified(self) -> bool:
        """Whether engines that are open were never compared with the reference."""
        ...

    def commit_engines(self, facts: Mapping[str, float]) -> None:
        """Keep the unverified engines, and how well they agree, if the back end keeps any."""
        ...

    def discard_engines(self, reason: Exception) -> None:
        """Forget the unverified engines, which could not be compared for this reason."""
        ...

    def refuse_engines(
        self, case: Mapping[str, str], reason: str, facts: Mapping[str, float]
    ) -> str:
        """
        Forget the unverified engines, because they compute something else, but not why.

        Args:
            case: what the comparison depends on beside the back end itself.
            reason: one line.
            facts: what was measured.

        Returns:
            The reason, and how to have them tried again where it is kept for the next start.

        """
        ...

    def refusal(self, case: Mapping[str, str]) -> str:
        """Return what `refuse_engines` returned at an earlier start; empty if it did not."""
        ...

    def close(self) -> None:
        """Free what the engines share, after the engines; calling it again does nothing."""
        ...
