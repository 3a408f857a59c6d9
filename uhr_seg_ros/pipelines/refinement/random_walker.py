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

"""
Random walks through a band of pixels, from each to the seeds around it.

Source: Grady, "Random Walks for Image Segmentation", PAMI 2006.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

#: Rows and columns to the neighbors a walker steps to.
STRIDES = ((-1, 0), (0, -1), (0, 1), (1, 0))
#: Those of them that meet every edge once.
FORWARD = slice(2, 4)
#: Of an edge: a walker is never stuck.
MIN_WEIGHT = 1e-10


def edge_weights(beta: float, spread: float) -> np.ndarray:
    """
    Weigh edges by the difference of their ends.

    The exponent is that of scikit-image: -beta / (10 spread) d^2 for grey levels from 0 to 1.

    Args:
        beta: how much a difference hinders a walker; Grady's free parameter.
        spread: standard deviation of the image, grey levels from 0 to 255.

    Returns:
        (256,) float64, by the absolute difference of two uint8.

    """
    difference = np.arange(256) / 255.0
    scale = beta / (10.0 * max(spread / 255.0, 1e-6))
    return np.exp(-scale * difference**2) + MIN_WEIGHT


class Walk(NamedTuple):
    """
    Where walkers arrive.

    Attributes:
        pixels: (N,) of the band, counted row by row.
        classes: (K,) ids they may arrive at.
        probabilities: (N, K) float64.

    """

    pixels: np.ndarray
    classes: np.ndarray
    probabilities: np.ndarray


def walk(band: np.ndarray, mask: np.ndarray, gray: np.ndarray, weights: np.ndarray) -> Walk:
    """
    Solve the Dirichlet problem of the band, exactly.

    Where an edge of the array cuts the band, walkers turn back. What has no seeds left keeps its
    classes.

    Args:
        band: (H, W) bool, with at least one pixel.
        mask: (H, W) uint8 or uint16 class ids: of the seeds, and of the band before.
        gray: (H, W) uint8.
        weights: of `edge_weights`.

    """
    graph = _graph(band, mask, gray, weights)
    classes = np.flatnonzero(np.bincount(np.append(graph.own, graph.seeds[graph.to_seed])))
    found = np.ones((len(graph.pixels), len(classes)))
    if len(classes) > 1:
        # One class less than there are: the probabilities add up to one.
        found[:, :-1] = _solve(graph, classes[:-1])
        found[:, -1] -= found[:, :-1].sum(1)
    return Walk(graph.pixels, classes, found)


class _Graph(NamedTuple):
    """The band: N pixels with the four edges of each."""

    pixels: np.ndarray  # (N,) counted row by row
    own: np.ndarray  # (N,) class before
    weights: np.ndarray  # (4, N) 0 where the array ends
    ends: np.ndarray  # (4, N) number of the neighbor in the band, else -1
    seeds: np.ndarray  # (4, N) class of the neighbor
    to_seed: np.ndarray  # (4, N) bool


def _graph(band: np.ndarray, mask: np.ndarray, gray: np.ndarray, weights: np.ndarray) -> _Graph:
    height, width = band.shape
    pixels = np.flatnonzero(band)
    numbers = np.full(band.size, -1, np.int32)
    numbers[pixels] = np.arange(len(pixels), dtype=np.int32)
    rows, columns = np.divmod(pixels, width)
    inside = np.stack([rows > 0, columns > 0, columns < width - 1, rows < height - 1])
    offsets = np.array([row * width + column for row, column in STRIDES])
    neighbors = np.where(inside, pixels + offsets[:, None], pixels)
    levels, classes = gray.ravel().astype(np.int16), mask.ravel()
    differences = np.abs(levels[neighbors] - levels[pixels])
    edges = weights[differences] * inside
    ends = np.where(inside, numbers[neighbors], -1)
    return _Graph(pixels, classes[pixels], edges, ends, classes[neighbors], inside & (ends < 0))


def _solve(graph: _Graph, classes: np.ndarray) -> np.ndarray:
    """
    Solve (degrees - weights) x = arrivals by a banded Cholesky factorisation.

    A band of pixels is narrow: ordered along it, so is its matrix, and a direct solver beats
    iterations several times.

    Args:
        graph: of N pixels.
        classes: (K,) ids.

    Returns:
        (N, K) probabilities to arrive at each.

    """
    from scipy.linalg import lapack

    order = _along(graph)
    below, place, weights = _lower_part(graph, order)
    kept = _cut_off(np.any(graph.to_seed, axis=0)[order], place)
    matrix = np.zeros((1 + below.max(initial=0), len(order)), order='F')
    matrix[0] = graph.weights.sum(0)[order] + kept
    matrix[below, place] = -weights
    arrivals = [
        np.where(graph.to_seed & (graph.seeds == each), graph.weights, 0.0).sum(0)[order]
        + kept * (graph.own[order] == each)
        for each in classes
    ]
    _, found, failure = lapack.dpbsv(matrix, np.stack(arrivals, 1), lower=1, overwrite_ab=1)
    if failure:  # cannot be: every piece of the band has a row that outweighs its links
        msg = f'banded factorisation of {len(order)} pixels failed at {failure}'
        raise ArithmeticError(msg)
    result = np.empty_like(found)
    result[order] = found
    return result


def _along(graph: _Graph) -> np.ndarray:
    """Order the pixels along the band, piece by piece: (N,)."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import reverse_cuthill_mckee

    inside = graph.ends.T >= 0
    ends = graph.ends.T[inside]
    starts = np.concatenate([[0], np.cumsum(inside.sum(1))]).astype(np.int32)
    count = len(graph.pixels)
    links = csr_matrix((np.ones(len(ends), np.int8), ends, starts), shape=(count, count))
    return reverse_cuthill_mckee(links, symmetric_mode=True)


def _lower_part(graph: _Graph, order: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return distance from the diagonal, column and weight of the links, each link once."""
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    ends, weights = graph.ends[FORWARD], graph.weights[FORWARD]
    step, begin = np.nonzero(ends >= 0)
    one, other = places[begin], places[ends[step, begin]]
    return np.abs(one - other), np.minimum(one, other), weights[step, begin]


def _cut_off(reaches_seed: np.ndarray, place: np.ndarray) -> np.ndarray:
    """
    Find pieces of the band from which no way leads to a seed.

    Args:
        reaches_seed: (N,) bool of the ordered pixels.
        place: Columns of `_lower_part`.

    Returns:
        (N,) 1.0 where walkers are to stay where they are, else 0.0.

    """
    is_last = np.ones(len(reaches_seed), bool)
    is_last[place] = False  # but for the last one of a piece, all are linked to a later one
    pieces = np.cumsum(is_last) - is_last
    return np.where(np.bincount(pieces, reaches_seed) > 0, 0.0, 1.0)[pieces]
