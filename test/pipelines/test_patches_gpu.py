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

"""Patches on the GPU path, run on the CPU with stand-ins for driver, CUDA and TensorRT."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='the bundle is exported')
pytest.importorskip('onnx', reason='engines are built with onnx')

from patch_bundles import patch_bundle
from standin_backend import StandIn
from standin_tensorrt import first_becomes, VERSIONS

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.backends.tensorrt.engine import HostEngine
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.pipelines.pipeline import TilingOptions
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.synthetic.scenes import generate_scene

#: Of these versions of TensorRT the engines are always built, of the others with `--all`: what
#: differs between them is the same for every kind of bundle, see test_two_branch_gpu.py.
ALWAYS = (VERSIONS[0], VERSIONS[-1])


@pytest.fixture(scope='module', params=['numbers', pytest.param('whole', marks=pytest.mark.slow)])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return patch_bundle(tmp_path_factory, request.param)


@cache
def scene(height: int = 90, width: int = 130) -> np.ndarray:
    return generate_scene(5, height, width)[0]


def on_gpu(bundle: Bundle, precision: str = 'fp32', **changes: object) -> Segmenter:
    return Segmenter(bundle, 'tensorrt', options=EngineOptions(precision=precision, **changes))


# Eager is the plain order, in which a missing wait does no harm.
@pytest.mark.parametrize('order', ['lazy', 'hasty', pytest.param('eager', marks=pytest.mark.slow)])
def test_the_mask_of_the_cpu_path(stand_in: StandIn, bundle: Bundle, order: str) -> None:
    stand_in.order = order
    with on_gpu(bundle) as segmenter, Segmenter(bundle, 'onnxruntime') as reference:
        for size in ((90, 130), (64, 64), (40, 200)):  # engines fit any size
            found = segmenter(scene(*size), logits=True, confidence=True)
            expected = reference(scene(*size), logits=True, confidence=True)
            assert (found.mask == expected.mask).mean() > 0.999
            largest = np.abs(expected.logits).max()
            assert np.abs(found.logits - expected.logits).max() <= 1e-4 * largest
        assert segmenter.provenance['backend'] == 'tensorrt'
    assert stand_in.trt.notes.built == 3


def test_every_batch_size(stand_in: StandIn, bundle: Bundle) -> None:
    """A row of patches rarely divides into full batches."""
    with Segmenter(bundle, 'onnxruntime') as reference:
        expected = reference(scene(64, 300), logits=True).logits
    for limit in (0, 10, 1):
        limits = TilingOptions(memory_limit_mb=limit)
        options = EngineOptions(precision='fp32')
        with Segmenter(bundle, 'tensorrt', limits, options=options) as segmenter:
            found = segmenter(scene(64, 300), logits=True).logits
        assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


def test_as_many_at_a_time_as_engines_allow(stand_in: StandIn, bundle: Bundle) -> None:
    """What a pixel costs is expected of the graphs, then found of the first engines, once."""
    stand_in.trt.notes.memory_per_value = 1000
    bundle = replace(bundle, detail_bytes_per_pixel=1e6)  # of a CPU: one patch at a time
    # A context that is the whole frame does not grow with the patches.
    is_whole = 'whole' in bundle.patches.contexts.values()
    limits, lines = TilingOptions(memory_limit_mb=130), []
    options = EngineOptions(precision='fp32', report=lines.append)
    for _ in range(2):
        with Segmenter(bundle, 'tensorrt', limits, options=options) as segmenter:
            shape = segmenter._chosen.pipeline._graphs['patch'].input_shapes['image']
            assert shape[0] == (5 if is_whole else 3)
            assert segmenter(scene()).mask.shape == (90, 130)
        assert stand_in.trt.notes.built == 3 + (2 if is_whole else 3)
    (told,) = [line for line in lines if 'were expected' in line]
    assert f'building for {shape[0]} at a time, not 8' in told


@pytest.mark.parametrize(
    'version',
    [each if each in ALWAYS else pytest.param(each, marks=pytest.mark.slow) for each in VERSIONS],
)
def test_every_version(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bundle: Bundle, version: str
) -> None:
    StandIn(monkeypatch, tmp_path, version)
    # Random weights leave many pixels undecided, which half precision then decides otherwise.
    bundle = replace(bundle, agreement={'fp16': 0.98})
    with on_gpu(bundle, 'fp16') as segmenter, Segmenter(bundle, 'onnxruntime') as reference:
        assert (segmenter(scene()).mask == reference(scene()).mask).mean() > 0.98


def test_engines_are_kept_and_proven_once(stand_in: StandIn, bundle: Bundle) -> None:
    lines: list[str] = []
    for _ in range(2):
        on_gpu(bundle, report=lines.append).close()
    assert stand_in.trt.notes.built == 3
    assert sum('comparing the engines' in line for line in lines) == 1
    assert any('same class as ONNX Runtime on' in line for line in lines)


def test_engines_that_compute_something_else(
    stand_in: StandIn, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = HostEngine.run

    def wrong(self: object, feeds: dict, outputs: list[str]) -> dict[str, np.ndarray]:
        return {name: values[:, ::-1] for name, values in run(self, feeds, outputs).items()}

    with monkeypatch.context() as patch:
        patch.setattr(HostEngine, 'run', wrong)
        with pytest.raises(EngineError, match='the fp32 engines of p are refused'):
            on_gpu(bundle)
    with pytest.raises(EngineError, match='refused: same class .* to try again'):
        on_gpu(bundle)
    assert stand_in.trt.notes.built == 3
    on_gpu(bundle, retry_refused=True).close()
    assert stand_in.trt.notes.built == 6  # the wrong ones were not kept


def test_memory_is_given_back(stand_in: StandIn, bundle: Bundle) -> None:
    segmenter = on_gpu(bundle)
    segmenter(scene())
    cuda = stand_in.cuda
    assert cuda.blocks
    segmenter.close()
    assert not cuda.blocks


def test_an_input_that_does_not_fit(stand_in: StandIn, bundle: Bundle) -> None:
    with on_gpu(bundle) as segmenter:
        engine = segmenter._chosen.pipeline._graphs['medium']
        with pytest.raises(EngineError, match='graph medium: image has shape'):
            engine.run({'image': np.zeros((1, 3, 32, 32), np.float32)}, ['medium'])


def test_int8_is_refused(stand_in: StandIn, bundle: Bundle) -> None:
    with pytest.raises(EngineError, match="precision 'int8' of bundle p: .* in fp32 or fp16"):
        on_gpu(bundle, 'int8')


def test_what_is_not_finite_is_refused(stand_in: StandIn, bundle: Bundle) -> None:
    with on_gpu(bundle) as segmenter:
        right = segmenter(scene()).mask
        stand_in.trt.notes.spoil = first_becomes(np.nan, 'logits')
        with pytest.raises(EngineError, match=r'gives \w+ that are not finite'):
            segmenter(scene())
        stand_in.trt.notes.spoil = {}
        np.testing.assert_array_equal(segmenter(scene()).mask, right)
