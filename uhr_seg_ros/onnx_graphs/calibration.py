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

"""What real frames show: the values of inner tensors, and ranges for eight bits of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper
import onnxruntime as ort

from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.core.text import one_line

#: Input name -> values.
Feeds = Mapping[str, np.ndarray]

#: Lowest and highest value.
Range = tuple[np.float32, np.float32]

#: Shares of the whole range that are tried.
SHARES = np.linspace(0.2, 1.0, 33)
_BINS = 4096
#: Values of one tensor and frame that are looked at.
_SAMPLES = 1 << 18

#: Largest int8.
LARGEST_INT8 = 127


class ActivationObserver:
    """
    Run a graph and look at some of its tensors.

    Args:
        model: float32.
        names: of inputs, inner tensors and outputs.

    """

    def __init__(self, model: onnx.ModelProto, names: Sequence[str]) -> None:
        self._name, self._names = model.graph.name, names
        observed = onnx.ModelProto()
        observed.CopyFrom(model)
        known = {info.name for info in (*model.graph.input, *model.graph.output)}
        observed.graph.output.extend(
            helper.make_empty_tensor_value_info(name) for name in names if name not in known
        )
        options = ort.SessionOptions()
        options.log_severity_level = 3  # warnings repeat what the raised error says
        self._session = ort.InferenceSession(
            observed.SerializeToString(), options, providers=['CPUExecutionProvider']
        )

    def values(self, feed: Feeds) -> dict[str, np.ndarray]:
        """
        Return the tensors for one input.

        Raises:
            EngineError: the graph cannot take it.

        """
        wanted = [name for name in self._names if name not in feed]
        try:
            found = dict(zip(wanted, self._session.run(wanted, dict(feed)), strict=True))
        except Exception as err:  # the classes of ONNX Runtime have no common base
            msg = f'graph {self._name} cannot be calibrated: {one_line(err)}'
            raise EngineError(msg) from err
        return {name: found[name] if name in found else feed[name] for name in self._names}


def sampled(values: np.ndarray) -> np.ndarray:
    """Take some of the values, in one row."""
    # An odd step meets all columns of a map whose width is a power of two.
    return values.reshape(-1)[:: max(1, values.size // _SAMPLES) | 1]


def best_share(values: np.ndarray, low: float, high: float, steps: int) -> float:
    """
    Find by how much to shrink a range, so that rounding and clipping err least.

    Args:
        values: one row, float32.
        low: zero or the lowest value, whichever is lower.
        high: zero or the highest value, whichever is higher; above `low`.
        steps: between the ends of the range.

    """
    counts, edges = np.histogram(values, _BINS, (low, high))
    centers = (edges[1:] + edges[:-1]) / 2
    lows, highs = (end * SHARES[:, None] for end in (low, high))
    step = (highs - lows) / steps
    errors = np.rint(np.clip(centers, lows, highs) / step) * step - centers
    return float(SHARES[(errors**2 @ counts).argmin()])


def range_end(values: np.ndarray) -> float:
    """
    Return the magnitude to clip at, by which int8 makes the smallest mean squared error.

    Args:
        values: of any shape, float32.

    """
    magnitudes = np.abs(sampled(values))
    largest = float(magnitudes.max(initial=0.0))
    return largest * best_share(magnitudes, 0.0, largest, LARGEST_INT8) if largest else 0.0


def byte_range(values: np.ndarray) -> Range:
    """
    Return the range of an activation as uint8 with a zero point; zero lies in it.

    Args:
        values: of any shape, float32.

    """
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    share = best_share(sampled(values), low, high, 255) if low < high else 1.0
    return np.float32(low * share), np.float32(high * share)


def union(one: Range, other: Range | None) -> Range:
    """Return the range that holds both."""
    return one if other is None else (min(one[0], other[0]), max(one[1], other[1]))
