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
Int8 layers weighed by the clock: a run of them counts with the conversions at its borders.

What a layer saves alone says little: at every place where int8 meets float32, all values are
converted and put into another order. So whole runs of layers are measured, in the graph that they
belong to. A run whose borders cost what it saves goes back to float32; layers between two runs
become int8 if the borders that vanish are worth it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from uhr_seg_ros.onnx_graphs.quantization import Quantizer

#: A graph has to be so many times faster before more of it becomes int8, which costs accuracy.
LEAST_GAIN = 1.01

#: Names of the int8 layers before and after -> how many times faster the graph is after.
Gain = Callable[[Collection[str], Collection[str]], float]


def weigh(
    quantizer: Quantizer,
    chosen: Collection[str],
    free: Collection[str],
    gain: Gain,
    agrees: Callable[[Collection[str]], bool],
) -> list[str]:
    """
    Take out runs of layers, and put runs of others in, as the clock says.

    Args:
        quantizer: of the graph, calibrated.
        chosen: candidates that are int8 so far.
        free: other candidates that may become int8.
        gain: measures.
        agrees: tells whether the masks are still good enough.

    Returns:
        The layers in int8, in the order of the graph.

    """
    best = quantizer.joined(chosen)
    for run in quantizer.runs(best):
        smaller = quantizer.joined(best - run)
        if gain(best, smaller) >= 1.0:
            best = smaller
    for run in quantizer.runs(set(free) - best):
        larger = quantizer.joined(best | run)
        if larger != best and gain(best, larger) >= LEAST_GAIN and agrees(larger):
            best = larger
    return [name for name in quantizer.candidates if name in best]
