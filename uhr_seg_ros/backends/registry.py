# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Opening a graph on the CPU, and checking that it is what its bundle promises."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module

from uhr_seg_ros.backends.engine import Engine, Shape
from uhr_seg_ros.backends.options import EngineOptions, PRECISIONS, WIDTHS
from uhr_seg_ros.core.bundle import Bundle, Graph
from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.core.resources import available_cores, has_exact_int8
from uhr_seg_ros.core.text import listed

_FLOAT, _BYTE = ('tensor(float)',), ('tensor(uint8)',)

#: Tensor -> number of its dimensions and what ONNX Runtime may call its type; those that are not
#: here, the contexts of patches, are float32 of any form.
_FORMS: dict[str, tuple[int, tuple[str, ...]]] = {
    'mask': (3, (*_BYTE, 'tensor(int32)')),
    'confidence': (3, _BYTE),
    'place': (2, _FLOAT),
    **dict.fromkeys(
        (
            'low_res',
            'image',
            'tokens',
            'affinity',
            'local',
            'semantic_logits',
            'logits',
            'quarter_logits',
            'grid',
            'probabilities',
        ),
        (4, _FLOAT),
    ),
}

#: Colours, of the tensors that hold a picture.
_PICTURES, _COLORS = ('low_res', 'image'), 3

#: What a graph may take beside what model.yaml promises.
_OPTIONAL = ('place',)


def open_engine(graph: Graph, threads: int = 0, precision: str = 'fp32') -> Engine:
    """
    Open a graph on ONNX Runtime, which takes any size at run time.

    Args:
        graph: graph of a bundle.
        threads: CPU threads, 0 for as many as this process may use.
        precision: of the graph, for its provenance.

    Raises:
        BundleError: the file is not the one that was hashed.
        EngineError: ONNX Runtime is missing or cannot read the graph, or the tensors of the
            graph are not the ones that model.yaml promises, or not of the form that they have.

    """
    # Imported here, so that a missing package is an error of ours.
    module = import_module('uhr_seg_ros.backends.onnxruntime')
    engine = module.OnnxRuntimeEngine(graph, threads or available_cores(), precision)
    _check_names(graph, 'input', graph.inputs, engine.input_shapes)
    _check_names(graph, 'output', graph.outputs, engine.output_shapes)
    _check_forms(graph, engine)
    return engine


def open_engines(
    bundle: Bundle, names: Iterable[str], options: EngineOptions
) -> dict[str, Engine]:
    """
    Open graphs of a bundle on ONNX Runtime in the precision that the options ask for.

    `auto` takes what the bundle says, but fp32 where int8 is not exact (`has_exact_int8`).
    A CPU has no fp16: what asks for it runs in fp32. One line says so.

    Args:
        bundle: the model.
        names: of graphs.
        options: `threads`, `precision` and `report` count.

    Returns:
        Graph name -> engine; what an engine runs in is in its provenance.

    Raises:
        EngineError: the bundle has no int8 graphs, or a graph cannot be opened.

    """
    precision = cpu_precision(bundle, options)
    graphs = bundle.graphs_in(precision)
    return {name: open_engine(graphs[name], options.threads, precision) for name in names}


def cpu_precision(bundle: Bundle, options: EngineOptions) -> str:
    """
    Return in which precision ONNX Runtime runs a bundle.

    Raises:
        EngineError: the precision is unknown, or the bundle has no graphs in it.

    """
    precision = options.resolve_precision(bundle.cpu_precision).precision
    if precision == 'int8' and not has_exact_int8():
        if options.precision == 'auto':
            options.report('this CPU has no VNNI, its int8 sums may saturate: fp32 runs')
            return 'fp32'
        options.report('this CPU has no VNNI, its int8 sums may saturate: prefer fp32')
    if precision not in WIDTHS:
        msg = f'precision {precision!r} is unknown, known: {", ".join(PRECISIONS)}'
        raise EngineError(msg)
    if precision == 'fp16':
        options.report('ONNX Runtime has no fp16 on a CPU: fp32 runs')
        return 'fp32'
    if precision not in ('fp32', *bundle.precisions):
        msg = (
            f'bundle {bundle.path} has no {precision} graphs for the CPU: make them by uhr_seg '
            'quantize --frames, a folder or a recording of your camera, or choose precision fp32'
        )
        raise EngineError(msg)
    return precision


def _check_names(
    graph: Graph, what: str, needed: Sequence[str], found: Mapping[str, Shape]
) -> None:
    if missing := [name for name in needed if name not in found]:
        msg = f'graph {graph.path} has no {what} {", ".join(missing)}, only {listed(found)}'
        raise EngineError(f'{msg}: export the model again')


def _check_forms(graph: Graph, engine: Engine) -> None:
    """Refuse a graph that would fail on the first frame, or give masks of another form."""
    unknown = [name for name in engine.input_shapes if name not in (*graph.inputs, *_OPTIONAL)]
    if unknown:
        msg = f'graph {graph.path} needs {listed(unknown)}, which nobody gives'
        raise EngineError(f'{msg}: export the model again')
    for name in (*engine.input_shapes, *graph.outputs):
        shape = engine.input_shapes.get(name) or engine.output_shapes.get(name) or ()
        dimensions, types = _FORMS.get(name, (len(shape), _FLOAT))
        fits = len(shape) in (0, dimensions)  # 0: the file does not tell
        if fits and name in _PICTURES and shape:
            fits = shape[1] in (None, _COLORS)
        if not fits or engine.types[name] not in types:
            msg = (
                f'graph {graph.path}: {name} is {engine.types[name]} of shape {shape}, expected '
                f'{" or ".join(types)} of {dimensions} dimensions'
            )
            if name in _PICTURES:
                msg += f', the second one {_COLORS}'
            raise EngineError(f'{msg}: export the model again')
