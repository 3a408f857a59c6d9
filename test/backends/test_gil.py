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
TensorRT works while other threads of Python do: services are answered while engines are opened.

With TensorRT for RTX, whose bindings are those of TensorRT and need no GPU for this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import sys
from threading import Event, Thread
import time
from typing import Any

import pytest

from uhr_seg_ros.core.bundle import load_bundle

trt = pytest.importorskip('tensorrt_rtx', reason='tensorrt-rtx is not installed')


@pytest.fixture
def runs_beside() -> Iterator[Callable[[Callable[[], Any], int], bool]]:
    """Return what tells whether another thread gets a turn within so many calls of a function."""
    turns, usual, is_over = [0], sys.getswitchinterval(), Event()

    def take_turns() -> None:
        while not is_over.is_set():
            turns[0] += 1
            time.sleep(1e-5)

    def runs(work: Callable[[], Any], calls: int) -> bool:
        before = turns[0]
        for _ in range(calls):
            work()
            if turns[0] != before:
                return True
        return False

    sys.setswitchinterval(1e6)  # s: nobody is asked to make room, whoever does so means it
    thread = Thread(target=take_turns)
    thread.start()
    yield runs
    is_over.set()
    sys.setswitchinterval(usual)
    thread.join()


@pytest.fixture(scope='module')
def log() -> Any:
    """Return a logger that is silent; TensorRT keeps the first one."""

    class Silent(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            pass

    return Silent()


def test_python_alone_lets_nobody_in(runs_beside: Callable) -> None:
    """The others would prove nothing otherwise."""
    assert not runs_beside(lambda: sum(number**2 for number in range(10_000)), 50)


def test_while_a_graph_is_parsed(runs_beside: Callable, log: Any) -> None:
    model = load_bundle('hlrc_s_aerial').graphs['detail'].path.read_bytes()
    builder = trt.Builder(log)

    def parse() -> None:
        network = builder.create_network(0)
        assert trt.OnnxParser(network, log).parse(model)

    assert runs_beside(parse, 20)


def test_while_an_engine_is_loaded(runs_beside: Callable, log: Any) -> None:
    """Without a GPU it fails, after the bindings have let go."""
    runtime = trt.Runtime(log)
    assert runs_beside(lambda: runtime.deserialize_cuda_engine(b'no plan'), 20_000)
