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

"""Runs of int8 layers go by what they cost with their borders, as it was measured."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pytest

pytest.importorskip('onnx', reason='graphs are quantized with onnx')

from wide_bundle import branch_graph

from uhr_seg_ros.onnx_graphs.quantization import Quantizer
from uhr_seg_ros.quantization.int8_weighing import weigh


@pytest.fixture
def quantizer() -> Quantizer:
    """Return a graph whose stem_relu is read by first_conv -> depth_conv and by skip_conv."""
    model = branch_graph('image', ['affinity', 'local'], np.random.default_rng(3))
    return Quantizer(model.SerializeToString(), 'detail')


class Clock:
    """A machine on which each layer takes a time, and each border of a run another one."""

    def __init__(self, quantizer: Quantizer, border: float) -> None:
        self.quantizer, self.border = quantizer, border

    def seconds(self, names: Collection[str]) -> float:
        return 100.0 - len(names) + self.border * len(self.quantizer.runs(names))

    def gain(self, before: Collection[str], after: Collection[str]) -> float:
        return self.seconds(before) / self.seconds(after)


CHAIN = ['first_conv', 'depth_conv', 'second_conv']


def test_a_run_goes_whose_borders_cost_what_it_saves(quantizer: Quantizer) -> None:
    chosen = ['first_conv', 'depth_conv', 'third_conv']
    found = weigh(quantizer, chosen, chosen, Clock(quantizer, 1.5).gain, lambda _: True)
    assert found == ['first_conv', 'depth_conv']
    dear = weigh(quantizer, chosen, chosen, Clock(quantizer, 5.0).gain, lambda _: True)
    assert dear == []


def test_layers_between_two_runs_join_them(quantizer: Quantizer) -> None:
    clock, ends = Clock(quantizer, 0.9), ['first_conv', 'second_conv']
    assert weigh(quantizer, ends, CHAIN, clock.gain, lambda _: True) == CHAIN
    # Not where the masks would change too much, nor where a layer has to stay float32.
    assert weigh(quantizer, ends, CHAIN, clock.gain, lambda _: False) == ends
    assert weigh(quantizer, ends, ends, clock.gain, lambda _: True) == ends
