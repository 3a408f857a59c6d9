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

"""Sessions of ONNX Runtime that tests of the same graphs share: to open one takes a while."""

from __future__ import annotations

import onnxruntime as ort
import pytest

from uhr_seg_ros.backends import onnxruntime
from uhr_seg_ros.backends.execution_providers import Provider
from uhr_seg_ros.backends.fixed_sizes import ANY, Sizes
from uhr_seg_ros.core.bundle import Graph

_open_session = onnxruntime._open_session
_sessions: dict[tuple, ort.InferenceSession] = {}


def share_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every engine of the same graph run in one session; a run changes nothing in it."""
    monkeypatch.setattr(onnxruntime, '_open_session', _shared)


def _shared(
    graph: Graph, threads: int, provider: Provider, sizes: Sizes = ANY
) -> ort.InferenceSession:
    graph.read()  # or refuse what is not the file that was hashed
    key = graph.sha256, threads, provider.name, str(provider.options), str(dict(sizes))
    if key not in _sessions:
        if len(_sessions) >= 32:
            _sessions.pop(next(iter(_sessions)))
        _sessions[key] = _open_session(graph, threads, provider, sizes)
    return _sessions[key]
