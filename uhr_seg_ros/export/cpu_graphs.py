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
The graphs that ONNX Runtime takes on a CPU: the same results in fewer passes over memory.

They are files of a bundle, so that a robot needs neither the package `onnx` nor the time to make
them, and gets the same masks whatever is installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from onnx.shape_inference import InferenceError

from uhr_seg_ros.core.atomic_io import write_bytes
from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.onnx_graphs.blocked_layout import stay_blocked
from uhr_seg_ros.onnx_graphs.cpu_rewrites import rewrite_for_cpu, UnknownGraph

#: Graph -> what is made of its file.
_REWRITES = {
    'detail': lambda content, name: rewrite_for_cpu(content, name).SerializeToString(),
    'quarter': lambda content, name: stay_blocked(content, name).SerializeToString(),
}


def write_cpu_graphs(folder: Path) -> dict[str, str]:
    """
    Write `<graph>_cpu.onnx` beside the float32 graphs of a bundle that is being written.

    Args:
        folder: has `<graph>.onnx`.

    Returns:
        Graph name -> name of the new file; a graph of a form that is not known is not there.

    """
    return {
        name: target.name
        for name in _REWRITES
        if (source := folder / f'{name}.onnx').is_file()
        and _write(name, source, target := folder / f'{name}_cpu.onnx')
    }


def rewrite_in_place(paths: Mapping[str, Path]) -> None:
    """Rewrite new graphs in int8, which only ONNX Runtime takes; graph name -> file."""
    for name in _REWRITES.keys() & paths.keys():
        _write(name, paths[name], paths[name])


def _write(name: str, source: Path, target: Path) -> bool:
    try:
        write_bytes(target, _REWRITES[name](source.read_bytes(), source.name))
    except (EngineError, InferenceError, UnknownGraph):  # it runs as it is
        return False
    return True
