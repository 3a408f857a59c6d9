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
ONNX Runtime: on the CPU it is always there; other execution providers are options of it.

Nodes that a provider does not have run on the CPU, as ONNX Runtime means it. A provider that is
not there as a whole is an error: ONNX Runtime itself would take the CPU and say so in its log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
import os
from threading import Lock
from typing import Any

import numpy as np

from uhr_seg_ros.backends.engine import Shape, Shapes
from uhr_seg_ros.backends.execution_providers import (
    check_provider,
    CPU,
    name_with,
    ort,
    prepare,
    provenance,
    Provider,
    PROVIDERS,
)
from uhr_seg_ros.backends.fixed_sizes import ANY, FixedSizes, Sizes
from uhr_seg_ros.backends.options import DEFAULT_PROVIDER, EngineOptions, PRECISIONS, WIDTHS
from uhr_seg_ros.backends.tensor_forms import check_tensors
from uhr_seg_ros.core.bundle import Bundle, Graph
from uhr_seg_ros.core.cuda_driver import error_of_runtime
from uhr_seg_ros.core.errors import BundleError, EngineError
from uhr_seg_ros.core.resources import available_cores, has_exact_int8
from uhr_seg_ros.core.text import one_line

#: So long a thread looks for the next operator before it sleeps, us: operators follow each other
#: faster where the cores are free.
SPIN_US = '50'

#: A graph whose file has at most so many bytes stays open for several sizes, such as the fusion
#: for those of the blocks of a map: in a shared arena that takes no memory worth mentioning.
LIGHT_BYTES = 1_000_000
#: Sizes that it is open for, beside the session that takes all.
LIGHT_SIZES = 3


class OnnxRuntimeBackend:
    """
    ONNX Runtime for the graphs of one bundle; see `Backend`.

    On the CPU, precision `auto` takes what the bundle says, but fp32 where int8 is not exact
    (`has_exact_int8`); elsewhere it is fp32. Bundles have no graphs in fp16: where that is
    required, fp32 runs. One line says so.

    Args:
        bundle: the model.
        options: `provider`, `threads`, `precision` and `report` count.

    Raises:
        EngineError: the execution provider is not there, or has no GPU, or the bundle has no
            graphs in this precision.

    """

    def __init__(self, bundle: Bundle, options: EngineOptions) -> None:
        check_provider(options.provider)
        if first_frame := PROVIDERS[options.provider].first_frame:
            options.report(f'the first frame of each size {first_frame}')
        self.name = name_with(options.provider)
        self._provider, self._threads = options.provider, options.threads or available_cores()
        self._precision = choose_precision(bundle, options)
        on_cpu = options.provider == DEFAULT_PROVIDER
        self._graphs = bundle.graphs_in(self._precision)
        if not on_cpu:  # graphs in fp32 that were rewritten are for a CPU
            others = bundle.precisions['int8'].graphs if self._precision == 'int8' else {}
            self._graphs = {**bundle.graphs, **others}

    def open(self, graph: Graph, shapes: Shapes | None = None) -> OnnxRuntimeEngine:
        """Open a graph, which takes every size at run time; see `Backend.open`."""
        chosen = self._graphs[graph.name]
        return OnnxRuntimeEngine(chosen, self._threads, self._precision, self._provider)

    def provenance(self) -> dict[str, str]:
        """Return what runs the graphs: `backend`, `version`, `device`, `precision`."""
        return provenance(self._provider, self._precision)

    @property
    def unverified(self) -> bool:
        """Whether this is not what others are verified by; nothing is kept for the next start."""
        return self._provider != DEFAULT_PROVIDER

    def commit_engines(self, facts: Mapping[str, float]) -> None:
        """Do nothing: see `unverified`."""

    def discard_engines(self, reason: Exception) -> None:
        """Do nothing: see `unverified`."""

    def refuse_engines(
        self, case: Mapping[str, str], reason: str, facts: Mapping[str, float]
    ) -> str:
        """Return the reason: see `unverified`."""
        return reason

    def refusal(self, case: Mapping[str, str]) -> str:
        """Return nothing: see `unverified`."""
        return ''

    def close(self) -> None:
        """Do nothing: engines share nothing."""


def open_backend(bundle: Bundle, options: EngineOptions) -> OnnxRuntimeBackend:
    """Open ONNX Runtime for a bundle; see `OnnxRuntimeBackend`."""
    return OnnxRuntimeBackend(bundle, options)


