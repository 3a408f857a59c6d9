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

"""Weights in half: each is close, and their sums are closer."""

from __future__ import annotations

import numpy as np
import pytest

from uhr_seg_ros.onnx_graphs.precision import round_to_half, summed_axes

GENERATOR = np.random.default_rng(0)


@pytest.mark.parametrize(
    ('operator', 'place', 'shape'),
    (
        ('Conv', 1, (8, 64, 3, 3)),
        ('MatMul', 1, (64, 8)),
        ('MatMul', 1, (2, 64, 8)),
        ('MatMul', 0, (5, 64)),
    ),
)
def test_sums_stay(operator: str, place: int, shape: tuple[int, ...]) -> None:
    weights = GENERATOR.standard_normal(shape).astype(np.float32)
    axes = summed_axes(operator, place)
    kept, plain = round_to_half(weights, axes), weights.astype(np.float16)
    assert kept.dtype == np.float16
    assert kept.shape == shape
    np.testing.assert_allclose(kept, weights, atol=4e-3)
    errors = [np.abs((half - weights).sum(axes)).max() for half in (kept, plain)]
    assert errors[0] < min(2e-3, 0.5 * errors[1])


def test_biases_are_rounded_each_by_itself() -> None:
    bias = GENERATOR.standard_normal(64).astype(np.float32)
    assert summed_axes('Conv', 2) == summed_axes('Add', 0) == ()
    for axes in (summed_axes('Conv', 2), summed_axes('MatMul', 1)):
        np.testing.assert_array_equal(round_to_half(bias, axes), bias.astype(np.float16))


def test_what_half_can_say_stays() -> None:
    weights = GENERATOR.integers(-8, 8, (4, 16, 3, 3)).astype(np.float32) / 4
    np.testing.assert_array_equal(round_to_half(weights, (1, 2, 3)), weights)
