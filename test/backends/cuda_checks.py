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
Checks of memory, streams and kernels of `backends.tensorrt.cuda` with the real pycuda.

test_cuda.py runs them on the stand-in for the driver; they take any libcuda.so.1 that the loader
finds, so that on a machine with a GPU they run on that:
`python -m pytest test/backends/cuda_checks.py test/backends/cuda_life_checks.py`.
"""

from __future__ import annotations

from collections.abc import Callable
import struct

import numpy as np
import pytest
from standin_libcuda import StandIn

from uhr_seg_ros.backends.tensorrt.cuda import Cuda, Stream
from uhr_seg_ros.core.errors import EngineError

pytest_plugins = ['cuda_fixtures']


def read(cuda: Cuda, address: int, size: int, stream: Stream) -> np.ndarray:
    """Return what lies on the device."""
    values = np.zeros(size, np.uint8)
    cuda.download(values, address, stream)
    cuda.synchronize(stream)
    return values


def test_tells_what_gpu_it_is(cuda: Cuda) -> None:
    assert cuda.name
    assert cuda.capability >= (5, 0)
    free, total = cuda.memory()
    assert 0 < free <= total


def test_copies_there_and_back(cuda: Cuda) -> None:
    stream = cuda.stream()
    address = cuda.allocate(1000)
    assert address % 256 == 0
    for values in (cuda.pinned(1000), np.empty(500, np.float16), np.empty((5, 50), np.float32)):
        values.view(np.uint8)[...] = np.arange(values.nbytes, dtype=np.uint8).reshape(
            values.view(np.uint8).shape
        )
        back = np.zeros_like(values)
        cuda.upload(address, values, stream)
        cuda.download(back, address, stream)
        cuda.synchronize(stream)
        assert back.tobytes() == values.tobytes()
    cuda.clear(address, 999, stream)
    assert read(cuda, address, 1000, stream).tolist() == [0] * 999 + [231]
    cuda.free(address)


def test_kernels_work_in_host_memory(cuda: Cuda) -> None:
    stream, host = cuda.stream(), cuda.pinned(1000)
    host[:] = np.arange(1000) % 256
    address = cuda.mapped(host)
    assert address % 256 == 0
    cuda.clear(address, 999, stream)
    cuda.synchronize(stream)
    assert host.tolist() == [0] * 999 + [231]


def test_tells_if_memory_is_shared(standin: StandIn) -> None:
    for is_integrated in (False, True):
        standin.integrated(is_integrated)
        cuda = Cuda()
        assert cuda.is_integrated is is_integrated
        cuda.close()


def test_refuses_what_is_not_in_one_piece(cuda: Cuda) -> None:
    stream, address = cuda.stream(), cuda.allocate(64)
    columns = np.zeros((8, 8), np.uint8)[:, ::2]
    for copy in (
        lambda: cuda.upload(address, columns, stream),
        lambda: cuda.download(columns, address, stream),
    ):
        with pytest.raises(EngineError, match=r'shape \(8, 4\) and strides \(8, 2\)'):
            copy()


def test_tells_how_much_memory_is_missing(cuda: Cuda) -> None:
    with pytest.raises(EngineError, match=r'the GPU has no 1000000 MB left, \d+ of \d+ MB are'):
        cuda.allocate(10**12)
    assert cuda.allocate(512)


def test_memory_goes_when_it_is_not_used(cuda: Cuda, standin: StandIn) -> None:
    before = standin.live()
    cuda.free(cuda.allocate(1000))
    pinned = cuda.pinned(5000)
    view = pinned[:4000].view(np.float32)
    event, stream = cuda.event(), cuda.stream()
    del pinned
    assert standin.live() == {**before, 'pinned': 1, 'event': 1, 'stream': 1}
    del view, event, stream
    assert standin.live() == before


def test_events_give_order_and_time(cuda: Cuda) -> None:
    first, second = cuda.stream(), cuda.stream()
    start, middle, end = cuda.event(), cuda.event(), cuda.event()
    address = cuda.allocate(1 << 20)
    cuda.record(start, first)
    cuda.clear(address, 1 << 20, first)
    cuda.record(middle, first)
    cuda.wait(second, middle)
    result = np.ones(1 << 20, np.uint8)
    cuda.download(result, address, second)
    cuda.record(end, second)
    cuda.finish(end)
    assert not result.any()
    assert 0 <= cuda.elapsed_ms(start, middle) <= cuda.elapsed_ms(start, end)
    with pytest.raises(EngineError, match='CUDA: cuEventElapsedTime'):
        cuda.elapsed_ms(start, cuda.event())


def test_kernels_get_their_arguments_as_c_lays_them_out(cuda: Cuda, standin: StandIn) -> None:
    kernel = cuda.function(cuda.load(b'standin image with prepare_f16'), 'prepare_f16')
    arguments = [
        np.int32(-7),
        np.uint64(1 << 60),
        np.float32(0.5),
        np.int64(-1),
        np.float16(2),
        np.uint8(9),
    ]
    stream = cuda.stream()
    cuda.launch(kernel, (70000, 2, 3), (32, 8, 1), arguments, stream)
    (launch,) = standin.launches()
    assert launch.name == b'prepare_f16'
    assert (list(launch.grid), list(launch.block)) == ([70000, 2, 3], [32, 8, 1])
    # Padded to 8 bytes before each 8-byte value.
    expected = struct.pack('<i4xQf4xqeB', -7, 1 << 60, 0.5, -1, 2, 9)
    assert bytes(launch.data[: launch.bytes]) == expected


def test_kernels_that_are_not_there(cuda: Cuda, standin: StandIn) -> None:
    with pytest.raises(EngineError, match='CUDA: cuModuleLoadDataEx failed: no kernel image'):
        cuda.load(b'made for another GPU')
    module = cuda.load(b'standin image with paint')
    with pytest.raises(EngineError, match='CUDA: cuModuleGetFunction failed: named symbol'):
        cuda.function(module, 'prepare')


def uses(cuda: Cuda) -> dict[str, Callable[[], object]]:
    """Return a use of CUDA for each function of the driver that it ends in."""
    stream, event, address, host = cuda.stream(), cuda.event(), cuda.allocate(64), cuda.pinned(64)
    module = cuda.load(b'standin image with paint')
    kernel, graph = cuda.function(module, 'paint'), cuda.capture(stream, lambda: None)
    return {
        'cuMemGetInfo': cuda.memory,
        'cuMemAlloc': lambda: cuda.allocate(64),
        'cuMemHostAlloc': lambda: cuda.pinned(64),
        'cuMemHostGetDevicePointer': lambda: cuda.mapped(host),
        'cuStreamCreate': cuda.stream,
        'cuEventCreate': cuda.event,
        'cuMemcpyHtoDAsync': lambda: cuda.upload(address, host, stream),
        'cuMemcpyDtoHAsync': lambda: cuda.download(host, address, stream),
        'cuMemsetD8Async': lambda: cuda.clear(address, 64, stream),
        'cuEventRecord': lambda: cuda.record(event, stream),
        'cuStreamWaitEvent': lambda: cuda.wait(stream, event),
        'cuEventSynchronize': lambda: cuda.finish(event),
        'cuStreamSynchronize': lambda: cuda.synchronize(stream),
        'cuModuleLoadDataEx': lambda: cuda.load(b'standin'),
        'cuModuleGetFunction': lambda: cuda.function(module, 'paint'),
        'cuLaunchKernel': lambda: cuda.launch(kernel, (1, 1, 1), (1, 1, 1), [], stream),
        'cuGraphLaunch': lambda: graph.launch(stream),
    }


def test_every_refusal_is_an_error_that_names_the_function(cuda: Cuda, standin: StandIn) -> None:
    for function, use in uses(cuda).items():
        use()
        standin.fail('*', 700)
        with pytest.raises(EngineError, match=f'{function} failed: .*illegal'):
            use()
        standin.fail('', 0)


def test_gpu_that_is_not_there() -> None:
    with pytest.raises(EngineError, match='CUDA: cuDeviceGet failed: invalid device ordinal'):
        Cuda(99)
