# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""
Random walks through a band of pixels, from each to the seeds around it.

Source: Grady, "Random Walks for Image Segmentation", PAMI 2006.
"""

from __future__ import annotations

from typing import NamedTuple, TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

#: Rows and columns to the neighbours a walker steps to.
STEPS = ((-1, 0), (0, -1), (0, 1), (1, 0))
#: Of an edge: a walker is never stuck.
LEAST_WEIGHT = 1e-10


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
    return np.exp(-scale * difference**2) + LEAST_WEIGHT


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
    links = _links(graph)
    kept = np.where(_is_cut_off(graph, links), 1.0, 0.0)
    classes = np.flatnonzero(np.bincount(np.append(graph.own, graph.seeds[graph.to_seed])))
    # One class less than there are: the probabilities add up to one.
    arrivals = [
        np.where(graph.to_seed & (graph.seeds == each), graph.weights, 0.0).sum(0)
        + np.where(graph.own == each, kept, 0.0)
        for each in classes[:-1]
    ]
    found = np.ones((len(graph.pixels), len(classes)))
    if arrivals:
        found[:, :-1] = _solve(links, graph.weights.sum(0) + kept, np.stack(arrivals, 1))
        found[:, -1] -= found[:, :-1].sum(1)
    return Walk(graph.pixels, classes, found)


class _Graph(NamedTuple):
    """The band: N pixels with the four edges of each."""

    pixels: np.ndarray  # (N,) counted row by row
    own: np.ndarray  # (N,) class before
    weights: np.ndarray  # (4, N) 0 where the array ends
    ends: np.ndarray  # (4, N) number of the neighbour in the band, or -1
    seeds: np.ndarray  # (4, N) class of the neighbour
    to_seed: np.ndarray  # (4, N) bool


def _graph(
    band: np.ndarray, mask: np.ndarray, gray: np.ndarray, weights: np.ndarray
) -> _Graph:
    height, width = band.shape
    pixels = np.flatnonzero(band)
    numbers = np.full(band.size, -1, np.int32)
    numbers[pixels] = np.arange(len(pixels), dtype=np.int32)
    rows, columns = np.divmod(pixels, width)
    inside = np.stack([rows > 0, columns > 0, columns < width - 1, rows < height - 1])
    offsets = np.array([row * width + column for row, column in STEPS])
    neighbours = np.where(inside, pixels + offsets[:, None], pixels)
    levels, classes = gray.ravel().astype(np.int16), mask.ravel()
    differences = np.abs(levels[neighbours] - levels[pixels])
    edges = weights[differences] * inside
    ends = numbers[neighbours]
    return _Graph(
        pixels, classes[pixels], edges, ends, classes[neighbours], inside & (ends < 0)
    )  # fmt: skip


def _links(graph: _Graph) -> csr_matrix:
    """Give the weights between pixels of the band: (N, N)."""
    from scipy.sparse import csr_matrix

    inside = graph.ends.T >= 0
    starts = np.concatenate([[0], np.cumsum(inside.sum(1))]).astype(np.int32)
    count = len(graph.pixels)
    return csr_matrix((graph.weights.T[inside], graph.ends.T[inside], starts), (count, count))


def _is_cut_off(graph: _Graph, links: csr_matrix) -> np.ndarray:
    """Tell of each pixel whether no way through the band leads to a seed: (N,) bool."""
    from scipy.sparse.csgraph import connected_components

    pieces = connected_components(links, directed=False)[1]
    return ~(np.bincount(pieces, graph.to_seed.any(0)) > 0)[pieces]


def _solve(links: csr_matrix, diagonal: np.ndarray, arrivals: np.ndarray) -> np.ndarray:
    """
    Solve (diagonal - links) x = arrivals by a banded Cholesky factorisation.

    A band of pixels is narrow: ordered along it, so is its matrix, and a direct solver beats
    iterations several times.

    Args:
        links: (N, N), symmetric.
        diagonal: (N,), at least the sum of the links.
        arrivals: (N, K - 1).

    Returns:
        (N, K - 1).

    """
    from scipy.linalg import lapack
    from scipy.sparse.csgraph import reverse_cuthill_mckee

    order = reverse_cuthill_mckee(links, symmetric_mode=True)
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    rows, columns = np.repeat(places, np.diff(links.indptr)), places[links.indices]
    lower = rows > columns
    below = (rows - columns)[lower]
    matrix = np.zeros((1 + below.max(initial=0), len(order)), order='F')
    matrix[0] = diagonal[order]
    matrix[below, columns[lower]] = -links.data[lower]
    _, found, failure = lapack.dpbsv(matrix, arrivals[order], lower=1, overwrite_ab=1)
    if failure:  # cannot be: every piece of the band has a row that outweighs its links
        msg = f'banded factorisation of {len(order)} pixels failed at {failure}'
        raise ArithmeticError(msg)
    result = np.empty_like(found)
    result[order] = found
    return result
