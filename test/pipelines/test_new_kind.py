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

"""A new kind of bundle is one pipeline and one entry of the registry: here is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip('onnx', reason='the bundle is made with onnx')
from onnx import helper, numpy_helper, TensorProto
from tiny_bundle import TINY_CLASSES

from uhr_seg_ros.backends.engine import Engine
from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.core.bundle import Bundle, load_bundle
from uhr_seg_ros.core.bundle_kinds import BUNDLE_KINDS, BundleKind, GraphTensors, PipelineEntry
from uhr_seg_ros.core.errors import BundleError, ConfigError, EngineError
from uhr_seg_ros.core.raw_frame import RawFrame
from uhr_seg_ros.core.timing import StageClock
from uhr_seg_ros.core.visualization import OverlayOptions
from uhr_seg_ros.export.bundle_writing import write_bundle
from uhr_seg_ros.pipelines.masks import arg_max
from uhr_seg_ros.pipelines.outputs import CheckedGraphs, lengths
from uhr_seg_ros.pipelines.pipeline import OutputRequest, Results, TilingOptions
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.pipelines.synchronous import SynchronousPipeline


class Pixelwise(SynchronousPipeline):
    """Scores of every pixel by its color alone."""

    def __init__(
        self,
        bundle: Bundle,
        engines: Mapping[str, Engine],
        limits: TilingOptions,
        options: EngineOptions = EngineOptions(),  # noqa: B008 - it cannot change
    ) -> None:
        self._bundle = bundle
        self._graphs = CheckedGraphs(bundle, engines)
        self.provenance = engines['colors'].provenance()

    def segment(self, frame: RawFrame, request: OutputRequest, clock: StageClock) -> Results:
        with clock.stage('color'):
            planes = np.ascontiguousarray(frame.bgr[..., ::-1].transpose(2, 0, 1)[None])
            image = planes.astype(np.float32)
            wanted = {'logits': lengths(frame.height, frame.width)}
            logits = self._graphs.run('colors', {'image': image}, wanted)['logits'][0]
        results = {'mask': arg_max(logits), 'logits': logits}
        if request.overlay.any:
            with clock.stage('overlay'):
                results |= request.overlay.paint(frame.bgr, results['mask'], self._bundle.classes)
        return {name: values for name, values in results.items() if name != 'logits'} | {
            name: results[name] for name in request.outputs if name in results
        }

    def semantic_mask(self, frame: RawFrame) -> np.ndarray:
        raise BundleError('there is no semantic branch')

    def bytes_per_pixel(self, outputs: Sequence[str]) -> float:
        return 24.0


KIND = BundleKind(
    'pixelwise',
    graphs={'colors': GraphTensors(('image',), ('logits',))},
    pipelines={'onnxruntime': PipelineEntry(f'{__name__}:Pixelwise', ('color', 'overlay'))},
    exporter='',  # nothing exports it here
    compare_sizes=lambda height, width: ((2 * height, width), (height, 3 * width)),
    dynamic_axes={'image': {2: 'height', 3: 'width'}, 'logits': {2: 'height', 3: 'width'}},
)


@pytest.fixture
def bundle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bundle:
    """Register the kind, and write a bundle whose class is the strongest of red, green, blue."""
    monkeypatch.setitem(BUNDLE_KINDS, KIND.name, KIND)
    weights = np.eye(3, dtype=np.float32)[..., None, None]
    graph = helper.make_graph(
        [helper.make_node('Conv', ['image', 'weights'], ['logits'])],
        'colors',
        [helper.make_tensor_value_info('image', TensorProto.FLOAT, [1, 3, 'h', 'w'])],
        [helper.make_tensor_value_info('logits', TensorProto.FLOAT, [1, 3, 'h', 'w'])],
        [numpy_helper.from_array(weights, 'weights')],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    onnx.save(model, tmp_path / 'colors.onnx')
    write_bundle(tmp_path, name='p', network='p', kind=KIND.name, classes=TINY_CLASSES)
    return load_bundle(tmp_path)


def test_everything_knows_the_new_kind(bundle: Bundle) -> None:
    assert bundle.kind is KIND
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    with Segmenter(bundle, 'onnxruntime', input_size=(40, 60)) as segmenter:
        found = segmenter(image, logits=True, overlay=OverlayOptions(overlay=True))
        assert (found.mask == image[..., ::-1].argmax(-1)).all()
        assert segmenter.stages == ('color', 'refine', 'smooth', 'relabel', 'overlay')
        assert list(found.stage_times) == ['color', 'overlay']
        with pytest.raises(ConfigError, match='of kind pixelwise, which does not choose'):
            segmenter.sampling_grid(image)
    with pytest.raises(EngineError, match='tensorrt cannot run bundles of kind pixelwise'):
        Segmenter(bundle, 'tensorrt')
