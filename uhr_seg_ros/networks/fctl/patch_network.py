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

"""What all networks have in common that segment patches with the help of their contexts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from types import EllipsisType

import torch
from torch.nn import functional

from uhr_seg_ros.core.patch_grid import Context, PatchGrid, place_in, Reduction
from uhr_seg_ros.networks.backbones.base import SegmentationNetwork
from uhr_seg_ros.networks.backbones.layers import without_autocast
from uhr_seg_ros.networks.backbones.normalization import normalized_planes, unit_range

#: Share of the training patches that are made to lie at a border of their image, as many of the
#: patches of an image do.
AT_BORDER = 0.25


class PatchNetwork(SegmentationNetwork):
    """
    Cut an image into patches, segment each with its contexts, add up their logits.

    ``forward``: normalized RGB image (N, 3, H, W) -> logits (N, classes, H, W), patch by patch as
    the pipeline ``patches`` does it at run time. A subclass encodes contexts and segments patches.

    Args:
        classes: Number of classes.
        side: Of a patch, px.
        contexts: Name -> factor, see ``Context``.
    """

    kind = 'patches'

    def __init__(self, classes: int, side: int, contexts: Mapping[str, float | str]) -> None:
        super().__init__()
        self.classes, self.side = classes, side
        self.contexts = {name: Context(factor, side) for name, factor in contexts.items()}

    def encode(self, name: str, image: torch.Tensor) -> torch.Tensor:
        """Reduced context (N, 3, side, side) -> its map."""
        raise NotImplementedError

    def segment(
        self, patch: torch.Tensor, maps: Mapping[str, torch.Tensor], place: torch.Tensor
    ) -> torch.Tensor:
        """
        Segment patches.

        Args:
            patch: (N, 3, side, side).
            maps: Context -> what ``encode`` gave for it; those of the whole image may have one
                sample for all patches.
            place: (N, 4) top, left, height and width of the patches, as shares of the image.

        Returns:
            Logits (N, classes, side, side).
        """
        raise NotImplementedError

    def exported(self) -> PatchNetwork:
        """Return a network that computes the same, in the form that its graphs are written in."""
        return self

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        size = (image.shape[2], image.shape[3])
        grid = PatchGrid.of(size, self.side, self.contexts)
        frames = {
            name: self._reduce(image, context.of_frame(size, grid.size))
            for name, context in self.contexts.items()
        }
        known = {
            name: self.encode(name, frames[name])
            for name, context in self.contexts.items()
            if context.is_whole
        }
        image = self._with_black(image, grid.size)
        total = image.new_zeros(len(image), self.classes, *grid.size)
        for place in product(grid.rows, grid.columns):
            maps = {
                name: known[name]
                if name in known
                else self.encode(name, frames[name][_window(context.start(place), self.side)])
                for name, context in self.contexts.items()
            }
            window = _window(place, self.side)
            shares = image.new_tensor([place_in(place, self.side, size)])
            total[window] += self.segment(image[window], maps, shares.expand(len(image), -1))
        return total[..., : size[0], : size[1]]

    def forward_train(self, image: torch.Tensor) -> dict[str, torch.Tensor | slice]:
        """
        Segment one patch of every image, at a random place where its contexts end inside.

        Where one context is the whole image the place is anywhere, as in an image at run time.

        Returns:
            ``refine``: logits (N, classes, side, side); ``rows`` and ``columns``: where the
            patches lie.
        """
        contexts = self.contexts.values()
        any_place = any(context.is_whole for context in contexts)
        margin = 0 if any_place else max((context.border for context in contexts), default=0)
        place = [_random_start(length, self.side, margin) for length in image.shape[2:]]
        rows, columns = (slice(start, start + self.side) for start in place)
        if margin and torch.rand(()) < AT_BORDER:
            image = self._cut_off(image, place, margin)
        maps = {
            name: self.encode(name, self._reduce(image, _around(context, image, place)))
            for name, context in self.contexts.items()
        }
        shares = image.new_tensor([place_in(place, self.side, image.shape[2:])])
        logits = self.segment(image[..., rows, columns], maps, shares.expand(len(image), -1))
        return {'refine': logits, 'rows': rows, 'columns': columns}

    def visible_labels(
        self, labels: torch.Tensor, outputs: Mapping[str, torch.Tensor | slice]
    ) -> torch.Tensor:
        return labels[:, outputs['rows'], outputs['columns']]

    def _with_black(self, image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        dark = black(image)
        padding = (0, size[1] - image.shape[3], 0, size[0] - image.shape[2])
        return functional.pad(image - dark, padding) + dark

    def _cut_off(self, image: torch.Tensor, place: Sequence[int], margin: int) -> torch.Tensor:
        """Make everything black that lies further than some px beyond one side of the patch."""
        axis, after = (int(torch.randint(2, ())) for _ in range(2))
        distance = int(torch.randint(margin + 1, ()))
        first, last = place[axis] - distance, place[axis] + self.side + distance
        outside = slice(last, None) if after else slice(0, max(first, 0))
        image = image.clone()
        image[(..., outside, slice(None)) if axis == 0 else (..., outside)] = black(image)
        return image

    @torch.no_grad()
    def _reduce(self, image: torch.Tensor, axes: tuple[Reduction, Reduction]) -> torch.Tensor:
        """Reduce an image to whole gray levels, as cameras and files have them."""
        rows, columns = (
            _matrix(axis, size).to(image) for axis, size in zip(axes, image.shape[2:], strict=True)
        )
        gray = (255 * unit_range(image)).round()
        # Half precision has not enough digits for sums of gray levels.
        with without_autocast(image):
            reduced = rows @ gray @ columns.T
        return normalized_planes((reduced + 0.5).floor())


def black(like: torch.Tensor) -> torch.Tensor:
    """Return what black is after normalization, (3, 1, 1)."""
    return normalized_planes(like.new_zeros(3, 1, 1))


def _random_start(length: int, side: int, margin: int) -> int:
    """Return a place of a patch with as much of a margin around it as there is room for."""
    room = length - side
    margin = min(margin, room // 2)
    return margin + int(torch.randint(room - 2 * margin + 1, ()))


def _around(
    context: Context, image: torch.Tensor, place: Sequence[int]
) -> tuple[Reduction, Reduction]:
    """Return how an image is reduced to the context of one patch."""
    rows, columns = (
        context.reduction(length, start)
        for length, start in zip(image.shape[2:], place, strict=True)
    )
    return rows, columns


def _matrix(axis: Reduction, size: int) -> torch.Tensor:
    """Return the matrix (new, old) that reduces an axis."""
    places, weights = torch.from_numpy(axis.places), torch.from_numpy(axis.weights)
    return torch.zeros(len(places), size).scatter_add_(1, places, weights)


def _window(place: Sequence[int], side: int) -> tuple[EllipsisType | slice, ...]:
    top, left = place
    return ..., slice(top, top + side), slice(left, left + side)
