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

"""What a user may choose about engines, and whom long work is reported to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

#: Gets a phase of long work, steps done and steps in all.
Progress = Callable[[str, int, int], None]

#: Widths of numbers that an engine may compute in.
WIDTHS = ('fp32', 'fp16', 'int8')
#: What a user may ask for; `auto` is fp16 on TensorRT and what the bundle says on a CPU.
PRECISIONS = ('auto', *WIDTHS)

#: Execution providers of ONNX Runtime by the name that a user writes.
PROVIDERS = ('cpu', 'cuda', 'tensorrt', 'openvino')
DEFAULT_PROVIDER = 'cpu'

DEFAULT_WORKSPACE_MB = 2048


def _silent(text: str) -> None:
    """Report to nobody."""


@dataclass(frozen=True)
class EngineOptions:
    """
    What a user may choose about engines.

    Attributes:
        backend: what opens the graphs, a key of `registry.BACKENDS`.
        provider: execution provider, one of `PROVIDERS` (ONNX Runtime).
        threads: CPU threads, 0 for as many as this process may use (ONNX Runtime).
        precision: one of `PRECISIONS`.
        workspace_mb: limit for the scratch memory of an engine and of its build, MB (TensorRT).
        cache: folder of built engines; empty for the user's cache folder (TensorRT).
        verification_image: picture (h, w, 3) uint8 BGR on which new engines are compared with
            ONNX Runtime on the CPU; None for a generated scene.
        require_cache: whether it is an error that an engine cannot be written to the cache; if
            not, it runs all the same, and `warn` gets the reason (TensorRT).
        retry_refused: whether engines that were refused at an earlier start are built and
            compared once more (TensorRT).
        report: gets one line whenever something takes long, and why.
        warn: gets one line about what works, but should be mended.
        on_progress: gets the progress of a build, where TensorRT tells it.

    """

    backend: str = 'onnxruntime'
    provider: str = DEFAULT_PROVIDER
    threads: int = 0
    precision: str = 'auto'
    workspace_mb: int = DEFAULT_WORKSPACE_MB
    cache: str = ''
    verification_image: np.ndarray | None = None
    require_cache: bool = False
    retry_refused: bool = False
    report: Callable[[str], None] = _silent
    warn: Callable[[str], None] = _silent
    on_progress: Progress | None = None

    def resolve_precision(self, default: str) -> EngineOptions:
        """Put a precision in the place of `auto`."""
        return replace(self, precision=default) if self.precision == 'auto' else self
