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

"""A network of one branch on the GPU path, with stand-ins for driver, CUDA and TensorRT."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip('onnx', reason='the bundle is made with onnx')
from onnx import helper, numpy_helper, TensorProto
from standin_backend import StandIn
from standin_tensorrt import first_becomes
from tiny_bundle import TINY_CLASSES

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.backends.tensorrt.engine import HostEngine
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.cuda_driver import GpuLostError
from uhr_seg_ros.core.errors import BundleError, ConfigError, EngineError
from uhr_seg_ros.export.bundle_writing import write_bundle
from uhr_seg_ros.pipelines.pipeline import TilingOptions
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.pipelines.single import SingleBranch
from uhr_seg_ros.synthetic.scenes import generate_scene


@pytest.fixture(scope='module')
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """One convolution of stride 4 on the frame reduced by 2."""
    return single_bundle(tmp_path_factory, 'single', ('h', 'w'), low_res_factor=2)


@pytest.fixture(scope='module')
def of_one_size(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Make the same convolution take 96x160 px only."""
    size = (96, 160)
    more = {'input_size': size, 'multiple': 4, 'low_res_factor': 1}
    return single_bundle(tmp_path_factory, 'one_size', size, **more)


def single_bundle(
    factory: pytest.TempPathFactory, name: str, size: tuple[int | str, ...], **more: Any
) -> Bundle:
    weights = np.random.default_rng(0).normal(size=(3, 3, 4, 4)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node('Conv', ['image', 'weights'], ['logits'], strides=[4, 4])],
        'network',
        [helper.make_tensor_value_info('image', TensorProto.FLOAT, [1, 3, *size])],
        [helper.make_tensor_value_info('logits', TensorProto.FLOAT, [1, 3, 'a', 'b'])],
        [numpy_helper.from_array(weights, 'weights')],
    )
    folder = factory.mktemp(name)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    onnx.save(model, folder / 'network.onnx')
    return write_bundle(folder, name='s', network='s', kind='single', classes=TINY_CLASSES, **more)


@cache
def scene(height: int = 150, width: int = 270) -> np.ndarray:
    return generate_scene(5, height, width)[0]


def on_gpu(
    bundle: Bundle, precision: str = 'fp32', tile: int | None = None, **changes: object
) -> Segmenter:
    options = EngineOptions(precision=precision, **changes)
    return Segmenter(bundle, 'tensorrt', TilingOptions(tile=tile), options=options)


@pytest.mark.parametrize('tile', [None, 128])
def test_the_mask_of_the_cpu_path(stand_in: StandIn, bundle: Bundle, tile: int | None) -> None:
    lines: list[str] = []
    for _ in range(2):
        with (
            on_gpu(bundle, tile=tile, report=lines.append) as segmenter,
            Segmenter(bundle, 'onnxruntime', TilingOptions(tile=tile)) as reference,
        ):
            for size in ((150, 270), (64, 64), (90, 400)):
                found = segmenter(scene(*size), logits=True, confidence=True)
                expected = reference(scene(*size), logits=True, confidence=True)
                assert (found.mask == expected.mask).mean() > 0.999
                assert len(np.unique(found.mask)) > 1
                largest = np.abs(expected.logits).max()
                assert np.abs(found.logits - expected.logits).max() <= 1e-4 * largest
                assert list(found.stage_times) == list(expected.stage_times)
                assert set(found.stage_times) <= set(segmenter.stages)
            assert segmenter.provenance['backend'] == 'tensorrt'
    # A size was verified once, then taken from the cache.
    compared = [line for line in lines if 'comparing the engines for' in line]
    assert len(set(compared)) == len(compared) == stand_in.trt.notes.built
    assert not stand_in.cuda.blocks


