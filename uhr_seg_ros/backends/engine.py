# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""The `Engine` protocol, which every back end implements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

#: Shape of a tensor; a dimension that is only known at run time is None.
Shape = tuple[int | None, ...]


class Engine(Protocol):
    """
    One opened graph on one back end.

    Attributes:
        name: name of the back end, such as `onnxruntime`.
        input_shapes: tensor name -> shape.
        output_shapes: tensor name -> shape.
        keeps_memory: whether what a run takes stays for the next one. A back end whose memory
            does not grow with the inputs may not look at it.

    """

    keeps_memory: bool
    name: str
    input_shapes: Mapping[str, Shape]
    output_shapes: Mapping[str, Shape]

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

    def close(self) -> None:
        """Free the memory; the engine is not used afterwards."""
        ...
