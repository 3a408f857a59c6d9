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

"""The input of a network of others: what is said of it, and what its graph says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from uhr_seg_ros.core.errors import BundleError
from uhr_seg_ros.core.text import listed
from uhr_seg_ros.onnx_graphs.foreign_network import Length, Tensor
from uhr_seg_ros.onnx_graphs.network_adaptation import LAYOUTS, PIXEL_TYPES
from uhr_seg_ros.onnx_graphs.network_ends import Head

#: Where lengths of an axis are, by the layout of an image.
_CHANNELS = {'NCHW': 1, 'NHWC': 3}
_SIDES = {'NCHW': (2, 3), 'NHWC': (1, 2)}


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


def image_input(inputs: Sequence[Tensor], where: str) -> Tensor:
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


def layout_of(image: Tensor, said: Said, head: Head, where: str) -> tuple[str, str]:
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


def fixed_size_of(image: Tensor, layout: str, where: str) -> tuple[int, int] | None:
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
