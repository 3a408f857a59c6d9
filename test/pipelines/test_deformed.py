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

"""Bundles of learned and of uniform downsampling in the segmenter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

torch = pytest.importorskip('torch', reason='the bundle is exported')

from deformed_bundles import deformed_bundle, picture

from uhr_seg_ros.backends.engine import Engine
from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.backends.registry import open_backend
from uhr_seg_ros.cli.main import main
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.core.errors import BundleError, ConfigError, EngineError
from uhr_seg_ros.core.raw_frame import RawFrame
from uhr_seg_ros.core.timing import StageClock
from uhr_seg_ros.core.visualization import draw_density, OverlayOptions
from uhr_seg_ros.pipelines.deformed import Deformed
from uhr_seg_ros.pipelines.frame_budget import FrameBudget
from uhr_seg_ros.pipelines.pipeline import OutputRequest, TilingOptions
from uhr_seg_ros.pipelines.segmenter import Segmenter

STAGES = {
    'deformed': ['reduce', 'saliency', 'sample', 'network', 'enlarge'],
    'uniform': ['preprocess', 'network', 'enlarge'],
}
KINDS = tuple(STAGES)


@pytest.fixture(scope='module')
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    return {kind: deformed_bundle(tmp_path_factory, kind) for kind in KINDS}


@pytest.mark.parametrize('kind', KINDS)
def test_everything_that_can_be_asked_for(bundles: dict[str, Bundle], kind: str) -> None:
    image = picture(270, 481)
    with Segmenter(bundles[kind], 'onnxruntime') as segmenter:
        segmenter.warm_up((270, 481))
        plain = segmenter(image)
        full = segmenter(
            image,
            confidence=True,
            logits=True,
            overlay=OverlayOptions(overlay=True, color_mask=True),
        )
    assert plain.mask.shape == (270, 481) and plain.mask.dtype == np.uint8
    assert len(np.unique(plain.mask)) > 1
    assert list(plain.stage_times) == ['convert', *STAGES[kind]]
    assert [*full.stage_times] == [
        each for each in segmenter.stages if each not in ('refine', 'smooth', 'relabel')
    ]
    np.testing.assert_array_equal(full.mask, plain.mask)
    np.testing.assert_array_equal(full.logits.argmax(0), full.mask)
    shares = np.exp(full.logits - full.logits.max(0))
    expected = 255 / shares.sum(0)
    assert np.abs(full.confidence - expected).max() <= 1
    assert full.overlay.shape == full.color_mask.shape == image.shape


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('size', [(1, 1), (1, 300), (3, 2), (50, 61), (2500, 40)])
def test_any_size(bundles: dict[str, Bundle], kind: str, size: tuple[int, int]) -> None:
    with Segmenter(bundles[kind], 'onnxruntime') as segmenter:
        result = segmenter(picture(*size), confidence=True, logits=True)
    assert result.mask.shape == result.confidence.shape == size
    assert np.isfinite(result.logits).all()


def test_bytes_of_a_camera(bundles: dict[str, Bundle]) -> None:
    image = picture(60, 80)
    rgb = np.ascontiguousarray(image[..., ::-1]).reshape(60, 240)
    with Segmenter(bundles['deformed'], 'onnxruntime') as segmenter:
        expected = segmenter(image).mask
        np.testing.assert_array_equal(segmenter(RawFrame(rgb, 'rgb8', 60, 80)).mask, expected)


@pytest.mark.parametrize('kind', KINDS)
def test_what_there_is_not(bundles: dict[str, Bundle], kind: str) -> None:
    with pytest.raises(ConfigError, match=f'a tile of 512 px: {kind} sees every frame as a whole'):
        Segmenter(bundles[kind], 'onnxruntime', TilingOptions(tile=512))
    with (
        Segmenter(bundles[kind], 'onnxruntime') as segmenter,
        pytest.raises(ConfigError, match=f'kind {kind} has no detail branch'),
    ):
        segmenter(picture(64, 64), budget=FrameBudget(100.0))
    with (
        Segmenter(bundles[kind], 'onnxruntime') as segmenter,
        pytest.raises((BundleError, BundleError), match='no semantic'),
    ):
        segmenter.semantic_only(picture(10, 10))


def test_no_frame_is_cut(bundles: dict[str, Bundle]) -> None:
    with Segmenter(
        bundles['uniform'], 'onnxruntime', TilingOptions(memory_limit_mb=1)
    ) as segmenter:
        assert segmenter(picture(500, 800)).mask.shape == (500, 800)


@pytest.mark.parametrize('kind', KINDS)
def test_other_classes_than_those_of_the_graph(bundles: dict[str, Bundle], kind: str) -> None:
    fewer = ClassSet(('a', 'b'), ((0, 0, 0), (1, 1, 1)))
    with pytest.raises(EngineError, match='names 2 classes: export the model again'):
        Segmenter(replace(bundles[kind], classes=fewer), 'onnxruntime')


def test_a_graph_without_a_fixed_size(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    bundle = bundles['deformed']
    model = onnx.load(bundle.graphs['segment'].path)
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = 'height'
    path = tmp_path / 'segment.onnx'
    onnx.save(model, path)
    graph = bundle.graphs['segment'].with_file(path)
    loose = replace(bundle, graphs={**bundle.graphs, 'segment': graph})
    with pytest.raises(BundleError, match='graph segment takes images of shape .* fixed'):
        Segmenter(loose, 'onnxruntime')


def test_the_density_of_sampling_is_drawn(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    image = picture(270, 481)
    cv2.imwrite(str(tmp_path / 'field.png'), image)
    options = ['--bundle', str(bundles['deformed'].path), '--output', str(tmp_path)]
    assert main(['segment', str(tmp_path / 'field.png'), *options, '--show-sampling']) == 0
    with Segmenter(bundles['deformed'], 'onnxruntime') as segmenter:
        expected = draw_density(image, segmenter.sampling_grid(image))
    found = cv2.imread(str(tmp_path / 'field_sampling.jpg'))
    assert found.shape == (270, 481, 3)
    # JPEG changes values by a few levels; the image alone is far away from it.
    assert np.abs(found.astype(int) - expected).mean() < 4
    assert np.abs(found.astype(int) - image).mean() > 20


def test_no_sampling_to_show(bundles: dict[str, Bundle]) -> None:
    with (
        Segmenter(bundles['uniform'], 'onnxruntime') as segmenter,
        pytest.raises(ConfigError, match='uniform is of kind uniform, .* of kind deformed'),
    ):
        segmenter.sampling_grid(picture(10, 10))


class Answering:
    """An engine that gives the same values for everything."""

    def __init__(self, engine: Engine, **outputs: np.ndarray) -> None:
        self.outputs = outputs
        self.input_shapes, self.output_shapes = engine.input_shapes, engine.output_shapes
        self.provenance, self.close = engine.provenance, engine.close

    def run(self, feeds: object, outputs: Sequence[str]) -> dict[str, np.ndarray]:
        return {name: self.outputs[name] for name in outputs}


@pytest.mark.parametrize(
    ('graph', 'name', 'shape', 'value', 'text'),
    [
        ('saliency', 'grid', (1, 64, 96, 2), np.nan, 'grid that are not finite'),
        ('saliency', 'grid', (1, 64, 96, 2), 1.1, 'a grid from 1.1 to 1.1, which leaves'),
        ('segment', 'probabilities', (1, 5, 64, 96), np.nan, 'probabilities that are not finite'),
    ],
)
def test_graphs_that_give_nonsense(
    bundles: dict[str, Bundle],
    graph: str,
    name: str,
    shape: tuple[int, ...],
    value: float,
    text: str,
) -> None:
    bundle = bundles['deformed']
    options = EngineOptions()
    backend = open_backend(bundle, options)
    engines = Deformed.open_graphs(bundle, backend, TilingOptions(), options)
    values = np.full(shape, value, np.float32)
    engines[graph] = Answering(engines[graph], **{name: values})
    pipeline = Deformed(bundle, engines, TilingOptions())
    with pytest.raises((BundleError, EngineError), match=text):
        pipeline.segment(RawFrame.of_bgr(picture(60, 80)), OutputRequest(), StageClock())
    pipeline.close()
