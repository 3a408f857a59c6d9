# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Patches with contexts on a GPU: encoders and patches as engines, the rest on the CPU."""

from __future__ import annotations

import numpy as np

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.backends.tensorrt.backend import TensorRTBackend
from uhr_seg_ros.backends.tensorrt.engine import HostEngine
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.core.patch_grid import WHOLE
from uhr_seg_ros.core.raw_frame import RawFrame
from uhr_seg_ros.pipelines.patches import batch_size, PatchesWithContexts
from uhr_seg_ros.pipelines.pipeline import TilingOptions
from uhr_seg_ros.pipelines.verification import proof_frame, prove

#: What `auto` means on a GPU.
DEFAULT_PRECISION = 'fp16'
#: What engines of patches may compute in; nobody has calibrated them for int8.
PRECISIONS = ('fp32', 'fp16')
#: New engines are compared on a frame of so many patches in each direction.
PROOF_PATCHES = 2


class PatchesGpu(PatchesWithContexts):
    """
    Run the graphs of one bundle of kind `patches` on the GPU, as many patches as fit at a time.

    Engines do not depend on the size of frames: they are built and proven when this opens.

    Args:
        bundle: a bundle of kind `patches`.
        backend: opens the engines; closed with this.
        limits: as of `PatchesWithContexts`.
        options: of the engines.

    Raises:
        PatchError: as `PatchesWithContexts`.
        EngineError: an engine cannot be built.
        AgreementError: the engines compute something else than ONNX Runtime.

    """

    def __init__(
        self,
        bundle: Bundle,
        backend: TensorRTBackend,
        limits: TilingOptions,
        options: EngineOptions,
    ) -> None:
        self._backend = backend
        super().__init__(bundle, _open(bundle, backend, limits), limits, backend.report)
        if backend.unproven:
            self._prove(limits, options)

    @classmethod
    def open(cls, bundle: Bundle, limits: TilingOptions, options: EngineOptions) -> PatchesGpu:
        """Open a bundle on the GPU; the first time, this builds its engines (minutes)."""
        options = options.resolve_precision(DEFAULT_PRECISION)
        if options.precision not in PRECISIONS:
            msg = (
                f'precision {options.precision!r} of bundle {bundle.name}: patches run on a GPU '
                f'in {" or ".join(PRECISIONS)}'
            )
            raise EngineError(msg)
        backend = TensorRTBackend(bundle.name, options)
        try:
            return cls(bundle, backend, limits, options)
        except Exception:
            backend.close()
            raise

    def close(self) -> None:
        """Free the memory."""
        super().close()
        self._backend.close()

    def _prove(self, limits: TilingOptions, options: EngineOptions) -> None:
        """Compare the engines with ONNX Runtime in fp32 on a frame of a few patches."""
        side = PROOF_PATCHES * self._bundle.patches.side
        frame = RawFrame.of_bgr(proof_frame((side, side), options.proof))
        plain = EngineOptions(threads=options.threads, precision='fp32')
        reference = PatchesWithContexts.open(self._bundle, limits, plain)
        try:
            prove(self, reference, frame, self._bundle, self._backend, options.precision)
        finally:
            reference.close()


def _open(
    bundle: Bundle, backend: TensorRTBackend, limits: TilingOptions
) -> dict[str, HostEngine]:
    """Open the graphs for batches of as many patches as run at a time."""
    side, count = bundle.patches.side, batch_size(bundle, limits)
    shapes: dict[str, tuple[int, ...]] = {'image': (count, 3, side, side), 'place': (count, 4)}
    engines = {}
    for name, factor in bundle.patches.contexts.items():
        samples = 1 if factor == WHOLE else count
        image = {'image': (samples, 3, side, side)}
        engines[name] = backend.open(bundle.graphs[name], image)
        shapes[name] = _known(engines[name].output_shapes[name], name)
    engines['patch'] = backend.open(bundle.graphs['patch'], shapes)
    return engines


def _known(shape: tuple[int | None, ...], name: str) -> tuple[int, ...]:
    if None in shape or np.prod(shape) < 1:
        msg = f'the engine of {name} gives a map of shape {shape}: export the model again'
        raise EngineError(msg)
    return tuple(int(length) for length in shape if length is not None)
