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

"""Ranges of activations in eight bits."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('onnx', reason='graphs are calibrated with onnx')
from uhr_seg_ros.onnx_graphs.calibration import byte_range, union

VALUES = np.random.default_rng(2).standard_normal((1, 64, 64, 64)).astype(np.float32)


def squared_error(values: np.ndarray, low: float, high: float) -> float:
    step = (high - low) / 255
    return float(((np.rint(np.clip(values, low, high) / step) * step - values) ** 2).mean())


def test_zero_lies_in_the_range() -> None:
    assert byte_range(np.full((1, 2, 3, 3), 5.0, np.float32)) == (0.0, 5.0)
    assert byte_range(np.full((1, 2, 3, 3), -5.0, np.float32)) == (-5.0, 0.0)
    assert byte_range(np.zeros((1, 2, 3, 3), np.float32)) == (0.0, 0.0)


def test_better_than_the_whole_range() -> None:
    values = np.maximum(VALUES, 0)
    values[0, 0, 0, 0] = 20.0
    low, high = byte_range(values)
    assert low == 0
    assert 4.0 < high < 18.0
    assert squared_error(values, low, high) < 0.9 * squared_error(values, 0.0, 20.0)


def test_both_ends_shrink_alike() -> None:
    values = VALUES.copy()
    values[0, 0, 0, :2] = -60.0, 30.0
    low, high = byte_range(values)
    assert low / high == pytest.approx(-2.0)
    assert high < 30.0


def test_union() -> None:
    assert union((-1.0, 2.0), None) == (-1.0, 2.0)
    assert union((-1.0, 2.0), (-3.0, 1.0)) == (-3.0, 2.0)
