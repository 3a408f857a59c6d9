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
How the values of a tensor lie in memory between engines and kernels.

An engine that takes and gives tensors row by row, as numpy has them, turns those around that its
convolutions read or write: channels are innermost on tensor cores. What only engines and our
kernels touch may have the order of the convolutions from the start.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Format of TensorRT -> values of as many channels that lie side by side. `CHW4` pads channels to
#: four, `HWC8` to eight; both are for half precision only.
CHANNELS = {'CHW4': 4, 'HWC8': 8}


def set_formats(trt: Any, network: Any, formats: Mapping[str, str]) -> None:
    """
    Let inputs and outputs of a network have these formats and no others.

    A map whose channels do not fill `HWC8` stays row by row: others see nothing of the padding.

    Args:
        trt: Python module of TensorRT.
        network: parsed, its shapes are known; tensors with a format are half.
        formats: name of a tensor (1, C, H, W) -> a key of `CHANNELS`.

    """
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    for tensor in (*inputs, *outputs):
        name = formats.get(tensor.name)
        if name is not None and (name != 'HWC8' or tensor.shape[1] % CHANNELS[name] == 0):
            tensor.allowed_formats = 1 << int(getattr(trt.TensorFormat, name))
