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
The node with engines that hang as soon as there is a file named by HANGS_WITH.

The environment variable HANGS says how: `free` lets other Python threads run, as ONNX Runtime and
TensorRT do; `locked` holds the interpreter's lock; `lost` does not hang but has lost its GPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import ctypes
import os
from pathlib import Path

import numpy as np

from uhr_seg_ros.backends.engine import Engine, Shapes
from uhr_seg_ros.backends.onnxruntime import OnnxRuntimeBackend
from uhr_seg_ros.core.bundle import Graph
from uhr_seg_ros.core.cuda_driver import GpuLostError
from uhr_seg_ros.ros.node import main

_HOW = os.environ['HANGS']
_LIBRARY = (ctypes.PyDLL if _HOW == 'locked' else ctypes.CDLL)(None)
_HOUR_S = 3600
_FILE = Path(os.environ['HANGS_WITH'])

_open_graph = OnnxRuntimeBackend.open


class _HangingEngine:
    def __init__(self, engine: Engine) -> None:
        self.name = engine.name
        self.input_shapes = engine.input_shapes
        self.output_shapes = engine.output_shapes
        self.provenance = engine.provenance
        self.close = engine.close
        self._run = engine.run

    def run(
        self, feeds: Mapping[str, np.ndarray], outputs: Sequence[str]
    ) -> dict[str, np.ndarray]:
        if _FILE.exists():
            print('an engine hangs', flush=True)
            if _HOW == 'lost':
                text = 'cuEventSynchronize failed: unspecified launch failure'
                raise GpuLostError(text, 719)
            _LIBRARY.sleep(_HOUR_S)
        return self._run(feeds, outputs)


def _open_hanging(backend: OnnxRuntimeBackend, graph: Graph, *shapes: Shapes) -> Engine:
    return _HangingEngine(_open_graph(backend, graph))


if __name__ == '__main__':
    OnnxRuntimeBackend.open = _open_hanging
    main()
