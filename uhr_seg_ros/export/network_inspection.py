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

"""What a network of others takes and gives: read from its graph, found by running it, or said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import onnx

from uhr_seg_ros.core.errors import BundleError
from uhr_seg_ros.core.text import listed
from uhr_seg_ros.export.network_input import (
    fixed_size_of,
    image_input,
    layout_of,
    Normalization,
    Said,
)
from uhr_seg_ros.export.network_scores import Scores
from uhr_seg_ros.export.network_trial import SizeTrials
from uhr_seg_ros.onnx_graphs.foreign_network import (
    inputs_of,
    opset_of,
    outputs_of,
    parameter_count,
    read_network,
    Tensor,
    with_shapes,
)
from uhr_seg_ros.onnx_graphs.network_adaptation import Form, LOGITS, MASK
from uhr_seg_ros.onnx_graphs.network_ends import before_enlargement, Head, head_of, Tail, tail_of


class Finding(NamedTuple):
    """One line of what is known of a network: a name, its value and where that is from."""

    name: str
    value: str
    source: str


@dataclass(frozen=True)
class Inspection:
    """
    What a network takes and gives.

    Attributes:
        model: the network, with the shapes of its tensors.
        form: how to adapt it.
        stride: what height and width have to be multiples of, px.
        normalization: None where it can neither be read from the graph nor was said.
        cut: operators behind the scores that are left out, such as ArgMax.
        findings: all of that for people.

    """

    model: onnx.ModelProto
    form: Form
    stride: int
    normalization: Normalization | None
    cut: tuple[str, ...]
    findings: tuple[Finding, ...] = field(default=(), repr=False)


def inspect_network(path: Path, said: Said) -> Inspection:
    """
    Read a network and run it on noise, to find out what nobody says.

    Args:
        path: ONNX file.
        said: what is known already.

    Raises:
        BundleError: it cannot be read, does not run, or is not a network that gives a class for
            each pixel of one image; or something of it has to be said.

    """
    model = with_shapes(read_network(path))
    where = f'network {path}'
    image = image_input(inputs_of(model), where)
    head = head_of(model, image.name)
    layout, by_layout = layout_of(image, said, head, where)
    size = fixed_size_of(image, layout, where)
    output = _output(outputs_of(model), said, where)
    tail = tail_of(model, output.name)
    normalization = _normalization(said, image, head)
    form = Form(
        image=image.name,
        layout=layout,
        dtype=image.dtype,
        channel_order=said.channel_order,
        size=size,
        scores=tail.tensor,
        axes='NCHW',
        kind=LOGITS,
        classes=said.classes or 2,
        is_cast=head.casts,
    )
    scores, stride = SizeTrials(model, form, normalization, tail, said, where).run()
    small = _before_enlargement(model, form, normalization, tail, scores, stride, where)
    if small is not None:
        tail, scores = small
    form = replace(
        form,
        scores=tail.tensor,
        axes=scores.axes,
        kind=scores.kind,
        classes=scores.classes,
        is_binary=scores.is_binary,
        fitting=size if size and scores.step is None else None,
    )
    findings = (
        Finding('file', f'opset {opset_of(model)}, {parameter_count(model):,} values', ''),
        Finding('input', str(image), 'of the graph'),
        Finding('layout', f'{layout}, {form.channel_order}', by_layout),
        _size_finding(form, stride, said),
        _normalization_finding(normalization),
        Finding('output', str(output), 'given' if said.output else 'of the graph'),
        *_score_findings(scores, form, tail),
    )
    return Inspection(model, form, stride, normalization, tail.cut, findings)


def _before_enlargement(
    model: onnx.ModelProto,
    form: Form,
    normalization: Normalization | None,
    tail: Tail,
    scores: Scores,
    stride: int,
    where: str,
) -> tuple[Tail, Scores] | None:
    """Return the smaller logits that a network enlarges to its input at its end, if it does."""
    inner = before_enlargement(model, tail.tensor)
    if inner is None or scores.kind != LOGITS or scores.step != 1:
        return None
    smaller = Tail(inner, tail.cut, tail.axis)
    said = Said(stride=stride, kind=LOGITS)
    found, _ = SizeTrials(model, form, normalization, smaller, said, where).run()
    if found.step is None or (found.axes, found.classes) != (scores.axes, scores.classes):
        return None
    cut = replace(smaller, cut=('Resize', *tail.cut))
    return cut, replace(found, source=scores.source)


def _output(outputs: Sequence[Tensor], said: Said, where: str) -> Tensor:
    """Return the output with the scores or classes."""
    named = {tensor.name: tensor for tensor in outputs}
    if said.output is not None and said.output not in named:
        msg = f'{where} has no output {said.output!r}, it gives {listed(outputs)}'
        raise BundleError(msg)
    if said.output is None and len(named) != 1:
        msg = (
            f'{where} gives {len(named)} outputs ({listed(outputs)}): name the one with the '
            'scores of the classes by --output-name'
        )
        raise BundleError(msg)
    output = named[said.output] if said.output is not None else outputs[0]
    if output.dtype in ('string', 'sequence', 'optional', 'sparse_tensor', 'map'):
        msg = f'{where} gives {output}, expected numbers: scores or classes of pixels'
        raise BundleError(msg)
    return output


def _normalization(said: Said, image: Tensor, head: Head) -> Normalization | None:
    if said.normalization is not None:
        return said.normalization
    if image.dtype == 'uint8':
        return Normalization((0.0,) * 3, (1.0,) * 3, 'guessed: it takes bytes')
    if head.normalizes:
        std = 255.0 / head.highest
        source = f'guessed: the graph normalizes pixels of 0 to {head.highest:g}'
        return Normalization((0.0,) * 3, (std,) * 3, source)
    return None


def _size_finding(form: Form, stride: int, said: Said) -> Finding:
    if form.size is None:
        source = 'given, and found by running it' if said.stride else 'found by running it'
        return Finding('size', f'any multiple of {stride} px', source)
    return Finding('size', f'{form.size[1]}x{form.size[0]} px only', 'of the graph')


def _normalization_finding(found: Normalization | None) -> Finding:
    if found is None:
        return Finding('normalization', 'MUST BE GIVEN', 'by --mean and --std, or --scale')
    return Finding(
        'normalization', f'mean {_shown(found.mean)}, std {_shown(found.std)}', found.source
    )


def _shown(values: Sequence[float]) -> str:
    return ' '.join(f'{value:.6g}' for value in values)


def _score_findings(scores: Scores, form: Form, tail: Tail) -> Iterator[Finding]:
    yield Finding('output kind', form.kind, scores.source)
    count = f'{form.classes}, by one score' if form.is_binary else f'{form.classes}'
    if form.kind == MASK:
        yield Finding('classes', f'at least {scores.classes}', 'seen in noise: give --classes')
    else:
        yield Finding('classes', count, 'found by running it')
    step = 'no whole number of px' if scores.step is None else f'{scores.step} px'
    enlarged = ', before the graph enlarges them' if 'Resize' in tail.cut else ''
    yield Finding('one score per', step, f'found by running it{enlarged}')
