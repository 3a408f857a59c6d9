# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Array in, `Segmentation` out: the one door to a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from uhr_seg_ros.bundle import Bundle, DEFAULT_MEMORY_LIMIT_MB, load_bundle
from uhr_seg_ros.engines.engine import open_engine, resolve_backend
from uhr_seg_ros.errors import UhrSegError
from uhr_seg_ros.strategies.two_branch import TwoBranch
from uhr_seg_ros.timing import StageClock

#: Bundle kind -> how its graphs make a mask.
STRATEGIES = {'two_branch': TwoBranch}


class SegmenterError(UhrSegError):
    """An image that cannot be segmented, or a segmenter that was closed."""


@dataclass(frozen=True)
class Segmentation:
    """
    What a frame became.

    Attributes:
        mask: (H, W) uint8 class ids, uint16 above 255 classes; the size of the image.
        stage_times: stage name -> ms, in the order in which the stages ran.
        confidence: (H, W) uint8, 255 times the largest softmax, or None if not asked for.
        logits: (C, H, W) float32, or None if not asked for.

    """

    mask: np.ndarray
    stage_times: dict[str, float]
    confidence: np.ndarray | None = None
    logits: np.ndarray | None = None


class Segmenter:
    """
    Segment images with one bundle; for use by one thread at a time.

    Example:
        >>> segmenter = Segmenter('hlrc_s_aerial')
        >>> mask = segmenter(cv2.imread('field.jpg')).mask

    Args:
        bundle: a loaded bundle, or a path or name for `load_bundle`.
        backend: `auto` or the name of a back end.
        memory_limit_mb: limit for the detail branch in MB, above which the frame is tiled; 0 for
            no limit.
        tile: largest side of a tile in px; None for the whole frame where memory allows.
        threads: CPU threads, 0 for as many as this process may use.

    Attributes:
        bundle: the loaded bundle.
        backend: name of the back end in use.
        provenance: bundle name, network, back end, its version and device, graph hashes.

    Raises:
        UhrSegError: the bundle, the back end, a graph or a limit is not usable.

    """

    def __init__(
        self,
        bundle: str | Path | Bundle,
        backend: str = 'auto',
        *,
        memory_limit_mb: int = DEFAULT_MEMORY_LIMIT_MB,
        tile: int | None = None,
        threads: int = 0,
    ) -> None:
        self.backend = resolve_backend(backend)
        self.bundle = bundle if isinstance(bundle, Bundle) else load_bundle(bundle)
        graphs = self.bundle.graphs
        self._engines = {
            name: open_engine(graph, self.backend, threads) for name, graph in graphs.items()
        }
        self._strategy = STRATEGIES[self.bundle.kind](
            self.bundle, self._engines, memory_limit_mb=memory_limit_mb or None, tile=tile
        )
        self.provenance: dict[str, Any] = {
            'bundle': self.bundle.name,
            'network': self.bundle.network,
            **next(iter(self._engines.values())).provenance(),
            'sha256': {name: graph.sha256 for name, graph in graphs.items()},
        }

    def __call__(
        self, image: np.ndarray, *, confidence: bool = False, logits: bool = False
    ) -> Segmentation:
        """
        Segment one image of any size.

        Args:
            image: (H, W, 3) uint8 BGR; rows may be padded, the memory may be read-only.
            confidence: ask for the confidence too.
            logits: ask for the logits too.

        Returns:
            The mask in the size of the image and what was asked for; the arrays belong to
            the caller.

        Raises:
            SegmenterError: not an image of this form.

        """
        self._check(image)
        wanted = {'mask': True, 'confidence': confidence, 'logits': logits}
        clock = StageClock()
        outputs = [name for name, asked in wanted.items() if asked]
        results = self._strategy.segment(image, outputs, clock)
        return Segmentation(stage_times=clock.times, **results)

    def semantic_only(self, image: np.ndarray) -> np.ndarray:
        """
        Segment one image by the semantic branch alone, to tell what the detail branch adds.

        Args:
            image: (H, W, 3) uint8 BGR.

        Returns:
            mask (H, W) uint8, uint16 above 255 classes.

        Raises:
            SegmenterError: not an image of this form.

        """
        self._check(image)
        return self._strategy.semantic_mask(image)

    def warm_up(self, size: tuple[int, int]) -> None:
        """Run once on a black image of (height, width), so that the first frame is fast."""
        self(np.zeros((*size, 3), np.uint8))

    def close(self) -> None:
        """Give back the memory; calling it again does nothing."""
        engines, self._engines = self._engines, {}
        for engine in engines.values():
            engine.close()

    def __enter__(self) -> Segmenter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _check(self, image: np.ndarray) -> None:
        if not self._engines:
            msg = 'the segmenter was closed: make a new one'
            raise SegmenterError(msg)
        if not isinstance(image, np.ndarray):
            msg = f'the image is a {type(image).__name__}, expected a numpy array'
            raise SegmenterError(msg)
        if image.dtype != np.uint8:
            msg = f'the image is {image.dtype}, expected uint8'
            raise SegmenterError(msg)
        if image.ndim != 3 or image.shape[2] != 3 or not image.size:
            msg = f'the image has shape {image.shape}, expected (height, width, 3), none of them 0'
            raise SegmenterError(msg)
