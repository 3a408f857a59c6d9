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

"""The machine of a dry run: the stand-ins of the tests, and PyTorch on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
import json
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace
from typing import Any

from tools.gpu_machine import Machine, TorchBench
from uhr_seg_ros.core.gpu import Gpu

SUPPORT = Path(__file__).resolve().parents[1] / 'test/support'

#: Whose figures the report expects; kernels are those of the stand-ins' own GPU.
_GPU = {
    'name': 'NVIDIA H200, pretended',
    'memory': 141 << 30,
    'driver_version': (13, 0),
    'l4t': None,
}


class PretendedMachine(Machine):
    """
    Host memory as a GPU, ONNX Runtime as TensorRT, PyTorch on the CPU.

    Args:
        work: folder of its engine cache.

    """

    pretended = True

    def __init__(self, work: Path) -> None:
        import pytest

        self._patches = pytest.MonkeyPatch()
        self._patches.syspath_prepend(SUPPORT)
        make = import_module('standin_backend').StandIn
        self._stand_in = make(self._patches, work / 'cache', '11.4.0.106')
        self._stand_in.gpu = replace(self._stand_in.gpu, **_GPU)
        _add_inspector(self._stand_in.trt)

    def close(self) -> None:
        """Take the stand-ins away again; a process that ends need not."""
        self._patches.undo()

    def gpu(self) -> Gpu:
        """Return the GPU that is pretended."""
        return self._stand_in.gpu

    def l2_bytes(self) -> int:
        """Return a size that needs several buffers at the small sizes, too."""
        return 1 << 15

    def cuda(self) -> Any:
        """Open a context on host memory."""
        return self._stand_in._make_cuda()

    def torch_device(self) -> Any:
        """Make what graphs in PyTorch run on."""
        from tools.gpu_torch import HostDevice

        return HostDevice()

    def torch_bench(self) -> TorchBench:
        """Make what times PyTorch."""
        return HostBench()


class HostBench(TorchBench):
    """Times PyTorch on the CPU, ms; captures and compiles nothing."""

    device = 'cpu'

    @property
    def half(self) -> Any:
        """The type of 16 bit that CPUs are not slow in."""
        import torch

        return torch.bfloat16

    def times(self, work: Callable[[], object], count: int) -> list[float]:
        """Time calls."""
        import torch

        times = []
        with torch.inference_mode():
            for _ in range(count):
                start = perf_counter()
                work()
                times.append((perf_counter() - start) * 1e3)
        return times

    def compiled(self, network: Any, mode: str) -> Any:
        """Return the network itself."""
        return network

    def captured(self, work: Callable[[], object]) -> Callable[[], object]:
        """Return the work itself."""
        return work


def _add_inspector(trt: Any) -> None:
    """Give the stand-in of TensorRT what the dump of engines uses."""
    trt.ProfilingVerbosity = SimpleNamespace(DETAILED='DETAILED')
    trt.LayerInformationFormat = SimpleNamespace(JSON='JSON')
    text = json.dumps({'Layers': []})
    inspector = SimpleNamespace(get_engine_information=lambda form: text)
    trt._Engine.create_engine_inspector = lambda engine: inspector
