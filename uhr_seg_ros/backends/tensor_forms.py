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

"""Checking that the tensors of a graph are the ones that its bundle promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from uhr_seg_ros.backends.engine import Shape
from uhr_seg_ros.core.bundle import Graph
from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.core.text import listed

_FLOAT, _BYTE = ('tensor(float)',), ('tensor(uint8)',)

#: Tensor -> number of its dimensions and what ONNX Runtime may call its type; those that are not
#: here, the contexts of patches, are float32 of any form.
_FORMS: dict[str, tuple[int, tuple[str, ...]]] = {
    'mask': (3, (*_BYTE, 'tensor(int32)')),
    'confidence': (3, _BYTE),
    'place': (2, _FLOAT),
    'novelty': (2, _FLOAT),
    **dict.fromkeys(
        (
            'low_res',
            'image',
            'residuals',
            'tokens',
            'affinity',
            'local',
            'semantic_logits',
            'detail_gain',
            'logits',
            'quarter_logits',
            'grid',
            'probabilities',
        ),
        (4, _FLOAT),
    ),
}

#: Colors, of the tensors that hold a picture.
_PICTURES, _COLORS = ('low_res', 'image'), 3

#: What a graph may take beside what model.yaml promises.
_OPTIONAL = ('place', 'residuals')


def check_tensors(
    graph: Graph,
    inputs: Mapping[str, Shape],
    outputs: Mapping[str, Shape],
    types: Mapping[str, str],
) -> None:
    """
    Refuse a graph that would fail on the first frame, or whose masks have another form.

    Args:
        graph: what model.yaml promises.
        inputs: tensor name -> shape, as the file has it.
        outputs: the same of the outputs.
        types: tensor name -> what ONNX Runtime calls its type.

    Raises:
        EngineError: names the tensor and what is expected.

    """
    _check_names(graph, 'input', graph.inputs, inputs)
    _check_names(graph, 'output', graph.outputs, outputs)
    unknown = [name for name in inputs if name not in (*graph.inputs, *_OPTIONAL)]
    if unknown:
        msg = f'graph {graph.path} needs {listed(unknown)}, which nobody gives'
        raise EngineError(f'{msg}: export the model again')
    for name in (*inputs, *graph.outputs):
        shape = inputs.get(name) or outputs.get(name) or ()
        dimensions, known_types = _FORMS.get(name, (len(shape), _FLOAT))
        fits = len(shape) in (0, dimensions)  # 0: the file does not tell
        if fits and name in _PICTURES and shape:
            fits = shape[1] in (None, _COLORS)
        if not fits or types[name] not in known_types:
            msg = (
                f'graph {graph.path}: {name} is {types[name]} of shape {shape}, expected '
                f'{" or ".join(known_types)} of {dimensions} dimensions'
            )
            if name in _PICTURES:
                msg += f', the second one {_COLORS}'
            raise EngineError(f'{msg}: export the model again')


def _check_names(
    graph: Graph, what: str, needed: Sequence[str], found: Mapping[str, Shape]
) -> None:
    if missing := [name for name in needed if name not in found]:
        msg = f'graph {graph.path} has no {what} {", ".join(missing)}, only {listed(found)}'
        raise EngineError(f'{msg}: export the model again')
