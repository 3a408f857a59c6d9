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

"""Array in, `Segmentation` out: the one door to a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.backends.registry import REFERENCE
from uhr_seg_ros.core.bundle import Bundle, load_bundle
from uhr_seg_ros.core.bundle_kinds import SEGMENTER_STAGES
from uhr_seg_ros.core.classes import ClassSet, MAX_UINT8_CLASSES
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.raw_frame import RawFrame
from uhr_seg_ros.core.timing import StageClock
from uhr_seg_ros.core.visualization import OverlayOptions
from uhr_seg_ros.pipelines.choosing import Chooser
from uhr_seg_ros.pipelines.failover import Failover
from uhr_seg_ros.pipelines.frame_budget import FrameBudget
from uhr_seg_ros.pipelines.novelty import NOVELTY
from uhr_seg_ros.pipelines.pipeline import (
    AttentivePipeline,
    GridSampler,
    InferencePipeline,
    OutputRequest,
    PendingResult,
    TilingOptions,
    warm_up_frame,
)
from uhr_seg_ros.pipelines.refinement.refine import refine, Refinement
from uhr_seg_ros.pipelines.region_of_interest import RegionOfInterest
from uhr_seg_ros.pipelines.registry import pipeline_entry
from uhr_seg_ros.pipelines.relabeling import Relabeling


@dataclass(frozen=True)
class Segmentation:
    """
    What a frame became.

    Attributes:
        mask: (H, W) uint8 class ids, uint16 above 255 classes; the size of the image.
        stage_times: stage name -> ms, in the order in which the stages ran.
        confidence: (H, W) uint8, 255 times the largest softmax, or None if not requested.
        logits: (C, H, W) float32, or None if not requested.
        overlay: (h, w, 3) uint8 BGR, or None if not requested.
        color_mask: (h, w, 3) uint8 BGR, or None if not requested.
        refined_share: how much of the boundaries was refined, or None if not requested; below 1
            the time budget ended before.
        detail_share: share of the pixels, of those that are looked at at all, that were seen at
            full resolution; below 1 only with a `FrameBudget`.
        novelty: how far the frame is from those that the model knows; above 1 it is outside, and
            its mask may be wrong anywhere. None if not requested, or the bundle cannot tell.
        classes: what the ids of the mask mean; None where nobody says.

    """

    mask: np.ndarray
    stage_times: dict[str, float]
    confidence: np.ndarray | None = None
    logits: np.ndarray | None = None
    overlay: np.ndarray | None = None
    color_mask: np.ndarray | None = None
    refined_share: float | None = None
    detail_share: float = 1.0
    novelty: float | None = None
    classes: ClassSet | None = None


class Segmenter:
    """
    Segment images with one bundle; for use by one thread at a time.

    Example:
        >>> from uhr_seg_ros import OverlayOptions, Segmenter
        >>> segmenter = Segmenter('hlrc_s_aerial', 'onnxruntime')
        >>> image = np.full((300, 400, 3), 90, np.uint8)  # or cv2.imread('field.jpg')
        >>> result = segmenter(image, overlay=OverlayOptions(overlay=True))
        >>> result.mask.shape, result.overlay.shape
        ((300, 400), (300, 400, 3))
        >>> 'road' in segmenter.bundle.classes.names
        True
        >>> pending = segmenter.submit(image)  # returns before the work is done on a GPU
        >>> bool((pending.result().mask == result.mask).all())
        True
        >>> segmenter.close()

    Args:
        bundle: a loaded bundle, or a path or name for `load_bundle`.
        backend: `tensorrt`, `onnxruntime`, or `auto` for the fastest one that runs here; where the
            GPU is lost while frames are in work, `auto` goes on with the slowest one.
        tiling: how large a piece of a frame the detail branch gets at a time.
        input_size: height and width of the frames to come, px: back ends that build for a size
            do so at once. None leaves it to the first frame.
        options: of the engines; their threads are those of refining, too.

    Attributes:
        bundle: the loaded bundle.

    Raises:
        UhrSegError: the bundle, the back end, a graph or a limit is not usable.

    """

    def __init__(
        self,
        bundle: str | Path | Bundle,
        backend: str = 'auto',
        tiling: TilingOptions = TilingOptions(),  # noqa: B008 - it cannot change
        *,
        input_size: tuple[int, int] | None = None,
        options: EngineOptions = EngineOptions(),  # noqa: B008 - it cannot change
    ) -> None:
        self.bundle = bundle if isinstance(bundle, Bundle) else load_bundle(bundle)
        self._threads = options.threads
        chooser = Chooser(self.bundle, backend, tiling, options, input_size)
        self._chosen = Failover(chooser)

    def __call__(
        self,
        image: np.ndarray | RawFrame,
        *,
        confidence: bool = False,
        logits: bool = False,
        overlay: OverlayOptions = OverlayOptions(),  # noqa: B008 - it cannot change
        refinement: Refinement | None = None,
        budget: FrameBudget | None = None,
        roi: RegionOfInterest | None = None,
        smoothing: Callable[[np.ndarray], np.ndarray] | None = None,
        novelty: bool = False,
        relabeling: Relabeling | None = None,
    ) -> Segmentation:
        """
        Segment one image of any size.

        Args:
            image: (H, W, 3) uint8 BGR, rows may be padded, the memory may be read-only; or a
                frame in the bytes of its camera.
            confidence: whether to return the confidence too.
            logits: whether to return the logits too.
            overlay: whether to return an overlay or a color mask too, and how they look.
            refinement: how a random walker refines the boundaries of the mask; None leaves them.
            budget: of the camera that the image comes from: how long it may take; the detail
                branch then sees what gains most by it. None: it sees the whole image.
            roi: which pixels are wanted: the others have no class, and cost less with a budget.
                None: all of them. Logits are as they are.
            smoothing: the filter over time of this camera, a `MaskSmoother`, through which the
                mask goes last; confidence and logits stay those of the frame. None for none.
            novelty: whether to return the novelty too, where the bundle can tell it; on a GPU
                that waits for the frame.
            relabeling: which ids the classes of the bundle get, made of `bundle.classes`; pictures
                show those. None leaves them as they are.

        Returns:
            The mask in the size of the image and what was requested; the arrays belong to
            the caller.

        Raises:
            ConfigError: not an image of this form.
            ConfigError: a budget that cannot be kept here, see `why_whole`, or a region of
                interest of another size.
            UhrSegError: a frame that cannot be converted, or a back end that failed.

        """
        pending = self.submit(
            image,
            confidence=confidence,
            logits=logits,
            overlay=overlay,
            refinement=refinement,
            budget=budget,
            roi=roi,
            smoothing=smoothing,
            novelty=novelty,
            relabeling=relabeling,
        )
        return pending.result()

    @property
    def backend(self) -> str:
        """Name of the back end in use."""
        return self._chosen.backend

    @property
    def fallback(self) -> str:
        """
        Why `auto` took no faster back end or precision, and what to do; empty if it did.

        It changes, as `backend` and `provenance` do, where the engines for a new size of frames
        are refused, and where the GPU is lost.
        """
        return self._chosen.fallback

    @property
    def is_lost(self) -> bool:
        """Whether the GPU was lost and nothing in this process takes its place."""
        return self._chosen.is_lost

    @property
    def provenance(self) -> dict[str, Any]:
        """Bundle name, network, back end, its version, device and precision, graphs' hashes."""
        of_pipeline = self._chosen.provenance
        # TensorRT makes its own precisions of the graphs in float32.
        graphs = self.bundle.graphs
        if self.backend == REFERENCE:
            graphs = self.bundle.graphs_in(of_pipeline['precision'])
        return {
            'bundle': self.bundle.name,
            'network': self.bundle.network,
            **of_pipeline,
            'sha256': {name: graph.sha256 for name, graph in graphs.items()},
        }

    @property
    def pipeline(self) -> InferencePipeline:
        """What runs the frames, for those who know its kind and feed it in parts."""
        return self._chosen.pipeline

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that a frame may have, in the order in which they run."""
        own = pipeline_entry(self.bundle, self.backend).stages
        return (*(stage for stage in own if stage not in SEGMENTER_STAGES), *SEGMENTER_STAGES)

    @property
    def why_whole(self) -> str:
        """Why a budget cannot be kept here; empty if it can."""
        if isinstance(self._chosen.pipeline, AttentivePipeline):
            return ''
        if 'detail' not in self.bundle.graphs:
            return (
                f'no frame budget for bundle {self.bundle.name}: kind {self.bundle.kind} has no '
                'detail branch that could see less: leave detail at whole'
            )
        return (
            f'no frame budget on {self.backend}, whose engines see the whole frame in one go: '
            'leave detail at whole, or choose the back end onnxruntime'
        )

    @property
    def is_async(self) -> bool:
        """Whether `submit` returns before the work is done, as it does on a GPU."""
        return self._chosen.pipeline.is_async

    def submit(
        self,
        image: np.ndarray | RawFrame,
        *,
        confidence: bool = False,
        logits: bool = False,
        overlay: OverlayOptions = OverlayOptions(),  # noqa: B008 - it cannot change
        refinement: Refinement | None = None,
        budget: FrameBudget | None = None,
        roi: RegionOfInterest | None = None,
        smoothing: Callable[[np.ndarray], np.ndarray] | None = None,
        novelty: bool = False,
        relabeling: Relabeling | None = None,
    ) -> PendingResult[Segmentation]:
        """
        Start one image; see `__call__`.

        Returns:
            Its `result` waits. Where `is_async`, one more image may be submitted before that:
            it is uploaded while this one is computed.

        """
        frame = self._checked(image)
        wanted = {
            'mask': True,
            'confidence': confidence or (relabeling is not None and relabeling.threshold > 0),
            'logits': logits,
            NOVELTY: novelty and NOVELTY in self.bundle.graphs,
        }
        outputs = tuple(name for name, asked in wanted.items() if asked)
        clock = StageClock()
        # What is painted shows the mask as it is handed on.
        as_it_is = refinement is smoothing is roi is relabeling is None
        at_once = overlay if as_it_is else OverlayOptions()
        request = OutputRequest(outputs, at_once, budget, roi)
        if budget is not None and (reason := self.why_whole):
            raise ConfigError(reason)
        if roi is not None:
            roi.pixels((frame.height, frame.width))  # or refuses
        pending = self._chosen.submit(frame, request, clock)
        detail_share = 1.0 if budget is None else budget.detail_share

        def finish() -> Segmentation:
            results: dict[str, Any] = dict(pending.result())
            if NOVELTY in results:
                results[NOVELTY] = results[NOVELTY].item()
            if refinement is not None:
                results.update(self._refined(frame, results['mask'], refinement, clock))
            if smoothing is not None:
                with clock.stage('smooth'):
                    results['mask'] = smoothing(results['mask'])
            if roi is not None:
                results.update(roi.leave_out(results['mask'], results.get('confidence')))
            classes = self.bundle.classes
            if relabeling is not None:
                classes = relabeling.classes
                with clock.stage('relabel'):
                    results['mask'] = relabeling.apply(results['mask'], results.get('confidence'))
                if not confidence:
                    results.pop('confidence', None)
            if overlay.any and at_once != overlay:
                with clock.stage('overlay'):
                    results.update(overlay.paint(frame.bgr, results['mask'], classes))
            return Segmentation(
                **results, stage_times=clock.times, detail_share=detail_share, classes=classes
            )

        return PendingResult(finish)

    def semantic_only(self, image: np.ndarray | RawFrame) -> np.ndarray:
        """
        Segment one image by the semantic branch alone, to tell what the detail branch adds.

        Args:
            image: see `__call__`.

        Returns:
            mask (H, W) uint8, uint16 above 255 classes.

        Raises:
            ConfigError: not an image of this form.

        """
        frame = self._checked(image)
        return self._chosen.run(lambda pipeline: pipeline.semantic_mask(frame))

    def sampling_grid(self, image: np.ndarray | RawFrame) -> np.ndarray:
        """
        Return where a bundle of kind `deformed` samples an image.

        Args:
            image: see `__call__`.

        Returns:
            (h, w, 2) float32, x first, in -1..1 over the image.

        Raises:
            ConfigError: not an image of this form, or a bundle of another kind.

        """
        frame = self._checked(image)
        pipeline = self._chosen.pipeline
        if not isinstance(pipeline, GridSampler):
            msg = (
                f'bundle {self.bundle.name} is of kind {self.bundle.kind}, which does not choose '
                'where it samples: take a bundle of kind deformed'
            )
            raise ConfigError(msg)
        return pipeline.sampling_grid(frame)

    def keep_memory(self, keeps: bool) -> None:
        """
        Choose whether memory of the frames to come stays for those after them; at first it does.

        That makes the next frame faster. Otherwise the memory goes back to the C library as they
        are done, which may still keep it: see `core.memory.trim_heap`.
        """
        self._chosen.pipeline.keep_memory(keeps)

    def bytes_per_pixel(
        self,
        *,
        confidence: bool = False,
        logits: bool = False,
        overlay: OverlayOptions = OverlayOptions(),  # noqa: B008 - it cannot change
    ) -> float:
        """
        Return what a pixel of a frame takes on its way, beside the frame as BGR, in bytes.

        Counted are the buffers that grow with the frame, results among them; the memory of
        engines and of tiles is not, which `TilingOptions` bounds.

        Args:
            confidence: as of `__call__`.
            logits: as of `__call__`.
            overlay: as of `__call__`.

        """
        pipeline = self._chosen.pipeline
        classes = len(self.bundle.classes)
        each = {'mask': 1 if classes <= MAX_UINT8_CLASSES else 2}
        each |= {'confidence': 1} if confidence else {}
        each |= {'logits': 4 * classes} if logits else {}
        painted = 3 * overlay.scale**2 * (overlay.overlay + overlay.color_mask)
        # Each result, and the copy of it that is handed on; painting takes as much again.
        results = 2 * sum(each.values()) + 3 * painted
        return results + pipeline.bytes_per_pixel(tuple(each))

    def warm_up(self, size: tuple[int, int], budget: FrameBudget | None = None) -> None:
        """Get ready for frames of (height, width), with a budget too, so that they are fast."""
        self._chosen.run(lambda pipeline: pipeline.prepare(size))
        if budget is not None:
            self(warm_up_frame(size), budget=budget)

    def close(self) -> None:
        """Free the memory; calling it again does nothing."""
        self._chosen.close()

    def __enter__(self) -> Segmenter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _refined(
        self,
        frame: RawFrame,
        mask: np.ndarray,
        refinement: Refinement,
        clock: StageClock,
    ) -> dict[str, Any]:
        """Return what refining changes of the results."""
        with clock.stage('refine'):
            refined = refine(mask, frame.bgr, refinement, self._threads)
        return {'mask': refined.mask, 'refined_share': refined.share}

    def _checked(self, image: np.ndarray | RawFrame) -> RawFrame:
        _ = self._chosen.pipeline  # closed is the first thing to say
        if isinstance(image, RawFrame):
            return image
        if not isinstance(image, np.ndarray):
            msg = f'the image is a {type(image).__name__}, expected a numpy array'
            raise ConfigError(msg)
        if image.dtype != np.uint8:
            msg = f'the image is {image.dtype}, expected uint8'
            raise ConfigError(msg)
        if image.ndim != 3 or image.shape[2] != 3 or not image.size:
            msg = f'the image has shape {image.shape}, expected (height, width, 3), none of them 0'
            raise ConfigError(msg)
        return RawFrame.of_bgr(image)
