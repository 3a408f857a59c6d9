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

"""What checks of `tensorrt.cuda` share; needs pycuda and a libcuda.so.1, see test_cuda.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import ctypes
import os
import sys

import pytest
from standin_libcuda import StandIn

from uhr_seg_ros.backends.tensorrt.cuda import Cuda
from uhr_seg_ros.core import cuda_driver

ON_STANDIN = hasattr(ctypes.CDLL(cuda_driver.LIBRARY), 'standin_fail')
# The stand-in has only the functions that we use: pycuda must not look up the others.
sys.setdlopenflags(os.RTLD_LAZY)


@pytest.fixture
def standin() -> Iterator[StandIn]:
    """Return the controls of the stand-in; at the end everything has been given back."""
    if not ON_STANDIN:
        pytest.skip('needs the stand-in of the driver')
    control = StandIn(cuda_driver.LIBRARY)
    control.reset()
    yield control
    assert control.live() == {}
    control.reset()


@pytest.fixture
def cuda(request: pytest.FixtureRequest) -> Iterator[Cuda]:
    """Return an open `Cuda`; on the stand-in, everything it took has to be given back."""
    if ON_STANDIN:
        request.getfixturevalue('standin')
    opened = Cuda()
    yield opened
    opened.close()


class TwoStreams:
    """Work that goes over two streams and back: upload, clear one half, download."""

    def __init__(self, cuda: Cuda) -> None:
        self.cuda = cuda
        self.main, self.side = cuda.stream(), cuda.stream()
        self.forked, self.joined = cuda.event(), cuda.event()
        self.source, self.result = cuda.pinned(64), cuda.pinned(64)
        self.address = cuda.allocate(64)

    def fork(self) -> None:
        """Upload, and go on with the second stream."""
        self.cuda.upload(self.address, self.source, self.main)
        self.cuda.record(self.forked, self.main)
        self.cuda.wait(self.side, self.forked)
        self.cuda.clear(self.address + 32, 32, self.side)

    def whole(self) -> None:
        """Fork, join and download."""
        self.fork()
        self.cuda.record(self.joined, self.side)
        self.cuda.wait(self.main, self.joined)
        self.cuda.download(self.result, self.address, self.main)

    def check(self, work: Callable[[], None], value: int) -> None:
        """Do the work and look at the result."""
        self.source[:] = value
        self.result[:] = 255
        work()
        self.cuda.synchronize(self.main)
        assert self.result.tolist() == [value] * 32 + [0] * 32


def everything(cuda: Cuda) -> list[object]:
    """Take one of everything."""
    two = TwoStreams(cuda)
    module = cuda.load(b'standin image with paint')
    kernel = cuda.function(module, 'paint')
    return [two, module, kernel, cuda.capture(two.main, two.whole)]
