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

"""The first line of a command that segments: what it runs on, and in a few words why."""

from __future__ import annotations

from collections.abc import Mapping
import logging
from typing import Any

from uhr_seg_ros.core.gpu import find_gpu, GpuUnavailableError

_LOG = logging.getLogger(__name__)

_NAMES = {'onnxruntime': 'ONNX Runtime', 'tensorrt': 'TensorRT'}


def show_backend(provenance: Mapping[str, Any], fallback: str, *, verbose: bool) -> None:
    """
    Print what frames run on; the reason at length only where it is asked for.

    Args:
        provenance: of the segmenter.
        fallback: of the segmenter: why it is not what was wanted first; empty if it is.
        verbose: whether to print that too.
    """
    _LOG.info(backend_line(provenance, fallback))
    if verbose and fallback:
        _LOG.info(fallback)


def backend_line(provenance: Mapping[str, Any], fallback: str) -> str:
    """Return such as `backend: ONNX Runtime on the CPU (...)`; arguments as of `show_backend`."""
    kind, _, provider = str(provenance['backend']).partition(':')
    place = 'the CPU' if str(provenance['device']).lower() == 'cpu' else provenance['device']
    by = f' ({provider})' if provider else ''
    return f'backend: {_NAMES.get(kind, kind)}{by} on {place}{_reason(fallback)}'


def _reason(fallback: str) -> str:
    if not fallback:
        return ''
    try:
        find_gpu()
    except GpuUnavailableError:
        return ' (TensorRT needs an NVIDIA driver: docs/tensorrt.md)'
    return ' (not the first choice: -v says why)'
