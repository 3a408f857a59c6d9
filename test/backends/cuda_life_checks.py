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

"""Checks of CUDA graphs, threads and the end of `backends.tensorrt.cuda`; see cuda_checks.py."""

from __future__ import annotations

from collections.abc import Callable
import subprocess
import sys
from threading import Thread

from cuda_fixtures import everything, TwoStreams
import pytest
from standin_libcuda import StandIn

from uhr_seg_ros.backends.tensorrt.cuda import Cuda, GraphCaptureError
from uhr_seg_ros.core.cuda_driver import GpuLostError
from uhr_seg_ros.core.errors import EngineError

pytest_plugins = ['cuda_fixtures']


def test_graph_does_the_work_again(cuda: Cuda) -> None:
    two = TwoStreams(cuda)
    two.check(two.whole, 1)
    two.result[:] = 255
    graph = cuda.capture(two.main, two.whole)
    cuda.synchronize(two.main)
    assert two.result.tolist() == [255] * 64
    for value in (2, 3):
        two.check(lambda: graph.launch(two.main), value)
    two.check(two.whole, 4)
    graph.close()
    graph.close()
    with pytest.raises(EngineError, match='a CUDA graph is launched after it was closed'):
        graph.launch(two.main)


def refuse() -> None:
    """Fail as an engine does."""
    msg = 'engine detail failed'
    raise EngineError(msg)


BAD_WORK = {
    'waits': (lambda two: two.cuda.synchronize(two.main), 'cuStreamSynchronize failed'),
    'allocates': (lambda two: two.cuda.allocate(512), 'cuMemAlloc failed'),
    'does not join': (TwoStreams.fork, 'cuStreamEndCapture failed: CUDA_ERROR_STREAM_CAPTURE_UNJ'),
    'fails': (lambda two: refuse(), 'engine detail failed'),
}


@pytest.mark.parametrize('kind', BAD_WORK)
def test_failed_capture_leaves_the_streams_usable(cuda: Cuda, kind: str) -> None:
    two = TwoStreams(cuda)
    bad, text = BAD_WORK[kind]

    def work() -> None:
        two.fork()
        bad(two)

    with pytest.raises(GraphCaptureError, match=f'cannot be captured as a CUDA graph: .*{text}'):
        cuda.capture(two.main, work)
    two.check(two.whole, 5)
    graph = cuda.capture(two.main, two.whole)
    two.check(lambda: graph.launch(two.main), 6)


def in_another_thread(work: Callable[[], object]) -> str:
    """Return the text of the error that work raises in a thread called camera."""
    texts = []

    def run() -> None:
        with pytest.raises(EngineError) as caught:
            work()
        texts.append(str(caught.value))

    thread = Thread(target=run, name='camera')
    thread.start()
    thread.join()
    return texts[0]


def test_other_threads_are_refused(cuda: Cuda) -> None:
    two = TwoStreams(cuda)
    graph = cuda.capture(two.main, two.whole)
    for work in (
        lambda: cuda.allocate(64),
        lambda: cuda.synchronize(two.main),
        lambda: graph.launch(two.main),
        graph.close,
        cuda.close,
    ):
        text = in_another_thread(work)
        assert text.startswith('CUDA is used from thread camera, but belongs to MainThread')
    two.check(lambda: graph.launch(two.main), 9)


def test_close_gives_all_back_once(standin: StandIn) -> None:
    cuda = Cuda()
    taken = everything(cuda)
    assert len(standin.live()) == 8
    cuda.close()
    assert standin.live() == {}
    cuda.close()
    with pytest.raises(EngineError, match='CUDA is used after it was closed'):
        cuda.stream()
    del taken
    assert standin.live() == {}


def test_forgotten_gives_all_back(standin: StandIn) -> None:
    taken = everything(Cuda())
    assert len(standin.live()) == 8
    del taken
    assert standin.live() == {}


def test_thread_that_ends_gives_all_back(standin: StandIn) -> None:
    taken: list[object] = []
    thread = Thread(target=lambda: taken.append(everything(Cuda())))
    thread.start()
    # Without that, pycuda ends the process here.
    thread.join()
    assert standin.live() == {}
    taken[0][0].cuda.close()


def test_opens_again_and_beside_another(standin: StandIn) -> None:
    for _ in range(2):
        first, second = Cuda(), Cuda()
        taken = everything(first), everything(second)
        first.close()
        taken[1][0].check(taken[1][0].whole, 10)
        second.close()
        assert standin.live() == {}


LOST, GOES_ON = (46, 214, 700, 702, 709, 716, 719, 999), (1, 2, 400, 701)


@pytest.mark.parametrize('code', [*LOST, *GOES_ON])
def test_errors_that_end_the_context(
    cuda: Cuda, standin: StandIn, capfd: pytest.CaptureFixture[str], code: int
) -> None:
    two = TwoStreams(cuda)
    graph = cuda.capture(two.main, two.whole)
    work = {
        'cuStreamSynchronize': lambda: cuda.synchronize(two.main),
        'cuGraphLaunch': lambda: graph.launch(two.main),
        'cuStreamBeginCapture_v2': lambda: cuda.capture(two.main, two.whole),
    }
    for function, use in work.items():
        standin.fail('*', code)
        with pytest.raises(EngineError, match=f'{function} failed: ') as caught:
            use()
        standin.fail('', 0)
        assert isinstance(caught.value, GpuLostError) is (code in LOST)
        if code in LOST:
            assert caught.value.code == code
            assert 'only a new process can use the GPU again' in str(caught.value)


def test_no_context_is_not_a_lost_one(standin: StandIn) -> None:
    standin.fail('cuDevicePrimaryCtxRetain', 46)  # another process has the GPU for itself
    with pytest.raises(EngineError, match='cuDevicePrimaryCtxRetain failed: .*busy') as caught:
        Cuda()
    assert not isinstance(caught.value, GpuLostError)


def test_leaves_the_context_after_the_gpu_failed(
    standin: StandIn, capfd: pytest.CaptureFixture[str]
) -> None:
    cuda = Cuda()
    two, *others = everything(cuda)
    standin.fail('*', 700)
    with pytest.raises(EngineError, match='cuMemcpyHtoDAsync failed: an illegal memory access'):
        two.fork()
    cuda.close()
    # The GPU gives nothing back any more, but the thread is out of the context.
    assert {'context', 'current'}.isdisjoint(standin.live())
    assert 'clean-up operation failed' in capfd.readouterr().err
    standin.reset()
    del two, others


def test_process_ends_well_without_close() -> None:
    script = (
        'import os, sys; sys.setdlopenflags(os.RTLD_LAZY); '
        'from uhr_seg_ros.backends.tensorrt.cuda import Cuda; '
        'cuda = Cuda(); address = cuda.allocate(64)'
    )
    command = [sys.executable, '-W', 'error', '-c', script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')
