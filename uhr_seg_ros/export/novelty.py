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
What a bundle knows of its ground: the frames near which others are no news to the model.

A frame is the mean of its tokens, the features of the semantic branch, over all cells. Of the
frames of a calibration, the means are whitened and kept; another frame is as far as the nearest
of them. The distance over its usual size on ground that was not kept is the novelty.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.backends.registry import open_backend
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.errors import BundleError, ConfigError
from uhr_seg_ros.pipelines.novelty import NOVELTY
from uhr_seg_ros.pipelines.preprocessing import Preprocessor

#: So many frames are kept at most: 130 kB of 32 features.
MAX_KNOWN = 1024

#: Share of the frames of unseen ground that are to be within the limit.
WITHIN = 0.95

#: Share of the covariance between features that is left out, for what few frames cannot tell.
SHRINKAGE = 0.02

#: Sides of the parts of a picture that are looked at as frames, px; brightness and size of others.
SIDES, GAINS, ZOOMS = (600, 2000), (0.6, 1.3), (0.7, 1.4)

#: Parts in which ground is held out in turn where none is given: neighbors stay together.
_FOLDS = 4


class FrameFeatures:
    """
    Sees frames as the semantic branch does.

    Args:
        bundle: of a kind with tokens.
        options: of the engines.

    Raises:
        BundleError: a bundle of another kind.

    """

    def __init__(self, bundle: Bundle, options: EngineOptions = EngineOptions()) -> None:  # noqa: B008
        if NOVELTY not in bundle.kind.graphs:
            msg = (
                f'bundle {bundle.path} of kind {bundle.kind} has no semantic branch, which '
                'would tell known ground: only two_branch has'
            )
            raise BundleError(msg)
        self._preprocessor = Preprocessor(bundle)
        self._backend = open_backend(bundle, options)
        precision = bundle.cpu_precision if options.precision == 'auto' else options.precision
        self._engine = self._backend.open(bundle.graphs_in(precision)['semantic'], {})

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Return the mean token of (H, W, 3) uint8 BGR: (T,) float32."""
        low_res = self._preprocessor.low_res(np.ascontiguousarray(image))
        return self._engine.run({'low_res': low_res}, ['tokens'])['tokens'][0].mean((1, 2))

    def close(self) -> None:
        """Free the memory of the engine."""
        self._engine.close()
        self._backend.close()


def views(image: np.ndarray, count: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """
    Yield a picture, and parts of it as other frames could show them.

    Args:
        image: (H, W, 3) uint8 BGR.
        count: of the parts; every second one comes darker or brighter, and smaller or larger, too.
        generator: of their places.

    """
    yield image
    height, width = image.shape[:2]
    smallest, largest = (min(side, height, width) for side in SIDES)
    for index in range(count):
        columns = round(np.exp(generator.uniform(np.log(smallest), np.log(largest))))
        rows = round(columns * generator.choice([1.0, 0.75, 0.5625]))
        top, left = generator.integers(height - rows + 1), generator.integers(width - columns + 1)
        part = image[top : top + rows, left : left + columns]
        yield part
        if index % 2 == 0:
            yield cv2.convertScaleAbs(part, alpha=generator.uniform(*GAINS))
            zoom = generator.choice(ZOOMS)
            how = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
            yield cv2.resize(part, None, fx=zoom, fy=zoom, interpolation=how)


@dataclass(frozen=True)
class Known:
    """
    What is known.

    Attributes:
        mean: (T,) of the features.
        whitening: (T, T), features to values of one size that are independent of each other.
        frames: (N, T), whitened.
        limit: distance of the nearest of them up to which a frame is known.

    """

    mean: np.ndarray
    whitening: np.ndarray
    frames: np.ndarray
    limit: float = 1.0

    def novelty(self, features: np.ndarray) -> np.ndarray:
        """Return how far (M, T) frames are from the nearest one that is known: (M,)."""
        whitened = (features - self.mean) @ self.whitening
        squares = ((whitened[:, None] - self.frames) ** 2).sum(2)
        return np.sqrt(squares.min(1)) / self.limit


def fit_known(parts: Sequence[np.ndarray], held_out: np.ndarray | None = None) -> Known:
    """
    Learn what is known.

    Args:
        parts: features (N, T) of the frames of each picture, in the order of the pictures.
        held_out: features (M, T) of frames of other ground that is known too, for the limit; None
            holds out every fourth of the pictures in turn.

    Raises:
        ConfigError: a single picture, and nothing held out; or all frames look alike.

    """
    if held_out is None and len(parts) < 2:
        msg = 'one picture tells nothing of how others differ: give several, or --held-out'
        raise ConfigError(msg)
    known = _keep(np.concatenate(parts))
    if held_out is None:
        distances = np.concatenate(list(_in_turn(parts)))
    else:
        distances = known.novelty(held_out)
    limit = float(np.quantile(distances, WITHIN))
    if not limit > 0:
        msg = 'all frames look alike, so that nothing tells how others differ: give other ones'
        raise ConfigError(msg)
    return Known(known.mean, known.whitening, known.frames, limit)


def write_known(known: Known, path: Path) -> None:
    """Write the graph `novelty`: `tokens` (1, T, h, w) float32 -> `novelty` (1, 1) float32."""
    count = len(known.mean)
    constants = {
        'mean': known.mean,
        'whitening': known.whitening,
        'known': known.frames,
        'limit': np.array(known.limit),
    }
    nodes = [
        helper.make_node('GlobalAveragePool', ['tokens'], ['pooled']),
        helper.make_node('Flatten', ['pooled'], ['features']),
        helper.make_node('Sub', ['features', 'mean'], ['centered']),
        helper.make_node('MatMul', ['centered', 'whitening'], ['whitened']),
        helper.make_node('Sub', ['known', 'whitened'], ['differences']),
        helper.make_node('ReduceSumSquare', ['differences'], ['squares'], axes=[1], keepdims=1),
        helper.make_node('ReduceMin', ['squares'], ['nearest'], axes=[0], keepdims=1),
        helper.make_node('Sqrt', ['nearest'], ['distance']),
        helper.make_node('Div', ['distance', 'limit'], [NOVELTY]),
    ]
    graph = helper.make_graph(
        nodes,
        NOVELTY,
        [
            helper.make_tensor_value_info(
                'tokens', TensorProto.FLOAT, [1, count, 'rows', 'columns']
            )
        ],
        [helper.make_tensor_value_info(NOVELTY, TensorProto.FLOAT, [1, 1])],
        [
            numpy_helper.from_array(np.asarray(value, np.float32), name)
            for name, value in constants.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _keep(features: np.ndarray) -> Known:
    mean, covariance = features.mean(0), np.atleast_2d(np.cov(features.T))
    variances = np.diag(covariance)
    covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * np.diag(variances)
    scales, axes = np.linalg.eigh(covariance)
    # Features that never change say nothing, and rounding must not make them loud.
    whitening = axes / np.sqrt(np.maximum(scales, 1e-6 * variances.mean() + 1e-12) * len(mean))
    return Known(mean, whitening, _spread((features - mean) @ whitening))


def _spread(frames: np.ndarray) -> np.ndarray:
    """Return up to `MAX_KNOWN` of the frames, each the farthest one from those before it."""
    if len(frames) <= MAX_KNOWN:
        return frames
    chosen = [0]
    nearest = np.full(len(frames), np.inf)
    while len(chosen) < MAX_KNOWN:
        nearest = np.minimum(nearest, ((frames - frames[chosen[-1]]) ** 2).sum(1))
        chosen.append(int(nearest.argmax()))
    return frames[chosen]


def _in_turn(parts: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the distances of each fold of the pictures from the frames of all others."""
    for fold in np.array_split(np.arange(len(parts)), min(_FOLDS, len(parts))):
        others = [part for index, part in enumerate(parts) if index not in fold]
        known = _keep(np.concatenate(others))
        yield known.novelty(np.concatenate([parts[index] for index in fold]))
