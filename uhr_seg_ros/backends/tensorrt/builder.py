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

"""ONNX to TensorRT plan, on every TensorRT from 8.5 on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from uhr_seg_ros.backends.options import Progress
from uhr_seg_ros.backends.tensorrt.api import TensorRT, TensorRTError
from uhr_seg_ros.backends.tensorrt.formats import set_formats
from uhr_seg_ros.backends.tensorrt.weak_typing import constrain_types
from uhr_seg_ros.core.text import one_line


class Built(NamedTuple):
    """A serialized engine, and the timing cache that makes the next build faster."""

    plan: bytes
    timing_cache: bytes


def build_plan(
    tensorrt: TensorRT,
    model: bytes,
    shapes: Mapping[str, tuple[int, ...]],
    *,
    capability: tuple[int, int],
    precision: str,
    workspace_mb: int,
    float32_tensors: Collection[str] = (),
    formats: Mapping[str, str] = MappingProxyType({}),
    timing_cache: bytes = b'',
    on_progress: Progress | None = None,
) -> Built:
    """
    Build an engine of fixed shapes.

    The types of the ONNX file are the types of the engine: by strong typing where TensorRT has
    it, by constraints on every layer where not.

    Args:
        tensorrt: from `load_tensorrt`.
        model: ONNX file, as `SpecializedGraphs.load` gives it.
        shapes: input name -> shape.
        capability: compute capability of the GPU that the engine is for, which TensorRT for RTX
            does not look at; TensorRT itself builds for the one that is there.
        precision: `fp32`, `fp16` or `int8`, as the model was converted.
        workspace_mb: limit for the scratch memory of the engine and of the build, MB.
        float32_tensors: names of the tensors that are float32 in the model; weakly typed
            networks are held to them.
        formats: of inputs and outputs that are not row by row; see `set_formats`.
        timing_cache: of an earlier build on this GPU, or empty.
        on_progress: called during the build where TensorRT tells (from 10 on); what it raises
            cancels the build.

    Raises:
        TensorRTError: the model cannot be read or built; names nodes and repeats the log.

    """
    trt = tensorrt.module
    tensorrt.log.lines.clear()
    builder = tensorrt.make('Builder')
    network = builder.create_network(tensorrt.creation_flags())
    # Kept in a variable until the build is over: the network uses the parser's weights.
    parser = _parse(tensorrt, network, model)
    _fix_shapes(network, shapes)
    set_formats(trt, network, formats)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace_mb << 20)
    # TF32 is float32 with the mantissa of float16.
    config.clear_flag(trt.BuilderFlag.TF32)
    tensorrt.aim(config, capability)
    if not tensorrt.strongly_typed:
        constrain_types(trt, network, config, precision, float32_tensors)
    if tensorrt.has_timing_cache:
        _use_timing_cache(config, timing_cache)
    monitor = _watch(trt, config, on_progress)
    plan = builder.build_serialized_network(network, config)
    if monitor is not None and monitor.error is not None:
        raise monitor.error
    if plan is None:
        sizes = ', '.join(f'{name} {tuple(shape)}' for name, shape in shapes.items())
        raise tensorrt.error(f'TensorRT cannot build the graph for {sizes} in {precision}')
    del parser
    timings = config.get_timing_cache().serialize() if tensorrt.has_timing_cache else b''
    return Built(bytes(plan), bytes(timings))


def _parse(tensorrt: TensorRT, network: Any, model: bytes) -> Any:
    parser = tensorrt.module.OnnxParser(network, tensorrt.log)
    if not parser.parse(model):
        errors = [_describe(parser.get_error(index)) for index in range(parser.num_errors)]
        # Several passes of the parser report the same node.
        text = one_line('; '.join(dict.fromkeys(errors)))
        tensorrt.log.lines.clear()
        msg = f'{tensorrt} cannot read the graph: {text}: export the model again'
        raise TensorRTError(msg)
    return parser


def _describe(error: Any) -> str:
    """Describe a parser error; from TensorRT 10 on it names node and operator."""
    where = f'node {error.node()}'
    if hasattr(error, 'node_name'):
        where = f'node {error.node_name()} ({error.node_operator()})'
    return f'{where}: {error.code().name}: {error.desc()}'


def _use_timing_cache(config: Any, content: bytes) -> None:
    """Go on with an earlier timing cache, or begin one where TensorRT refuses it."""
    for candidate in (content, b''):
        cache = config.create_timing_cache(candidate)
        if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
            return


def _fix_shapes(network: Any, shapes: Mapping[str, tuple[int, ...]]) -> None:
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        if tensor.name not in shapes:
            msg = f'the graph has an input {tensor.name} that no shape is known of'
            raise TensorRTError(msg)
        tensor.shape = shapes[tensor.name]


def _watch(trt: Any, config: Any, on_progress: Progress | None) -> Any | None:
    """Attach a progress monitor, where this version has one."""
    if on_progress is None or not hasattr(trt, 'IProgressMonitor'):
        return None
    show = on_progress

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.error: BaseException | None = None
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            if self.error is None:
                try:
                    show(phase_name, step + 1, self._steps[phase_name])
                except BaseException as err:  # noqa: BLE001 - TensorRT's C++ cannot pass it on
                    self.error = err
            return self.error is None

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    monitor = Monitor()
    config.progress_monitor = monitor
    return monitor
