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
import math
from pathlib import Path
from typing import NamedTuple

import onnx

from uhr_seg_ros.core.bundle import IMAGENET_MEAN, IMAGENET_STD
from uhr_seg_ros.core.errors import BundleError
from uhr_seg_ros.core.text import listed
from uhr_seg_ros.export.network_trial import (
    DoesNotRunError,
    noise,
    read_scores,
    Scores,
    Trial,
)
from uhr_seg_ros.onnx_graphs.foreign_network import (
    inputs_of,
    Length,
    opset_of,
    outputs_of,
    parameter_count,
    read_network,
    Tensor,
    with_shapes,
)
from uhr_seg_ros.onnx_graphs.network_adaptation import Form, LAYOUTS, LOGITS, MASK, PIXEL_TYPES
from uhr_seg_ros.onnx_graphs.network_ends import Head, head_of, Tail, tail_of, total_stride

#: Where lengths of an axis are, by the layout of an image.
_CHANNELS = {'NCHW': 1, 'NHWC': 3}
_SIDES = {'NCHW': (2, 3), 'NHWC': (1, 2)}

#: The largest stride that is tried, px.
MAX_STRIDE = 128

# Height and width of trials, about, px.
_TRIAL_SIDE = 256


@dataclass(frozen=True)
class Normalization:
    """
    What a network expects of pixels: `(pixel - mean) / std`.

    Attributes:
        mean: RGB, in 0..255.
        std: RGB, in 0..255.
        source: where that is from, in a few words.

    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    source: str


@dataclass(frozen=True)
class Said:
    """
    What the caller says of a network; what is None is found out.

    Attributes:
        normalization: of its input.
        layout: of its input, one of `LAYOUTS`.
        channel_order: of its input.
        stride: what height and width have to be multiples of, px.
        kind: of its output: `LOGITS`, `PROBABILITIES` or `MASK`.
        output: name of the output with the scores or classes.
        classes: how many there are.

    """

    normalization: Normalization | None = None
    layout: str | None = None
    channel_order: str = 'rgb'
    stride: int | None = None
    kind: str | None = None
    output: str | None = None
    classes: int | None = None


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
    image = _image(inputs_of(model), where)
    head = head_of(model, image.name)
    layout, by_layout = _layout(image, said, head, where)
    size = _size(image, layout, where)
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
    trial = _Trials(model, form, normalization, tail, said, where)
    scores, stride = trial.fixed(size) if size else trial.any_size()
    form = replace(
        form,
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
        *_score_findings(scores, form),
    )
    return Inspection(model, form, stride, normalization, tail.cut, findings)


def _image(inputs: Sequence[Tensor], where: str) -> Tensor:
    """Return the one input, which has to be an image."""
    if len(inputs) != 1:
        msg = (
            f'{where} takes {len(inputs)} inputs ({listed(inputs)}), expected one image'
            ': export it with the image alone'
        )
        raise BundleError(msg)
    image = inputs[0]
    if image.dtype not in PIXEL_TYPES:
        msg = (
            f'{where} takes {image}, expected pixels of {", ".join(PIXEL_TYPES)}'
            ': export it with another input'
        )
        raise BundleError(msg)
    if image.shape is None or len(image.shape) != 4:
        msg = (
            f'{where} takes {image}, expected four axes: (1, 3, height, width) or (1, height, '
            'width, 3): export it with such an input'
        )
        raise BundleError(msg)
    if isinstance(image.shape[0], int) and image.shape[0] != 1:
        msg = f'{where} takes {image}, {image.shape[0]} images at a time: export it for one'
        raise BundleError(msg)
    return image


def _layout(image: Tensor, said: Said, head: Head, where: str) -> tuple[str, str]:
    """Return the layout and where it is from."""
    assert image.shape is not None
    lengths = {layout: image.shape[_CHANNELS[layout]] for layout in LAYOUTS}
    wanted = said.layout or head.layout
    if wanted and isinstance(lengths[wanted], int) and lengths[wanted] != 3:
        msg = (
            f'{where} takes {image}: {lengths[wanted]} channels in layout {wanted}, cameras '
            'give 3: give another --layout, or a network of color images'
        )
        raise BundleError(msg)
    if said.layout:
        return said.layout, 'given'
    possible = [layout for layout in LAYOUTS if lengths[layout] == 3]
    possible = possible or [name for name in LAYOUTS if not isinstance(lengths[name], int)]
    if not possible:
        msg = (
            f'{where} takes {image}: no axis of 3 channels, as cameras give them'
            ': export a network of color images'
        )
        raise BundleError(msg)
    if len(possible) == 1:
        return possible[0], 'guessed by the axis of 3 channels'
    if head.layout in possible:
        return head.layout, 'guessed by the first convolution'
    msg = (
        f'{where} takes {image}, and which axis has the channels cannot be told'
        f': give --layout, {" or ".join(LAYOUTS)}'
    )
    raise BundleError(msg)


def _size(image: Tensor, layout: str, where: str) -> tuple[int, int] | None:
    """Return the fixed height and width; None where both are open."""
    assert image.shape is not None
    height, width = (_fixed(image.shape[axis]) for axis in _SIDES[layout])
    if height and width:
        return height, width
    if height or width:
        msg = (
            f'{where} takes {image}: one of height and width is fixed and the other one is not'
            ': export it with both open, or both fixed'
        )
        raise BundleError(msg)
    return None


def _fixed(length: Length) -> int | None:
    return length if isinstance(length, int) else None


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


class _Trials:
    """Runs a network at sizes, to find out what it gives."""

    def __init__(
        self,
        model: onnx.ModelProto,
        form: Form,
        normalization: Normalization | None,
        tail: Tail,
        said: Said,
        where: str,
    ) -> None:
        self._model, self._form, self._tail, self._said = model, form, tail, said
        self._where = where
        self._trial = Trial(model, form, [tail.tensor], where)
        found = normalization or Normalization(IMAGENET_MEAN, IMAGENET_STD, '')
        self._mean, self._std = found.mean, found.std

    def fixed(self, size: tuple[int, int]) -> tuple[Scores, int]:
        """Run it at the one size that it takes; return what it gives and the stride."""
        given = self._said.stride
        if given is not None and any(side % given for side in size):
            msg = (
                f'{self._where} takes {size[1]}x{size[0]} px, no multiples of --stride {given}'
                ': give one that divides both, or none'
            )
            raise BundleError(msg)
        try:
            scores = self._scores(size)
        except DoesNotRunError as err:
            msg = (
                f'{self._where} does not run on a picture of {size[1]}x{size[0]} px: {err}'
                ': export it again'
            )
            raise BundleError(msg) from err
        return scores, math.lcm(given or 1, scores.step or 1)

    def any_size(self) -> tuple[Scores, int]:
        """Run it at multiples of possible strides; return what it gives and the stride."""
        given, first = self._said.stride, total_stride(self._model, self._form.image)
        strides = [given] if given else list(_doubled(min(first, MAX_STRIDE)))
        reason = ''
        for stride in strides:
            size = _odd_multiples(stride)
            try:
                scores = self._scores(size)
            except DoesNotRunError as err:
                reason = reason or str(err)
                continue
            if scores.step is not None and stride % scores.step == 0:
                return scores, stride
            reason = reason or f'it gives {scores.shape} for {size[1]}x{size[0]} px'
        msg = (
            f'{self._where} takes any size, but none that is a multiple of '
            f'{listed(strides)} px ({reason}): give its --stride, or export it for one size'
        )
        raise BundleError(msg)

    def _scores(self, size: tuple[int, int]) -> Scores:
        values = self._trial.run(noise(size, self._mean, self._std))[0]
        said, layout = self._said, self._form.layout
        return read_scores(values, size, self._tail, layout, said.kind, said.classes, self._where)


def _doubled(first: int) -> Iterator[int]:
    while first <= MAX_STRIDE:
        yield first
        first *= 2


def _odd_multiples(stride: int) -> tuple[int, int]:
    """Return a height and a width that are no multiples of twice the stride, px."""
    count = _TRIAL_SIDE // stride
    return (count | 1) * stride, ((count + 2) | 1) * stride


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


def _score_findings(scores: Scores, form: Form) -> Iterator[Finding]:
    yield Finding('output kind', form.kind, scores.source)
    count = f'{form.classes}, by one score' if form.is_binary else f'{form.classes}'
    if form.kind == MASK:
        yield Finding('classes', f'at least {scores.classes}', 'seen in noise: give --classes')
    else:
        yield Finding('classes', count, 'found by running it')
    step = 'no whole number of px' if scores.step is None else f'{scores.step} px'
    yield Finding('one score per', step, 'found by running it')
