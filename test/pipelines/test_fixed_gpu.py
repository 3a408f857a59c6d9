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

"""Learned and uniform sampling on the GPU path, with stand-ins for driver, CUDA and TensorRT."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='the bundle is exported')
pytest.importorskip('onnx', reason='engines are built with onnx')

from deformed_bundles import deformed_bundle
from standin_backend import StandIn
from standin_tensorrt import first_becomes

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.backends.tensorrt.engine import HostEngine
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.synthetic.scenes import generate_scene

GRAPHS = {'deformed': 2, 'uniform': 1}


@pytest.fixture(scope='module', params=GRAPHS)
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return deformed_bundle(tmp_path_factory, request.param)


@cache
def scene(height: int = 150, width: int = 270) -> np.ndarray:
    return generate_scene(5, height, width)[0]


def on_gpu(bundle: Bundle, precision: str = 'auto', **changes: object) -> Segmenter:
    return Segmenter(bundle, 'tensorrt', options=EngineOptions(precision=precision, **changes))


def test_the_mask_of_the_cpu_path(stand_in: StandIn, bundle: Bundle) -> None:
    lines: list[str] = []
    for _ in range(2):
        with (
            on_gpu(bundle, report=lines.append) as segmenter,
            Segmenter(bundle, 'onnxruntime') as reference,
        ):
            for size in ((150, 270), (64, 64), (90, 400)):  # engines fit any size
                found = segmenter(scene(*size), logits=True, confidence=True)
                expected = reference(scene(*size), logits=True, confidence=True)
                assert (found.mask == expected.mask).mean() > 0.999
                assert np.abs(found.confidence.astype(int) - expected.confidence).max() <= 1
            assert segmenter.provenance['backend'] == 'tensorrt'
            assert segmenter.provenance['precision'] == 'fp32'
    # Built and proven once, then taken from the cache.
    assert stand_in.trt.notes.built == GRAPHS[bundle.kind.name]
    assert sum('comparing the engines' in line for line in lines) == 1
    assert not stand_in.cuda.blocks


def test_where_frames_are_sampled(stand_in: StandIn, bundle: Bundle) -> None:
    if bundle.kind.name == 'uniform':
        pytest.skip('uniform sampling has no grid')
    from uhr_seg_ros.core.raw_frame import RawFrame

    frame = RawFrame.of_bgr(scene())
    with on_gpu(bundle) as segmenter, Segmenter(bundle, 'onnxruntime') as reference:
        np.testing.assert_allclose(
            segmenter.sampling_grid(frame), reference.sampling_grid(frame), atol=1e-4
        )


def test_engines_that_compute_something_else(
    stand_in: StandIn, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = HostEngine.run

    def wrong(self: object, feeds: dict, outputs: list[str]) -> dict[str, np.ndarray]:
        return {name: values[:, ::-1] for name, values in run(self, feeds, outputs).items()}

    with monkeypatch.context() as patch:
        patch.setattr(HostEngine, 'run', wrong)
        with pytest.raises(EngineError, match=f'the fp32 engines of {bundle.name} are refused'):
            on_gpu(bundle)
    assert not stand_in.cuda.blocks
    with pytest.raises(EngineError, match='refused: same class .* to try again'):
        on_gpu(bundle)
    assert stand_in.trt.notes.built == GRAPHS[bundle.kind.name]
    on_gpu(bundle, retry_refused=True).close()
    assert stand_in.trt.notes.built == 2 * GRAPHS[bundle.kind.name]  # the wrong ones were not kept


@pytest.mark.parametrize('precision', ['fp16', 'int8'])
def test_other_precisions_are_refused(stand_in: StandIn, bundle: Bundle, precision: str) -> None:
    with pytest.raises(
        EngineError, match=f"precision '{precision}' of bundle {bundle.name}: .* in fp32"
    ):
        on_gpu(bundle, precision)


def test_what_is_not_finite_is_refused(stand_in: StandIn, bundle: Bundle) -> None:
    with on_gpu(bundle) as segmenter:
        right = segmenter(scene()).mask
        stand_in.trt.notes.spoil = first_becomes(np.nan, 'logits', 'probabilities')
        with pytest.raises(EngineError, match=r'gives \w+ that are not finite'):
            segmenter(scene())
        stand_in.trt.notes.spoil = {}
        np.testing.assert_array_equal(segmenter(scene()).mask, right)
