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
CUDA without a GPU, on a stand-in for the driver.

Graphs, which go through ctypes, are tested everywhere; the rest where pycuda is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import ctypes
import gc
from importlib.util import find_spec
import os
from pathlib import Path
import subprocess
import sys
from threading import Thread

import numpy as np
import pytest
from standin_libcuda import build_standin, StandIn

from uhr_seg_ros.backends.tensorrt.cuda import Cuda, Graph, GraphCaptureError, Stream
from uhr_seg_ros.core import cuda_driver as driver_module
from uhr_seg_ros.core.cuda_driver import Driver, GpuLostError
from uhr_seg_ros.core.errors import EngineError

HERE = Path(__file__).parent


@pytest.fixture(scope='module')
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of the stand-in."""
    return build_standin(tmp_path_factory.mktemp('driver'))


@pytest.fixture
def standin(library: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """Put the stand-in in the place of the driver; in the end all has been given back."""
    monkeypatch.setattr(driver_module, 'LIBRARY', str(library))
    control = StandIn(str(library))
    yield control
    left = control.live()
    control.reset()
    assert left == {}


class RawStream:
    """A CUstream as pycuda wraps it."""

    def __init__(self, handle: int) -> None:
        self.handle = handle


class Bench:
    """
    Two streams and events of the driver itself.

    The memory of the stand-in is the host's, so that an array is device memory.
    """

    def __init__(self) -> None:
        self.driver = Driver()
        self.call = self.driver.call
        self.call('cuInit', 0)
        context = self._made('cuDevicePrimaryCtxRetain', 0)
        self.call('cuCtxPushCurrent_v2', context)
        self.raw = [self._made('cuStreamCreate', 1) for _ in range(2)]
        self.events = [self._made('cuEventCreate', 0) for _ in range(2)]
        self.main = Stream(RawStream(self.raw[0].value))
        self.memory = np.zeros(64, np.uint8)

    def _made(self, function: str, argument: int) -> ctypes.c_void_p:
        handle = ctypes.c_void_p()
        self.call(function, ctypes.byref(handle), argument)
        return handle

    def capture(self, work: Callable[[], object]) -> Graph:
        """Capture work that begins on the first stream."""
        return Graph.capture(self.driver, self.main, work)

    def fill(self, stream: int, start: int, value: int) -> None:
        """Fill half of the memory."""
        address = ctypes.c_uint64(self.memory.ctypes.data + start)
        self.call('cuMemsetD8Async', address, value, ctypes.c_size_t(32), self.raw[stream])

    def fork(self) -> None:
        """Fill a half on each stream."""
        self.fill(0, 0, 1)
        self.call('cuEventRecord', self.events[0], self.raw[0])
        self.call('cuStreamWaitEvent', self.raw[1], self.events[0], 0)
        self.fill(1, 32, 2)

    def whole(self) -> None:
        """Fork, and let the first stream wait for the second."""
        self.fork()
        self.call('cuEventRecord', self.events[1], self.raw[1])
        self.call('cuStreamWaitEvent', self.raw[0], self.events[1], 0)

    def done(self) -> bool:
        """Tell if both halves were filled since the last time."""
        filled = self.memory.tolist() == [1] * 32 + [2] * 32
        self.memory[:] = 0
        return filled

    def close(self) -> None:
        """Free all of it."""
        for stream, event in zip(self.raw, self.events, strict=True):
            self.call('cuStreamDestroy_v2', stream)
            self.call('cuEventDestroy_v2', event)
        self.call('cuCtxPopCurrent_v2', ctypes.byref(ctypes.c_void_p()))
        self.call('cuDevicePrimaryCtxRelease_v2', 0)


@pytest.fixture
def bench(standin: StandIn) -> Iterator[Bench]:
    """Return two streams."""
    opened = Bench()
    yield opened
    standin.fail('', 0)
    opened.close()


def test_graph_does_the_work_whenever_it_is_launched(bench: Bench) -> None:
    graph = bench.capture(bench.whole)
    assert not bench.done()
    for _ in range(2):
        graph.launch(bench.main)
        assert bench.done()
    graph.close()
    graph.close()
    with pytest.raises(EngineError, match='a CUDA graph is launched after it was closed'):
        graph.launch(bench.main)


def test_graph_goes_when_nothing_refers_to_it(bench: Bench, standin: StandIn) -> None:
    before = standin.live()
    graph = bench.capture(bench.whole)
    assert standin.live() == {**before, 'executable': 1}
    del graph
    gc.collect()
    assert standin.live() == before


BAD_WORK = {
    'waits': (
        lambda bench: bench.call('cuStreamSynchronize', bench.raw[0]),
        r'cuStreamSynchronize failed: CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED \(operation not',
    ),
    'does not join': (Bench.fork, 'cuStreamEndCapture failed: CUDA_ERROR_STREAM_CAPTURE_UNJOINED'),
    'asks too much': (
        lambda bench: bench.call('cuBefore'),
        'has no cuBefore: update it to one for CUDA 11.4',
    ),
}


@pytest.mark.parametrize('kind', BAD_WORK)
def test_failed_capture_leaves_the_streams_usable(bench: Bench, kind: str) -> None:
    bad, text = BAD_WORK[kind]

    def work() -> None:
        bench.fork()
        bad(bench)

    with pytest.raises(GraphCaptureError, match=f'cannot be captured as a CUDA graph: .*{text}'):
        bench.capture(work)
    assert not bench.done()
    bench.whole()
    assert bench.done()
    bench.capture(bench.whole).launch(bench.main)
    assert bench.done()


@pytest.mark.parametrize(
    'function', ['cuStreamBeginCapture_v2', 'cuStreamEndCapture', 'cuGraphInstantiateWithFlags']
)
def test_driver_that_makes_no_graph(bench: Bench, standin: StandIn, function: str) -> None:
    standin.fail(function, 1)
    with pytest.raises(GraphCaptureError, match=f'{function} failed: CUDA_ERROR_INVALID_VALUE'):
        bench.capture(bench.whole)
    bench.whole()
    assert bench.done()


def test_mistake_in_captured_work_is_not_hidden(bench: Bench) -> None:
    with pytest.raises(ZeroDivisionError):
        bench.capture(lambda: 1 // 0)
    bench.whole()
    assert bench.done()


@pytest.mark.parametrize('has_context', [True, False])
def test_launch_that_fails_says_why(bench: Bench, standin: StandIn, has_context: bool) -> None:
    graph = bench.capture(bench.whole)
    bench.driver.has_context = has_context
    for function, use in {
        'cuGraphLaunch': lambda: graph.launch(bench.main),
        'cuStreamBeginCapture_v2': lambda: bench.capture(bench.whole),
    }.items():
        standin.fail(function, 700)
        text = rf'{function} failed: CUDA_ERROR_ILLEGAL_ADDRESS \('
        with pytest.raises(EngineError, match=text) as caught:
            use()
        assert isinstance(caught.value, GpuLostError) is has_context
        standin.fail('', 0)
    graph.close()


def test_errors_that_pycuda_tells_by_their_text(bench: Bench) -> None:
    bench.driver.has_context = True
    text = 'cuMemcpyHtoDAsync failed: an illegal memory access was encountered'
    lost = bench.driver.error_of(text)
    assert isinstance(lost, GpuLostError)
    assert lost.code == 700
    assert str(lost).startswith(text)
    for text in ('cuMemAlloc failed: out of memory', 'cuLaunchKernel failed: too many resources'):
        assert not isinstance(bench.driver.error_of(text), GpuLostError)


def test_another_thread_is_refused(bench: Bench) -> None:
    graph = bench.capture(bench.whole)
    texts = []

    def use() -> None:
        for work in (lambda: graph.launch(bench.main), graph.close):
            with pytest.raises(EngineError) as caught:
                work()
            texts.append(str(caught.value))

    thread = Thread(target=use, name='camera')
    thread.start()
    thread.join()
    expected = (
        'CUDA is used from thread camera, but belongs to MainThread: '
        'open, use and close it on one thread'
    )
    assert texts == [expected] * 2
    graph.close()


def test_missing_pycuda_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'pycuda.driver', None)
    with pytest.raises(EngineError, match=r'pycuda cannot be imported \(.*pycuda.*: pip install'):
        Cuda()


@pytest.mark.skipif(find_spec('pycuda') is None, reason='pycuda is not installed')
def test_pycuda_on_the_stand_in(library: Path) -> None:
    checks = [str(HERE / name) for name in ('cuda_checks.py', 'cuda_life_checks.py')]
    # In a process of its own, whose driver is the stand-in from the beginning to the end.
    done = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', *checks],
        env={**os.environ, 'LD_LIBRARY_PATH': str(library.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'skipped' not in done.stdout
