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

"""The machine that is measured, and how PyTorch is timed on it; `gpu_pretend` has a stand-in."""

from __future__ import annotations

from collections.abc import Callable
import ctypes
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tools.gpu_inspector import Inspected
from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.backends.tensorrt import backend as backend_module
from uhr_seg_ros.backends.tensorrt.backend import TensorRTBackend
from uhr_seg_ros.backends.tensorrt.cuda import Cuda
from uhr_seg_ros.core.cuda_driver import Driver
from uhr_seg_ros.core.gpu import find_gpu, Gpu

_L2_CACHE_SIZE = 38  # CUdevice_attribute


class Machine:
    """What a GPU and its packages offer."""

    #: Whether figures mean nothing.
    pretended = False

    def gpu(self) -> Gpu:
        """Look at the GPU without taking anything from it; see `find_gpu`."""
        return find_gpu()

    def l2_bytes(self) -> int:
        """Return the size of the cache that buffers have to be larger than."""
        driver, found = Driver(), ctypes.c_int()
        driver.call('cuInit', ctypes.c_uint(0))
        driver.call('cuDeviceGetAttribute', ctypes.byref(found), _L2_CACHE_SIZE, 0)
        return found.value

    def cuda(self) -> Cuda:
        """Open the context."""
        return Cuda()

    def torch_device(self) -> Any:
        """Make what graphs in PyTorch run on; see `gpu_torch.Device`."""
        from tools.gpu_torch import CudaDevice

        return CudaDevice()

    def torch_bench(self) -> TorchBench:
        """Make what times PyTorch."""
        return TorchBench()

    def tensorrt(self, bundle: str, options: EngineOptions, dumps: Path) -> TensorRTBackend:
        """
        Open TensorRT; what its inspector says of every engine is written down.

        Raises:
            EngineError: it is not there.

        """
        load = backend_module.load_tensorrt
        with patch.object(backend_module, 'load_tensorrt', lambda: Inspected(load(), dumps)):
            return Unjudged(bundle, options)


class Unjudged(TensorRTBackend):
    """TensorRT whose engines run whatever they compute: the section compares them itself."""

    @property
    def unverified(self) -> bool:
        """Whether to compare engines before they run: never."""
        return False

    def refusal(self, case: object) -> str:
        """Return why engines must not run: what was found earlier is measured again."""
        return ''


class TorchBench:
    """Times PyTorch on the GPU, ms."""

    device = 'cuda'

    @property
    def half(self) -> Any:
        """The type of 16 bit."""
        import torch

        return torch.float16

    def times(self, work: Callable[[], object], count: int) -> list[float]:
        """Time calls; three more warm up."""
        import torch

        times = []
        with torch.inference_mode():
            for _ in range(count + 3):
                start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                start.record()
                work()
                end.record()
                end.synchronize()
                times.append(start.elapsed_time(end))
        return times[3:]

    def compiled(self, network: Any, mode: str) -> Any:
        """Return a network that is compiled when it is first called."""
        import torch

        return torch.compile(network, mode=mode)

    def captured(self, work: Callable[[], object]) -> Callable[[], object]:
        """Capture work as a CUDA graph of PyTorch's, and return what launches it."""
        import torch

        stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
        with torch.inference_mode():
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(3):
                    work()
            torch.cuda.current_stream().wait_stream(stream)
            with torch.cuda.graph(graph):
                work()
        return graph.replay
