# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Opening a graph on the CPU, and checking that it is what its bundle promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
import os

from uhr_seg_ros.bundle import Graph
from uhr_seg_ros.engines.engine import Engine, EngineError, Shape


def open_engine(graph: Graph, threads: int = 0) -> Engine:
    """
    Open a graph on ONNX Runtime, which takes any size at run time.

    Args:
        graph: graph of a bundle.
        threads: CPU threads, 0 for as many as this process may use.

    Raises:
        EngineError: ONNX Runtime is missing or cannot read the graph, or the tensors of the
            graph are not the ones that model.yaml promises.

    """
    # Imported here, so that a missing package is an error of ours.
    module = import_module('uhr_seg_ros.engines.onnxruntime')
    engine = module.OnnxRuntimeEngine(graph, threads or available_cores())
    _check_names(graph, 'input', graph.inputs, engine.input_shapes)
    _check_names(graph, 'output', graph.outputs, engine.output_shapes)
    return engine


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
