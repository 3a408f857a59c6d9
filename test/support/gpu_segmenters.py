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

"""Segmenters on the stand-ins for a GPU, the reference beside them, and frames for both."""

from __future__ import annotations

from functools import cache

import numpy as np

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.pipelines.pipeline import TilingOptions
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.synthetic.scenes import generate_scene


@cache
def scene(height: int = 200, width: int = 300, seed: int = 5) -> np.ndarray:
    """Return a generated frame."""
    return generate_scene(seed, height, width)[0]


def options(**changes: object) -> EngineOptions:
    """Return the options of most tests."""
    return EngineOptions(**{'precision': 'fp32', **changes})


def on_gpu(bundle: str | Bundle, **changes: object) -> Segmenter:
    """Open a segmenter on the stand-ins."""
    return Segmenter(bundle, 'tensorrt', options=options(**changes))


def on_cpu(bundle: str | Bundle, limits: TilingOptions | None = None) -> Segmenter:
    """Open the reference, which by itself might take int8."""
    return Segmenter(bundle, 'onnxruntime', limits or TilingOptions(), options=options())
