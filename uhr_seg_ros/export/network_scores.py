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

"""What the output of a network of others tells of itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from uhr_seg_ros.core.errors import BundleError
from uhr_seg_ros.onnx_graphs.network_adaptation import LOGITS, MASK, PROBABILITIES
from uhr_seg_ros.onnx_graphs.network_ends import Tail

#: Height and width, px.
Size = tuple[int, int]

# So far may probabilities of a pixel be from 1 in sum.
_SUM_TOLERANCE = 1e-2

# No network for pixels gives less than one score for so many of them, along a side.
_MAX_STEP = 64


@dataclass(frozen=True)
class Scores:
    """
    What an output is.

    Attributes:
        shape: as it was found.
        axes: of the letters N, C, H and W.
        kind: `LOGITS`, `PROBABILITIES` or `MASK`.
        source: how the kind is known.
        classes: how many there are; of a mask without a list of classes, so many were seen.
        is_binary: whether there is one score per pixel.
        step: px of the input per row and per column, where that is a whole number, the same one.

    """

    shape: tuple[int, ...]
    axes: str
    kind: str
    source: str
    classes: int
    is_binary: bool
    step: int | None


def read_scores(
    values: np.ndarray,
    size: Size,
    tail: Tail,
    layout: str,
    kind: str | None,
    classes: int | None,
    where: str,
) -> Scores:
    """
    Find out what an output is by what it gave.

    Args:
        values: the output, or the scores behind it.
        size: of the image, px.
        tail: what was cut off behind it.
        layout: of the image, which decides where the shape leaves it open.
        kind: what somebody says that it is.
        classes: how many there are, if known.
        where: what errors begin with.

    Raises:
        BundleError: it is nothing that gives a class for each pixel, or contradicts what is said.

    """
    what = f'{where} gives {values.dtype} {values.shape} for a picture of {size[1]}x{size[0]} px'
    if values.dtype.kind not in 'fiub':
        msg = f'{what}, expected numbers: scores or classes of pixels'
        raise BundleError(msg)
    if values.dtype.kind == 'f' and not np.isfinite(values).all():
        msg = f'{what}, some of which are not finite: export other weights'
        raise BundleError(msg)
    if 'ArgMax' not in tail.cut and _is_mask(values, kind, classes):
        return _mask(values, size, kind, classes, what)
    axes = _axes(values.shape, size, tail, layout, classes)
    if values.dtype.kind != 'f' or axes is None or kind == MASK and 'ArgMax' not in tail.cut:
        msg = (
            f'{what}, expected scores (1, classes, rows, columns) of float type, or classes '
            '(1, rows, columns): export the network with such an output'
        )
        raise BundleError(msg)
    count = values.shape[axes.index('C')]
    is_binary = count == 1
    if classes is not None and classes != max(count, 2):
        named = 'one score, which makes two classes' if is_binary else f'{count} classes'
        msg = f'{what}: {named}, where the list of classes has {classes}: give another --classes'
        raise BundleError(msg)
    kind, source = _score_kind(values, axes.index('C'), tail, kind, what)
    rows, columns = (values.shape[axes.index(letter)] for letter in 'HW')
    step = _step(size, (rows, columns))
    return Scores(values.shape, axes, kind, source, max(count, 2), is_binary, step)


def _is_mask(values: np.ndarray, kind: str | None, classes: int | None) -> bool:
    if kind is not None:
        return kind == MASK
    if values.dtype.kind != 'f':
        return True
    # One value per pixel, and too many classes for it to be a score.
    alone = sorted(values.shape)[-3:-2] in ([], [1])
    return alone and (classes or 0) > 2 and bool((values == np.floor(values)).all())


def _mask(
    values: np.ndarray, size: Size, kind: str | None, classes: int | None, what: str
) -> Scores:
    possible = {2: ('HW',), 3: ('NHW',), 4: ('NCHW', 'NHWC')}.get(values.ndim, ())
    for axes in possible:
        lengths = dict(zip(axes, values.shape, strict=True))
        sides = lengths.pop('H'), lengths.pop('W')
        if set(lengths.values()) <= {1} and _is_proportional(size, sides):
            break
    else:
        msg = f'{what}, expected classes of pixels (1, rows, columns): export such an output'
        raise BundleError(msg)
    least, most = float(values.min()), float(values.max())
    if least < 0 or most != int(most) or (classes is not None and most >= classes):
        last = 'number of classes' if classes is None else classes - 1
        msg = f'{what}, from {least:g} to {most:g}, expected the numbers of classes, 0 to {last}'
        raise BundleError(msg)
    source = 'given' if kind else 'guessed: whole numbers, one per pixel'
    step = _step(size, sides)
    return Scores(values.shape, axes, MASK, source, classes or int(most) + 1, False, step)


def _axes(
    shape: tuple[int, ...], size: Size, tail: Tail, layout: str, classes: int | None
) -> str | None:
    """Return the axes of scores; None where none fits."""
    possible = []
    for axes in {3: ('CHW', 'HWC'), 4: ('NCHW', 'NHWC')}.get(len(shape), ()):
        lengths = dict(zip(axes, shape, strict=True))
        fits = lengths.get('N', 1) == 1 and _is_proportional(size, (lengths['H'], lengths['W']))
        if fits and (tail.axis is None or axes.index('C') == tail.axis % len(shape)):
            possible.append(axes)
    if len(possible) > 1:
        counts = {axes: shape[axes.index('C')] for axes in possible}
        fitting = [axes for axes in possible if max(counts[axes], 2) == classes]
        possible = fitting if fitting else possible
    preferred = [axes for axes in possible if axes in layout]
    return next(iter([*preferred, *possible]), None)


def _score_kind(
    values: np.ndarray, axis: int, tail: Tail, kind: str | None, what: str
) -> tuple[str, str]:
    """Return the kind of scores and how it is known."""
    if tail.cut:
        return LOGITS, f'of the graph: in front of {" and ".join(tail.cut)}, left out'
    bounded = bool(values.min() >= 0 and values.max() <= 1)
    if kind == PROBABILITIES and not bounded:
        msg = (
            f'{what}, from {values.min():g} to {values.max():g}: no probabilities'
            ': give --output-kind logits'
        )
        raise BundleError(msg)
    if kind is not None:
        return kind, 'given'
    if values.shape[axis] == 1:
        if bounded:
            return PROBABILITIES, 'guessed: all of them are 0 to 1'
        return LOGITS, 'guessed: not all of them are 0 to 1'
    if bounded and np.allclose(values.sum(axis), 1, atol=_SUM_TOLERANCE):
        return PROBABILITIES, 'guessed: those of a pixel sum up to 1'
    return LOGITS, 'guessed: those of a pixel do not sum up to 1'


def _is_proportional(size: Size, sides: Size) -> bool:
    """Tell whether rows and columns may be those of an image, with any stride, rounded any way."""
    (height, width), (rows, columns) = size, sides
    return (
        height * (columns - 1) < width * (rows + 1)
        and width * (rows - 1) < height * (columns + 1)
        and height / _MAX_STEP <= rows <= height
        and width / _MAX_STEP <= columns <= width
    )


def _step(size: Size, sides: Size) -> int | None:
    steps = {a // b if a % b == 0 else None for a, b in zip(size, sides, strict=True)}
    return steps.pop() if len(steps) == 1 else None