def test_sizes_that_were_not_used_for_long_are_closed(
    stand_in: StandIn, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('uhr_seg_ros.pipelines.pipeline.MAX_SIZES', 2)
    with on_gpu(bundle) as segmenter:
        segmenter(scene(64, 64))
        blocks = len(stand_in.cuda.blocks)
        for width in range(1, 4):
            segmenter(scene(64, 64 + 32 * width))
        assert len(stand_in.cuda.blocks) == 2 * blocks


def test_fp16_is_usual(stand_in: StandIn, bundle: Bundle) -> None:
    with on_gpu(bundle, 'auto') as segmenter, Segmenter(bundle, 'onnxruntime') as reference:
        assert segmenter.provenance['precision'] == 'fp16'
        assert (segmenter(scene()).mask == reference(scene()).mask).mean() > 0.98


def test_engines_that_compute_something_else(
    stand_in: StandIn, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = HostEngine.run

    def wrong(self: object, feeds: dict, outputs: list[str]) -> dict[str, np.ndarray]:
        return {name: values[:, ::-1] for name, values in run(self, feeds, outputs).items()}

    with on_gpu(bundle) as segmenter:
        with monkeypatch.context() as patch:
            patch.setattr(HostEngine, 'run', wrong)
            with pytest.raises(EngineError, match='the fp32 engines of s are refused'):
                segmenter(scene())
        assert not stand_in.cuda.blocks
        with pytest.raises(EngineError, match='refused: same class .* to try again'):
            segmenter(scene())
    assert stand_in.trt.notes.built == 1
    with on_gpu(bundle, retry_refused=True) as segmenter:
        segmenter(scene())
    assert stand_in.trt.notes.built == 2  # the wrong one was not kept


def test_what_is_refused(stand_in: StandIn, bundle: Bundle) -> None:
    with pytest.raises(EngineError, match=r"precision 'int8' of bundle s: .* in fp32 or fp16"):
        on_gpu(bundle, 'int8')
    with pytest.raises(ConfigError, match='tile'):
        on_gpu(bundle, tile=1)
    with on_gpu(bundle) as segmenter, pytest.raises(BundleError, match='has one branch'):
        segmenter.semantic_only(scene())


def test_getting_ready_builds_the_engine(stand_in: StandIn, bundle: Bundle) -> None:
    with on_gpu(bundle) as segmenter:
        segmenter.warm_up((1200, 2000))
        assert stand_in.trt.notes.built == 1
        segmenter(scene(1200, 2000))
        assert stand_in.trt.notes.built == 1


def test_what_is_not_finite_is_refused(stand_in: StandIn, bundle: Bundle) -> None:
    with on_gpu(bundle) as segmenter:
        right = segmenter(scene()).mask
        stand_in.trt.notes.spoil = first_becomes(-np.inf, 'logits')
        with pytest.raises(EngineError, match=r'gives \w+ that are not finite'):
            segmenter(scene())
        stand_in.trt.notes.spoil = {}
        np.testing.assert_array_equal(segmenter(scene()).mask, right)


def test_gpu_that_is_lost(stand_in: StandIn, bundle: Bundle) -> None:
    with on_gpu(bundle) as segmenter:
        segmenter(scene())
        stand_in.cuda.lose()
        for _ in range(2):
            with pytest.raises(GpuLostError, match='only a new process can use the GPU again'):
                segmenter(scene())
    assert not stand_in.cuda.blocks


@pytest.mark.parametrize('tile', [None, 160])
def test_a_network_of_one_size(stand_in: StandIn, of_one_size: Bundle, tile: int | None) -> None:
    """Frames are resized to it, or it sees tiles of it: every engine is of this size."""
    assert SingleBranch.input_size(of_one_size, TilingOptions(tile=tile), (150, 270)) == (96, 160)
    with (
        on_gpu(of_one_size, tile=tile) as segmenter,
        Segmenter(of_one_size, 'onnxruntime', TilingOptions(tile=tile)) as reference,
    ):
        for size in ((150, 270), (64, 400)):
            image = scene(*size)
            assert np.array_equal(segmenter(image).mask, reference(image).mask)
