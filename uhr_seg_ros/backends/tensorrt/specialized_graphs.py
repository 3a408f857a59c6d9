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

"""The graphs of a bundle at fixed shapes and in one precision, ready to be built."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
import hashlib

import numpy as np
import onnx

from uhr_seg_ros.backends.tensorrt.cache import EngineCache, Key
from uhr_seg_ros.backends.tensorrt.engine_memory import COUNTED_IMAGE
from uhr_seg_ros.core.bundle import Graph
from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.onnx_graphs.folding import fix_shapes, split_layer_norms
from uhr_seg_ros.onnx_graphs.gpu_rewrites import rewrite_for_gpu, REWRITING
from uhr_seg_ros.onnx_graphs.half_scales import halve_scales
from uhr_seg_ros.onnx_graphs.live_memory import memory_bytes
from uhr_seg_ros.onnx_graphs.precision import (
    CONVERSION,
    float32_tensors,
    to_half,
)
from uhr_seg_ros.onnx_graphs.qdq import quantize

Shapes = Mapping[str, tuple[int, ...]]

#: What engines depend on; calibrated graphs are older than the rewriting.
ENGINE_CONVERSION = f'{CONVERSION}, rewriting {REWRITING}'


def convert(
    model: onnx.ModelProto,
    precision: str,
    *,
    plain_norms: bool = False,
    half_scales: bool = True,
    rewrites: bool = True,
) -> onnx.ModelProto:
    """
    Turn a graph of fixed shapes into the one that an engine is built of.

    Args:
        model: as `fix_shapes` gives it; with Q/DQ nodes for int8.
        precision: `fp32`, `fp16` or `int8`.
        plain_norms: without LayerNormalization, which TensorRT 8.5 does not have.
        half_scales: with Q/DQ nodes of opset 19, which TensorRT has from 10 on.
        rewrites: whether it may be rewritten for a GPU, see `rewrite_for_gpu`.

    """
    half = precision != 'fp32'
    if rewrites:
        model = rewrite_for_gpu(model, half=half)
    if half:
        model = to_half(model)
    if half_scales and precision == 'int8':
        model = halve_scales(model)
    # Last, so that all parts of a norm are float32 as the norm is: squares overflow in half.
    return split_layer_norms(model) if plain_norms else model


class SpecializedGraphs:
    """
    Converts graphs to a precision; those in int8 were calibrated earlier and lie in the cache.

    Args:
        bundle: name of the bundle, for file names.
        precision: `fp32`, `fp16` or `int8`.
        cache: where calibrated graphs are kept.

    """

    def __init__(self, bundle: str, precision: str, cache: EngineCache) -> None:
        self._bundle, self._precision, self._cache = bundle, precision, cache

    def name(self, graph: Graph, shapes: Shapes) -> str:
        """Name a graph in its precision and shapes, for people and for files."""
        sizes = '_'.join('x'.join(map(str, shape)) for shape in shapes.values())
        return f'{self._bundle}-{graph.name}-{self._precision}-{sizes}'

    def common_fields(self) -> dict[str, str]:
        """Return what engines of all graphs depend on, those that were calibrated among it."""
        fields = {'precision': self._precision, 'conversion': ENGINE_CONVERSION}
        if self._precision == 'int8':
            calibrated = (each.facts for each in self._cache.entries())
            hashes = (str(facts.get('sha256')) for facts in calibrated if self._is_own(facts))
            fields['calibrations'] = hashlib.sha256(' '.join(sorted(hashes)).encode()).hexdigest()
        return fields

    def fields(self, graph: Graph, shapes: Shapes) -> dict[str, str]:
        """Return what an engine of the graph depends on."""
        fields = {
            'graph': graph.sha256,
            'precision': self._precision,
            'conversion': ENGINE_CONVERSION,
            'shapes': '; '.join(f'{name} {tuple(shape)}' for name, shape in shapes.items()),
        }
        if self._precision == 'int8':
            fields['calibration'] = hashlib.sha256(self._calibrated(graph, shapes)).hexdigest()
        return fields

    def calibrate(
        self, graph: Graph, shapes: Shapes, feeds: Iterable[Mapping[str, np.ndarray]]
    ) -> None:
        """
        Quantize a graph to int8, and write it to the cache.

        Args:
            graph: of the bundle.
            shapes: input name -> shape.
            feeds: inputs of these shapes from real frames, float32; taken one at a time.

        """
        model = quantize(fix_shapes(graph.read(), shapes, graph.path), feeds)
        self._cache.write(self._key(graph, shapes), model.SerializeToString())

    def load(
        self, graph: Graph, shapes: Shapes, *, plain_norms: bool, half_scales: bool = False
    ) -> onnx.ModelProto:
        """
        Convert a graph.

        Args:
            graph: of the bundle.
            shapes: input name -> shape.
            plain_norms: as of `convert`.
            half_scales: as of `convert`.

        Raises:
            BundleError: the file is not the one that was hashed.
            EngineError: it cannot be converted, or was never calibrated.

        """
        if self._precision == 'int8':
            model = onnx.load_model_from_string(self._calibrated(graph, shapes))
        else:
            model = fix_shapes(graph.read(), shapes, graph.path)
        return convert(model, self._precision, plain_norms=plain_norms, half_scales=half_scales)

    def float32_tensors(self, model: onnx.ModelProto) -> set[str]:
        """Name the tensors of a converted model that are float32."""
        return float32_tensors(model)

    @property
    def is_calibrated(self) -> bool:
        """Whether graphs have to be calibrated before they are converted."""
        return self._precision == 'int8'

    def expected_bytes_per_pixel(
        self, graph: Graph, image: tuple[int, ...] = COUNTED_IMAGE
    ) -> float:
        """
        Return what a pixel of the input `image` costs an engine of the graph, see `memory_bytes`.

        In int8 it is as much as in fp16: a part of the maps stays there.

        Args:
            graph: of the bundle; of what other inputs have any length of, there is one.
            image: shape of that input, at which memory is counted.

        """
        precision = 'fp16' if self.is_calibrated else self._precision
        inputs = onnx.load_model_from_string(graph.read()).graph.input
        shapes = {
            each.name: tuple(
                dimension.dim_value or 1 for dimension in each.type.tensor_type.shape.dim
            )
            for each in inputs
        }
        model = SpecializedGraphs(self._bundle, precision, self._cache).load(
            graph, {**shapes, 'image': image}, plain_norms=False
        )
        batch, _, height, width = image
        return memory_bytes(model) / (batch * height * width)

    def fields_of_memory(self, graph: Graph) -> dict[str, str]:
        """Return what the memory of a graph's engines depends on."""
        return {
            'graph': graph.sha256,
            'precision': self._precision,
            'conversion': ENGINE_CONVERSION,
        }

    def _is_own(self, facts: Mapping[str, object]) -> bool:
        """Tell if an entry of the cache is a calibrated graph of the bundle."""
        return facts.get('kind') == 'graph' and str(facts.get('name')).startswith(
            f'{self._bundle}-'
        )

    def _key(self, graph: Graph, shapes: Shapes) -> Key:
        fields = {'graph': graph.sha256, 'conversion': CONVERSION, 'shapes': str(dict(shapes))}
        return Key('graph', self.name(graph, shapes), fields)

    def _calibrated(self, graph: Graph, shapes: Shapes) -> bytes:
        found = self._cache.read(self._key(graph, shapes))
        if found is None:
            msg = (
                f'{self.name(graph, shapes)} was never calibrated: run uhr_seg build '
                f'--precision int8 with --frames, a folder or a recording of your camera'
            )
            raise EngineError(msg)
        return found[0]
