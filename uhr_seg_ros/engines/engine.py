# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""The `Engine` protocol and the one function that opens an engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
import os
from typing import Protocol

import numpy as np

from uhr_seg_ros.bundle import Graph
from uhr_seg_ros.errors import UhrSegError

#: Shape of a tensor; a dimension that is only known at run time is None.
Shape = tuple[int | None, ...]


class EngineError(UhrSegError):
    """A graph that cannot be opened or run, or a back end that is not there."""


class Engine(Protocol):
    """
    One opened graph on one back end.

    Attributes:
        name: name of the back end, such as `onnxruntime`.
        input_shapes: tensor name -> shape.
        output_shapes: tensor name -> shape.

    """

    name: str
    input_shapes: Mapping[str, Shape]
    output_shapes: Mapping[str, Shape]

    def provenance(self) -> dict[str, str]:
        """Tell what runs the graph: `backend`, `version`, `device`."""
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
        """Give back the memory; the engine is not used afterwards."""
        ...


Opener = Callable[[Graph, int], Engine]


def _open_onnxruntime(graph: Graph, threads: int) -> Engine:
    module = import_module('uhr_seg_ros.engines.onnxruntime')
    return module.OnnxRuntimeEngine(graph, threads)


#: Back end name -> opener; a new back end is one more line.
BACKENDS: dict[str, Opener] = {'onnxruntime': _open_onnxruntime}


def open_engine(graph: Graph, backend: str = 'auto', threads: int = 0) -> Engine:
    """
    Open a graph.

    Args:
        graph: graph of a bundle.
        backend: name of a back end; `auto` takes the fastest one that is there.
        threads: CPU threads, 0 for as many as this process may use.

    Raises:
        EngineError: unknown back end, a graph that the back end cannot read, or a graph
            whose tensors are not the ones that model.yaml promises.

    """
    name = resolve_backend(backend)
    engine = BACKENDS[name](graph, threads or available_cores())
    _check_names(graph, 'input', graph.inputs, engine.input_shapes)
    _check_names(graph, 'output', graph.outputs, engine.output_shapes)
    return engine


def resolve_backend(backend: str) -> str:
    """
    Turn `auto` into a name and refuse a name that no back end has.

    Raises:
        EngineError: names the known back ends.

    """
    if backend == 'auto':
        return next(iter(BACKENDS))
    if backend in BACKENDS:
        return backend
    known = ', '.join(('auto', *BACKENDS))
    if backend == 'tensorrt':
        msg = f'this version has no TensorRT back end yet; choose one of: {known}'
    else:
        msg = f'back end {backend!r} is unknown, known: {known}'
    raise EngineError(msg)


def available_cores() -> int:
    """Count the CPU cores that this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _check_names(
    graph: Graph, what: str, needed: Sequence[str], found: Mapping[str, Shape]
) -> None:
    if missing := [name for name in needed if name not in found]:
        msg = f'graph {graph.path} has no {what} {", ".join(missing)}, only {", ".join(found)}'
        raise EngineError(f'{msg}: export the model again')
