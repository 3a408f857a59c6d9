# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Open the pipeline that runs a bundle on a back end; `core.bundle_kinds` names them."""

from __future__ import annotations

from importlib import import_module

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.bundle_kinds import PipelineEntry
from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.pipelines.pipeline import InferencePipeline, TilingOptions

#: The back ends, the fastest one first; the last one runs everywhere.
BACKENDS = ('tensorrt', 'onnxruntime')


def pipeline_entry(bundle: Bundle, backend: str) -> PipelineEntry:
    """
    Find what runs a bundle on a back end, and which stages it times.

    Raises:
        EngineError: the back end is unknown or cannot run this bundle.

    """
    if backend not in BACKENDS:
        msg = f'back end {backend!r} is unknown, known: {", ".join(("auto", *BACKENDS))}'
        raise EngineError(msg)
    if backend not in bundle.kind.pipelines:
        msg = f'back end {backend} cannot run bundles of kind {bundle.kind}: choose onnxruntime'
        raise EngineError(msg)
    return bundle.kind.pipelines[backend]


def open_pipeline(
    bundle: Bundle, backend: str, limits: TilingOptions, options: EngineOptions
) -> InferencePipeline:
    """
    Open a bundle on one back end.

    Raises:
        EngineError: the back end is unknown or cannot run this bundle here.
        UhrSegError: the bundle or a limit is not usable.

    """
    module, _, name = pipeline_entry(bundle, backend).target.partition(':')
    return getattr(import_module(module), name).open(bundle, limits, options)
