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

"""TensorRT that builds engines with all names, and writes down what became of every layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from uhr_seg_ros.backends.tensorrt.api import TensorRT
from uhr_seg_ros.core.atomic_io import write_text


class Inspected:
    """
    A `TensorRT` whose builders keep the names of layers and whose runtimes inspect engines.

    Args:
        tensorrt: the real one.
        folder: gets a JSON file per engine that is loaded.

    """

    def __init__(self, tensorrt: TensorRT, folder: Path) -> None:
        self._tensorrt, self._folder = tensorrt, folder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tensorrt, name)

    def __str__(self) -> str:
        return str(self._tensorrt)

    def make(self, kind: str) -> Any:
        """Make a `Builder` or a `Runtime`; see `TensorRT.make`."""
        made = self._tensorrt.make(kind)
        module = self._tensorrt.module
        if kind == 'Builder':
            return _Builder(made, module)
        return _Runtime(made, module, self._folder)


class _Builder:
    """A builder of detailed engines."""

    def __init__(self, builder: Any, module: Any) -> None:
        self._builder, self._module = builder, module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._builder, name)

    def create_builder_config(self) -> Any:
        config = self._builder.create_builder_config()
        config.profiling_verbosity = self._module.ProfilingVerbosity.DETAILED
        return config


class _Runtime:
    """A runtime that inspects what it loads."""

    def __init__(self, runtime: Any, module: Any, folder: Path) -> None:
        self._runtime, self._module, self._folder = runtime, module, folder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)

    def deserialize_cuda_engine(self, plan: bytes) -> Any:
        engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is not None:
            form = self._module.LayerInformationFormat.JSON
            text = engine.create_engine_inspector().get_engine_information(form)
            self._folder.mkdir(parents=True, exist_ok=True)
            place = len(list(self._folder.glob('engine_*.json')))
            write_text(self._folder / f'engine_{place}.json', text)
        return engine