class OnnxRuntimeEngine:
    """
    One graph in one ONNX Runtime session; see the protocol `Engine`.

    On the CPU the session is opened anew for the size of frames that comes; see `FixedSizes`. A
    small graph keeps some of those that it had.

    Args:
        graph: graph of a bundle.
        threads: CPU threads of one operator.
        precision: of the graph, for its provenance.
        provider: a key of `PROVIDERS`.

    Attributes:
        name: `onnxruntime`, with the execution provider if that is not the CPU.
        input_shapes: tensor name -> shape.
        output_shapes: tensor name -> shape.
        keeps_memory: whether a run leaves its memory to the next one, which is then faster.

    Raises:
        BundleError: the file is not the one that was hashed.
        EngineError: with the text of ONNX Runtime when it cannot read the graph; the execution
            provider cannot be used; or the tensors are not the ones that model.yaml promises, or
            not of the form that they have.

    """

    def __init__(
        self,
        graph: Graph,
        threads: int,
        precision: str = 'fp32',
        provider: str = DEFAULT_PROVIDER,
    ) -> None:
        self.name = name_with(provider)
        self._graph, self._provenance = graph, provenance(provider, precision)
        self.keeps_memory = True
        self._threads, self._provider = threads, PROVIDERS[provider]
        if provider == DEFAULT_PROVIDER:
            self._graph = graph.held()  # a bundle may be removed while it runs
        self._session = _open_session(self._graph, threads, self._provider)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        self.input_shapes, self.output_shapes = _shapes(inputs), _shapes(outputs)
        types = {tensor.name: tensor.type for tensor in (*inputs, *outputs)}
        check_tensors(graph, self.input_shapes, self.output_shapes, types)
        on_cpu = provider == DEFAULT_PROVIDER
        held = self._graph.descriptor
        is_light = held is not None and os.fstat(held).st_size <= LIGHT_BYTES and _share_memory()
        self._most = LIGHT_SIZES if is_light else 1
        self._sizes = FixedSizes({each.name: each.shape for each in inputs if on_cpu}, self._most)
        self._opened_for = ANY
        self._others: list[tuple[Sizes, ort.InferenceSession]] = []  # the last one used is last
        self._lock = Lock()  # of the session: several threads may run it

    def provenance(self) -> dict[str, str]:
        """Return what runs the graph: `backend`, `version`, `device`, `precision`."""
        return dict(self._provenance)

    def run(
        self, feeds: Mapping[str, np.ndarray], outputs: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Run the graph once; see `Engine.run`."""
        options = None if self.keeps_memory else _SHRINKING
        # Shrinking leaves what the first run of a session took, so none is opened for such a run
        # that has a session; what is opened for one is closed by the next.
        choose = self._sizes.choose if self.keeps_memory else self._sizes.kept
        with self._lock:
            if (sizes := choose(feeds)) != self._opened_for:
                self._turn_to(sizes)
            session = self._session
        try:
            arrays = session.run(list(outputs), dict(feeds), options)
        except Exception as err:  # the classes of ONNX Runtime have no common base
            shapes = ', '.join(f'{name} {array.shape}' for name, array in feeds.items())
            msg = f'graph {self._graph.path} failed on {shapes}: {one_line(err)}'
            raise error_of_runtime(msg) from err
        return dict(zip(outputs, arrays, strict=True))

    def forget(self) -> None:
        """Open another session on the CPU; elsewhere that takes longer than it is worth."""
        if self._provider is CPU:
            with self._lock:
                self._others.clear()
                self._open_for(ANY)
            if _share_memory():
                _give_back()

    def close(self) -> None:
        """Free the memory of the sessions."""
        del self._session
        self._others.clear()
        if self._provider is CPU and _share_memory():
            _give_back()

    def _turn_to(self, sizes: Sizes) -> None:
        """Take the session for some sizes, or open it; a small graph keeps the one it had."""
        before = self._opened_for, self._session
        kept = next((each for each in self._others if each[0] == sizes), None)
        if kept is None:
            self._open_for(sizes)
        else:
            self._others.remove(kept)
            self._opened_for, self._session = kept
        if self._most > 1 and before[0] != self._opened_for:
            self._others.append(before)
            del self._others[: -self._most]

    def _open_for(self, sizes: Sizes) -> None:
        """Open the graph for some sizes; for all, from now on, where that cannot be."""
        try:
            session = _open_session(self._graph, self._threads, self._provider, sizes)
        except (BundleError, EngineError):
            self._sizes.give_up()
            if not self._opened_for:
                return
            sizes = ANY
            session = _open_session(self._graph, self._threads, self._provider, sizes)
        self._session, self._opened_for = session, sizes


def choose_precision(bundle: Bundle, options: EngineOptions) -> str:
    """
    Return in which precision ONNX Runtime runs a bundle.

    Raises:
        EngineError: the precision is unknown, or the bundle has no graphs in it.

    """
    on_cpu = options.provider == DEFAULT_PROVIDER
    default = bundle.cpu_precision if on_cpu else 'fp32'
    precision = options.resolve_precision(default).precision
    if precision == 'int8' and on_cpu and not has_exact_int8():
        if options.precision == 'auto':
            options.report('this CPU has no VNNI, its int8 sums may saturate: fp32 runs')
            return 'fp32'
        options.report('this CPU has no VNNI, its int8 sums may saturate: prefer fp32')
    if precision not in WIDTHS:
        msg = f'precision {precision!r} is unknown, known: {", ".join(PRECISIONS)}'
        raise EngineError(msg)
    if precision == 'fp16':
        where = 'a CPU' if on_cpu else f'{options.provider} from a graph in fp32'
        options.report(f'ONNX Runtime has no fp16 on {where}: fp32 runs')
        return 'fp32'
    if precision not in ('fp32', *bundle.precisions):
        msg = (
            f'bundle {bundle.path} has no {precision} graphs for the CPU: make them by uhr_seg '
            'quantize --frames, a folder or a recording of your camera, or choose precision fp32'
        )
        raise EngineError(msg)
    return precision


def _open_session(
    graph: Graph, threads: int, provider: Provider, sizes: Sizes = ANY
) -> ort.InferenceSession:
    """Open a session on a provider, with the CPU for the nodes that it does not have."""
    content = graph.read()
    said = prepare(provider)
    providers: list[Any] = [(provider.name, dict(provider.options))]
    if provider is not CPU:
        providers.append(CPU.name)
    try:
        session = ort.InferenceSession(
            content,
            _session_options(threads, sizes, shared=provider is CPU and _share_memory()),
            providers=providers,
            enable_fallback=0,
        )
    except Exception as err:  # the classes of ONNX Runtime have no common base
        msg = f'ONNX Runtime cannot open graph {graph.path}: {one_line(err)}'
        raise EngineError(msg) from err
    # A library that the provider needs may be missing; ONNX Runtime logs that and goes on.
    if provider.name not in session.get_providers():
        msg = (
            f'ONNX Runtime {ort.__version__} did not start {provider.name} for graph '
            f'{graph.path} ({said or "the terminal says why"}): pip install {provider.package}, '
            'or choose the back end onnxruntime'
        )
        raise EngineError(msg)
    # Kept by the package to open the session again elsewhere: as large as the file.
    session._model_bytes = None
    return session


def _shrinking() -> ort.RunOptions:
    """Let a run end by returning what the arena does not hold for a result."""
    options = ort.RunOptions()
    options.add_run_config_entry('memory.enable_memory_arena_shrinkage', 'cpu:0')
    return options


_SHRINKING = _shrinking()

#: A graph that hands on one value `x`, which is run for what a run does at its end.
_HAND_ON = (
    b'\x08\x08\x12\x00:7\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01gZ\x0f\n\x01x\x12\n\n\x08'
    b'\x08\x01\x12\x04\n\x02\x08\x01b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b'B\x04\n\x00\x10\x11'
)


@cache
def _share_memory() -> bool:
    """
    Let the sessions of this process share one arena.

    The graphs of a bundle run in turn, so that what one has left serves the next one: the arena
    becomes as large as the largest of them takes, instead of all of them together.

    Returns:
        Whether they can; False where something else in this process has an arena of its own.

    """
    kind, where = ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, ort.OrtMemType.DEFAULT
    try:
        ort.create_and_register_allocator(ort.OrtMemoryInfo('Cpu', kind, 0, where), None)
    except Exception:  # the classes of ONNX Runtime have no common base
        return False
    return True


def _give_back() -> None:
    """Free what no session needs; only a run can do so."""
    options = _session_options(1, shared=True)
    session = ort.InferenceSession(_HAND_ON, options, providers=[CPU.name])
    session.run(None, {'x': np.zeros(1, np.float32)}, _SHRINKING)


def _session_options(
    threads: int, sizes: Sizes = ANY, *, shared: bool = False
) -> ort.SessionOptions:
    options = ort.SessionOptions()
    if shared:
        options.add_session_config_entry('session.use_env_allocators', '1')
    for axis, length in sizes.items():
        options.add_free_dimension_override_by_name(axis, length)
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3  # warnings repeat what the raised error says
    # The arena stays as large as frames usually need. A memory plan per input size would make it
    # grow with every new size, and was measured to be no faster.
    options.enable_mem_pattern = False
    # Threads that spin after a run would take the cores from the next branch.
    options.add_session_config_entry('session.force_spinning_stop', '1')
    # And those that spin for long within one take them from all that a robot does beside it; a
    # version that does not know this entry ignores it.
    options.add_session_config_entry('session.intra_op.spin_duration_us', SPIN_US)
    return options


def _shapes(tensors: Sequence[ort.NodeArg]) -> dict[str, Shape]:
    return {
        tensor.name: tuple(size if isinstance(size, int) else None for size in tensor.shape)
        for tensor in tensors
    }
