# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""A TensorRT engine that takes and gives arrays of the host, for batches of up to its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from uhr_seg_ros.backends.engine import Shape
from uhr_seg_ros.core.bundle import Graph
from uhr_seg_ros.core.errors import EngineError

if TYPE_CHECKING:
    from uhr_seg_ros.backends.tensorrt.engine import TensorRTBackend


class HostEngine:
    """
    One graph of a bundle on the GPU; see `Engine`.

    Engines have fixed shapes: a smaller batch is filled up, and what that gives is left out.
    Arrays of the host are float32, whatever the engine computes in.

    Args:
        backend: opens the engine; it stays open longer than this.
        graph: graph of a bundle.
        shapes: input name -> shape; the first axis is the batch.

    Raises:
        EngineError: the engine cannot be built or gets no memory.

    """

    keeps_memory = True

    def __init__(
        self, backend: TensorRTBackend, graph: Graph, shapes: Mapping[str, tuple[int, ...]]
    ) -> None:
        self.name = backend.name
        self._backend, self._cuda = backend, backend.cuda
        self._graph = graph.name
        self._execution = backend.open(graph, shapes)
        self._tensors = {**self._execution.inputs, **self._execution.outputs}
        self._addresses: dict[str, int] = {}
        self._stream = self._cuda.stream()
        for name, tensor in self._tensors.items():
            self._addresses[name] = self._cuda.allocate(tensor.size)
        self._execution.bind(self._addresses)

    @property
    def input_shapes(self) -> dict[str, Shape]:
        """Tensor name -> shape."""
        return {name: tensor.shape for name, tensor in self._execution.inputs.items()}

    @property
    def output_shapes(self) -> dict[str, Shape]:
        """Tensor name -> shape."""
        return {name: tensor.shape for name, tensor in self._execution.outputs.items()}

    def provenance(self) -> dict[str, str]:
        """Return what runs the graph; see `Engine.provenance`."""
        return self._backend.provenance()

    def run(
        self, feeds: Mapping[str, np.ndarray], outputs: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """
        Run once; see `Engine.run`.

        Raises:
            EngineError: an input does not fit, or the back end failed.

        """
        count = max(len(values) for values in feeds.values())
        for name, tensor in self._execution.inputs.items():
            filled = self._filled(name, feeds[name])
            self._cuda.upload(self._addresses[name], filled.astype(tensor.dtype), self._stream)
            # The array may go as soon as the copy is done.
            self._cuda.synchronize(self._stream)
        self._execution.enqueue(self._stream)
        found = {name: self._download(name) for name in outputs}
        self._cuda.synchronize(self._stream)
        return {
            name: values[:count].astype(np.float32, copy=False) for name, values in found.items()
        }

    def close(self) -> None:
        """Free the memory."""
        for address in self._addresses.values():
            self._cuda.free(address)
        self._addresses.clear()

    def _filled(self, name: str, values: np.ndarray) -> np.ndarray:
        """Repeat the last sample until the batch is full."""
        shape = self._execution.inputs[name].shape
        missing = shape[0] - len(values)
        if missing < 0 or values.shape[1:] != shape[1:]:
            msg = f'graph {self._graph}: {name} has shape {values.shape}, its engine takes {shape}'
            raise EngineError(msg)
        return np.concatenate([values, values[-1:].repeat(missing, 0)]) if missing else values

    def _download(self, name: str) -> np.ndarray:
        tensor = self._tensors[name]
        values = np.empty(tensor.shape, tensor.dtype)
        self._cuda.download(values, self._addresses[name], self._stream)
        return values
