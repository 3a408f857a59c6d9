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
Which back ends there are, and how the text that a user writes chooses one.

A new back end is one module and one line of `BACKENDS`: the module has a function
`open_backend(bundle, options)` that returns a `Backend`.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import NamedTuple

from uhr_seg_ros.backends.engine import Backend, Engine
from uhr_seg_ros.backends.options import DEFAULT_PROVIDER, EngineOptions, PROVIDERS
from uhr_seg_ros.core.bundle import Bundle, Graph
from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.core.resources import available_cores


class BackendEntry(NamedTuple):
    """
    One back end.

    Attributes:
        module: imported when the back end is opened, since what it needs may be missing.
        takes_any_shape: whether an engine takes inputs of every size at run time. Such a back
            end runs the pipelines of `REFERENCE`; another one needs pipelines of its own, which
            know the shapes.

    """

    module: str
    takes_any_shape: bool


#: The fastest one first; the last one runs everywhere.
BACKENDS = {
    'tensorrt': BackendEntry('uhr_seg_ros.backends.tensorrt.backend', False),
    'onnxruntime': BackendEntry('uhr_seg_ros.backends.onnxruntime', True),
}

#: What every other back end is compared with, on the CPU.
REFERENCE = 'onnxruntime'


def select_backend(text: str, options: EngineOptions) -> tuple[str, EngineOptions]:
    """
    Read what a user writes: `tensorrt`, `onnxruntime`, or `onnxruntime:cuda` with a provider.

    Returns:
        Name of the back end, and the options with back end and execution provider.

    Raises:
        EngineError: it is unknown; names those that are known.

    """
    name, _, provider = text.partition(':')
    if name not in BACKENDS:
        msg = f'back end {text!r} is unknown, known: {", ".join(("auto", *BACKENDS))}'
        raise EngineError(msg)
    if provider and name != REFERENCE:
        msg = f'back end {text!r}: only {REFERENCE} has execution providers, choose {name}'
        raise EngineError(msg)
    if ':' in text and provider not in PROVIDERS:
        msg = (
            f'back end {text!r}: the execution provider is unknown, known: {", ".join(PROVIDERS)}'
        )
        raise EngineError(msg)
    return name, replace(options, backend=name, provider=provider or DEFAULT_PROVIDER)


def is_reference(options: EngineOptions) -> bool:
    """Tell if the options choose what other back ends are compared with."""
    return (options.backend, options.provider) == (REFERENCE, DEFAULT_PROVIDER)


def as_reference(options: EngineOptions) -> EngineOptions:
    """Return options for what other back ends are compared with: ONNX Runtime on the CPU, fp32."""
    return replace(options, backend=REFERENCE, provider=DEFAULT_PROVIDER, precision='fp32')


def open_backend(bundle: Bundle, options: EngineOptions) -> Backend:
    """
    Open the back end that the options choose.

    Raises:
        EngineError: what it needs is missing, or it has no such precision.

    """
    # Imported here, so that a missing package is an error of ours.
    return import_module(BACKENDS[options.backend].module).open_backend(bundle, options)


def open_engine(graph: Graph, threads: int = 0) -> Engine:
    """
    Open one float32 graph on ONNX Runtime and the CPU.

    Args:
        graph: graph of a bundle.
        threads: CPU threads, 0 for as many as this process may use.

    Raises:
        BundleError: the file is not the one that was hashed.
        EngineError: ONNX Runtime is missing or cannot read the graph, or its tensors are not the
            ones that model.yaml promises.

    """
    module = import_module(BACKENDS[REFERENCE].module)
    return module.OnnxRuntimeEngine(graph, threads or available_cores())
