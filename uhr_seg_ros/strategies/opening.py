# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Which strategy runs a bundle on which back end."""

from __future__ import annotations

from importlib import import_module

from uhr_seg_ros.bundle import Bundle
from uhr_seg_ros.engines.engine import EngineError
from uhr_seg_ros.engines.options import EngineOptions
from uhr_seg_ros.strategies.strategy import Limits, Strategy

#: Back end -> kind of bundle -> module and class; the first back end is the fastest one. A module
#: is imported when it is needed, since what it needs itself may be missing.
STRATEGIES: dict[str, dict[str, tuple[str, str]]] = {
    'tensorrt': {
        'two_branch': ('uhr_seg_ros.strategies.two_branch_gpu', 'TwoBranchGpu'),
        'patches': ('uhr_seg_ros.strategies.patches_gpu', 'PatchesGpu'),
        'deformed': ('uhr_seg_ros.strategies.fixed_gpu', 'DeformedGpu'),
        'uniform': ('uhr_seg_ros.strategies.fixed_gpu', 'UniformGpu'),
    },
    'onnxruntime': {
        'two_branch': ('uhr_seg_ros.strategies.two_branch', 'TwoBranch'),
        'single': ('uhr_seg_ros.strategies.single', 'SingleBranch'),
        'patches': ('uhr_seg_ros.strategies.patches', 'PatchesWithContexts'),
        'deformed': ('uhr_seg_ros.strategies.deformed', 'Deformed'),
        'uniform': ('uhr_seg_ros.strategies.uniform', 'Uniform'),
    },
}


def open_strategy(
    bundle: Bundle, backend: str, limits: Limits, options: EngineOptions
) -> Strategy:
    """
    Open a bundle on one back end.

    Raises:
        EngineError: the back end is unknown or cannot run this bundle here.
        UhrSegError: the bundle or a limit is not usable.

    """
    if backend not in STRATEGIES:
        msg = f'back end {backend!r} is unknown, known: {", ".join(("auto", *STRATEGIES))}'
        raise EngineError(msg)
    if bundle.kind not in STRATEGIES[backend]:
        msg = f'back end {backend} cannot run bundles of kind {bundle.kind}: choose onnxruntime'
        raise EngineError(msg)
    module, name = STRATEGIES[backend][bundle.kind]
    return getattr(import_module(module), name).open(bundle, limits, options)
