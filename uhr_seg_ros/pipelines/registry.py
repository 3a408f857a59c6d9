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

"""Open the pipeline that runs a bundle on a back end; `core.bundle_kinds` names them."""

from __future__ import annotations

from importlib import import_module

from uhr_seg_ros.backends.options import EngineOptions, WIDTHS
from uhr_seg_ros.backends.registry import BACKENDS, REFERENCE, select_backend
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.bundle_kinds import PipelineEntry
from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.pipelines.pipeline import InferencePipeline, TilingOptions


def pipeline_entry(bundle: Bundle, backend: str) -> PipelineEntry:
    """
    Find what runs a bundle on a back end, and which stages it times.

    Args:
        bundle: the model.
        backend: as the user writes it, see `select_backend`.

    Raises:
        EngineError: the back end is unknown or cannot run this bundle.

    """
    name, _ = select_backend(backend, EngineOptions())
    if name not in bundle.kind.pipelines and BACKENDS[name].takes_any_shape:
        return bundle.kind.pipelines[REFERENCE]
    if name not in bundle.kind.pipelines:
        msg = f'back end {name} cannot run bundles of kind {bundle.kind}: choose onnxruntime'
        raise EngineError(msg)
    return bundle.kind.pipelines[name]


def open_pipeline(
    bundle: Bundle, backend: str, limits: TilingOptions, options: EngineOptions
) -> InferencePipeline:
    """
    Open a bundle on one back end.

    Args:
        bundle: the model.
        backend: as the user writes it, see `select_backend`.
        limits: how large a piece of a frame is segmented at a time.
        options: of the engines.

    Raises:
        EngineError: the back end is unknown or cannot run this bundle here.
        UhrSegError: the bundle or a limit is not usable.

    """
    entry = pipeline_entry(bundle, backend)
    _, options = select_backend(backend, options)
    if entry.precisions:
        options = options.resolve_precision(entry.precisions[0])
        _check_precision(bundle, entry, options.precision)
    module, _, name = entry.target.partition(':')
    return getattr(import_module(module), name).open(bundle, limits, options)


def _check_precision(bundle: Bundle, entry: PipelineEntry, precision: str) -> None:
    # The back end says what is not known at all.
    if precision in WIDTHS and precision not in entry.precisions:
        known = [width for width in WIDTHS if width in entry.precisions]
        msg = (
            f'precision {precision!r} of bundle {bundle.name}: bundles of kind {bundle.kind} run '
            f'on a GPU in {" or ".join(known)}'
        )
        raise EngineError(msg)
