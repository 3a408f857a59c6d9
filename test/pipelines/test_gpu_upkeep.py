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
What stays over many frames and starts on a GPU: CUDA graphs, engines of a board, warnings.

Driver, CUDA and TensorRT are stand-ins.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

pytest.importorskip('onnx', reason='engines are built with onnx')

from host_cuda import HostCuda
from standin_backend import StandIn

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.core.visualization import OverlayOptions
from uhr_seg_ros.pipelines import two_branch_gpu_graphs
from uhr_seg_ros.pipelines.pipeline import MAX_SIZES, PipelinesBySize
from uhr_seg_ros.pipelines.segmenter import Segmenter

SIZE = 64, 96


def opened(bundle: Path, lines: list[str]) -> Segmenter:
    options = EngineOptions(precision='fp32', report=lines.append)
    return Segmenter(bundle, 'tensorrt', input_size=SIZE, options=options)


def run(segmenter: Segmenter, frames: int, scale: float | None = None) -> None:
    """Segment some frames, an even number: each of both slots has its own graphs."""
    overlay = OverlayOptions() if scale is None else OverlayOptions(overlay=True, scale=scale)
    for _ in range(frames):
        assert segmenter(np.zeros((*SIZE, 3), np.uint8), overlay=overlay).mask.shape == SIZE


def test_a_capture_that_failed_is_tried_again(
    stand_in: StandIn, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    tries, capture = [], HostCuda.capture

    def counted(self: HostCuda, *arguments: object) -> object:
        tries.append(arguments)
        return capture(self, *arguments)

    monkeypatch.setattr(HostCuda, 'capture', counted)
    stand_in.graphs = False
    with opened(tiny_bundle, lines) as segmenter:
        run(segmenter, 60)
        assert 3 <= len(tries) <= 8  # ever more seldom
        stand_in.cuda.graphs = True
        run(segmenter, 80)
        assert len(stand_in.cuda.captured) == 2
        assert sum(graph.launches for graph in stand_in.cuda.captured) > 10
    told = [line for line in lines if 'CUDA graphs' in line]
    assert told == [
        'frames run without CUDA graphs, for now: stand-in: this device captures no graphs',
        'frames run as CUDA graphs again',
    ]


def test_graphs_that_were_used_last_stay(
    stand_in: StandIn, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(two_branch_gpu_graphs, 'MAX_GRAPHS', 4)
    with opened(tiny_bundle, []) as segmenter:
        for scale in (None, 0.25, None, 0.5):  # two graphs each
            run(segmenter, 4, scale)
        captured = len(stand_in.cuda.captured)
        run(segmenter, 4)
        assert len(stand_in.cuda.captured) == captured


class Closed:
    """What tells whether it was closed."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size, self.is_closed = size, False

    def close(self) -> None:
        self.is_closed = True


def test_engines_of_the_sizes_used_last_stay() -> None:
    pipelines = PipelinesBySize(Closed)
    first, second = (pipelines[1, width] for width in (0, 1))
    for width in range(2, MAX_SIZES):
        _ = pipelines[1, width]
    assert pipelines[1, 0] is first
    _ = pipelines[2, 2]
    assert second.is_closed and not first.is_closed


def test_boards_with_one_name_have_engines_of_their_own(
    stand_in: StandIn, tiny_bundle: Path
) -> None:
    """Every module of a Jetson is called Orin."""
    lines: list[str] = []
    opened(tiny_bundle, lines).close()
    stand_in.gpu = replace(stand_in.gpu, multiprocessors=8)
    opened(tiny_bundle, lines).close()
    assert stand_in.trt.notes.built == 6
    assert sum('multiprocessors was 16, is 8' in line for line in lines) == 3


def test_warnings_of_tensorrt_are_told_once(
    stand_in: StandIn, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build, load = (
        stand_in.trt.Builder.build_serialized_network,
        stand_in.trt.Runtime.deserialize_cuda_engine,
    )

    def warning_build(self: object, *arguments: object) -> bytes:
        # As TensorRT does, from a thread of its own.
        thread = Thread(target=self._log.log, args=(self._log.WARNING, 'tactics  were\nskipped'))
        thread.start()
        thread.join()
        return build(self, *arguments)

    def warning_load(self: object, plan: bytes) -> object:
        self._log.log(self._log.WARNING, 'an engine of another board')
        self._log.log(self._log.INFO, 'loaded engine size: 5 MiB')
        return load(self, plan)

    monkeypatch.setattr(stand_in.trt.Builder, 'build_serialized_network', warning_build)
    monkeypatch.setattr(stand_in.trt.Runtime, 'deserialize_cuda_engine', warning_load)
    lines: list[str] = []
    opened(tiny_bundle, lines).close()
    told = [line for line in lines if 'warns' in line]
    assert told == [
        'TensorRT warns: tactics were skipped',
        'TensorRT warns: an engine of another board',
    ]
    stand_in.trt.notes.refuses = 'no implementation for node X'
    stand_in.gpu = replace(stand_in.gpu, multiprocessors=8)
    lines.clear()
    with pytest.raises(Exception, match='no implementation'):
        opened(tiny_bundle, lines)
    assert told[0] in lines
    assert not any('MiB' in line for line in lines)
