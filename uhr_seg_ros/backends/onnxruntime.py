# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""ONNX Runtime on the CPU, the back end that is always there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from uhr_seg_ros.backends.engine import Shape
from uhr_seg_ros.core.bundle import Graph
from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.core.text import one_line

try:
    import onnxruntime as ort
except ImportError as err:
    msg = f'ONNX Runtime cannot be imported ({err}): pip install onnxruntime'
    raise EngineError(msg) from err


class OnnxRuntimeEngine:
    """
    One graph in one ONNX Runtime session; see the protocol `Engine`.

    Args:
        graph: graph of a bundle.
        threads: CPU threads of one operator.
        precision: of the graph, for its provenance.

    Attributes:
        types: tensor name -> what ONNX Runtime calls its type, such as `tensor(float)`.
        keeps_memory: whether a run leaves its memory to the next one, which is then faster.

    Raises:
        BundleError: the file is not the one that was hashed.
        EngineError: with the text of ONNX Runtime when it cannot read the graph.

    """

    name = 'onnxruntime'

    def __init__(self, graph: Graph, threads: int, precision: str = 'fp32') -> None:
        self._graph, self._precision = graph, precision
        self.keeps_memory = True
        content = graph.read()
        try:
            self._session = ort.InferenceSession(
                content, _session_options(threads), providers=['CPUExecutionProvider']
            )
        except Exception as err:  # the classes of ONNX Runtime have no common base
            msg = f'ONNX Runtime cannot open graph {graph.path}: {one_line(err)}'
            raise EngineError(msg) from err
        # Kept by the package for other providers, of which there are none: as large as the file.
        self._session._model_bytes = None
        tensors = (*self._session.get_inputs(), *self._session.get_outputs())
        self.types = {tensor.name: tensor.type for tensor in tensors}
        self.input_shapes = _shapes(self._session.get_inputs())
        self.output_shapes = _shapes(self._session.get_outputs())

    def provenance(self) -> dict[str, str]:
        """Return what runs the graph: `backend`, `version`, `device`, `precision`."""
        return {
            'backend': self.name,
            'version': ort.__version__,
            'device': 'cpu',
            'precision': self._precision,
        }

    def run(
        self, feeds: Mapping[str, np.ndarray], outputs: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Run the graph once; see `Engine.run`."""
        options = None if self.keeps_memory else _GIVING_BACK
        try:
            arrays = self._session.run(list(outputs), dict(feeds), options)
        except Exception as err:  # the classes of ONNX Runtime have no common base
            shapes = ', '.join(f'{name} {array.shape}' for name, array in feeds.items())
            msg = f'graph {self._graph.path} failed on {shapes}: {one_line(err)}'
            raise EngineError(msg) from err
        return dict(zip(outputs, arrays, strict=True))

    def close(self) -> None:
        """Free the memory of the session."""
        del self._session


def _giving_back() -> ort.RunOptions:
    """Let a run end by giving back what the arena does not hold for a result."""
    options = ort.RunOptions()
    options.add_run_config_entry('memory.enable_memory_arena_shrinkage', 'cpu:0')
    return options


_GIVING_BACK = _giving_back()


def _session_options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3  # warnings repeat what the raised error says
    # The arena stays as large as frames usually need. A memory plan per input size would make it
    # grow with every new size, and was measured to be no faster.
    options.enable_mem_pattern = False
    # Threads that spin after a run would take the cores from the next branch.
    options.add_session_config_entry('session.force_spinning_stop', '1')
    return options


def _shapes(tensors: Sequence[ort.NodeArg]) -> dict[str, Shape]:
    return {
        tensor.name: tuple(size if isinstance(size, int) else None for size in tensor.shape)
        for tensor in tensors
    }
