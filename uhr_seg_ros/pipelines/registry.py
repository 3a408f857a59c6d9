# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Which strategy runs a bundle on which back end."""

from __future__ import annotations

from importlib import import_module

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.pipelines.pipeline import InferencePipeline, TilingOptions

#: Back end -> kind of bundle -> module and class; the first back end is the fastest one. A module
#: is imported when it is needed, since what it needs itself may be missing.
PIPELINES: dict[str, dict[str, tuple[str, str]]] = {
    'tensorrt': {
        'two_branch': ('uhr_seg_ros.pipelines.two_branch_gpu', 'TwoBranchGpu'),
        'patches': ('uhr_seg_ros.pipelines.patches_gpu', 'PatchesGpu'),
        'deformed': ('uhr_seg_ros.pipelines.fixed_gpu', 'DeformedGpu'),
        'uniform': ('uhr_seg_ros.pipelines.fixed_gpu', 'UniformGpu'),
    },
    'onnxruntime': {
        'two_branch': ('uhr_seg_ros.pipelines.two_branch', 'TwoBranch'),
        'single': ('uhr_seg_ros.pipelines.single', 'SingleBranch'),
        'patches': ('uhr_seg_ros.pipelines.patches', 'PatchesWithContexts'),
        'deformed': ('uhr_seg_ros.pipelines.deformed', 'Deformed'),
        'uniform': ('uhr_seg_ros.pipelines.uniform', 'Uniform'),
    },
}


def open_pipeline(
    bundle: Bundle, backend: str, limits: TilingOptions, options: EngineOptions
) -> InferencePipeline:
    """
    Open a bundle on one back end.

    Raises:
        EngineError: the back end is unknown or cannot run this bundle here.
        UhrSegError: the bundle or a limit is not usable.

    """
    if backend not in PIPELINES:
        msg = f'back end {backend!r} is unknown, known: {", ".join(("auto", *PIPELINES))}'
        raise EngineError(msg)
    if bundle.kind not in PIPELINES[backend]:
        msg = f'back end {backend} cannot run bundles of kind {bundle.kind}: choose onnxruntime'
        raise EngineError(msg)
    module, name = PIPELINES[backend][bundle.kind]
    return getattr(import_module(module), name).open(bundle, limits, options)
