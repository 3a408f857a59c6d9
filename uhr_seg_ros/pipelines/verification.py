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

"""Verification that a pipeline computes what ONNX Runtime computes on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
import math

import numpy as np

from uhr_seg_ros import __version__
from uhr_seg_ros.backends.engine import Backend
from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.core.raw_frame import RawFrame
from uhr_seg_ros.core.timing import StageClock
from uhr_seg_ros.pipelines.outputs import NotFiniteError
from uhr_seg_ros.pipelines.pipeline import FrameSegmenter, InferencePipeline, OutputRequest
from uhr_seg_ros.synthetic.scenes import generate_scene

#: Smallest share of pixels of the same class, where the bundle does not say otherwise.
AGREEMENT = {'fp32': 0.9995, 'fp16': 0.999, 'int8': 0.99}

#: Seed and side (px) of the generated scene on which engines are compared.
_SCENE = (21, 1024)


class RefusedError(EngineError):
    """
    Engines compute something else than ONNX Runtime does on the CPU.

    Attributes:
        facts: what was measured.

    """

    def __init__(self, text: str, facts: Mapping[str, float] | None = None) -> None:
        super().__init__(text)
        self.facts = dict(facts or {})


@dataclass(frozen=True)
class Agreement:
    """
    How close two back ends are on one frame.

    Attributes:
        agreement: share of the pixels with the same class, 0 to 1.
        logit_error: largest difference of a logit, relative to the largest absolute logit.

    """

    agreement: float
    logit_error: float

    def facts(self) -> dict[str, float]:
        """Return it as numbers to store."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f'same class as ONNX Runtime on {self.agreement:.3%} of the pixels, '
            f'largest logit error {self.logit_error:.1e} of the largest logit'
        )


@dataclass(frozen=True)
class Verification:
    """
    How the engines for frames of one size are compared with the reference, once.

    Attributes:
        backend: opens the engines, and keeps them from one start to the next if it can.
        bundle: its limits count.
        options: of the engines.
        size: height and width, px, of the frame that both segment.
        pieces: what the shapes of the engines depend on beside the size, such as a tile.
        logits: name of the output that is compared beside the mask.
        of_size: what else to call the engines in the line that says so, such as ` for 64x48`.

    """

    backend: Backend
    bundle: Bundle
    options: EngineOptions
    size: tuple[int, int]
    pieces: object
    logits: str = 'logits'
    of_size: str = ''

    def refuse_again(self) -> None:
        """
        Refuse engines that were refused at an earlier start, before they are built again.

        Raises:
            RefusedError: says why, and how to have them tried again.

        """
        if reason := self.backend.refusal(self._case()):
            raise RefusedError(reason)

    def run(
        self, candidate: FrameSegmenter, open_reference: Callable[[], InferencePipeline]
    ) -> None:
        """
        Compare engines that never were compared, and commit, refuse or discard them.

        Args:
            candidate: runs the engines.
            open_reference: opens what runs the same bundle on ONNX Runtime in fp32; closed here.

        Raises:
            RefusedError: they compute something else; names what was found, the limit, and the
                way out.
            EngineError: one of both cannot run.

        """
        if not self.backend.unverified:
            return
        self.options.report(f'comparing the engines{self.of_size} with ONNX Runtime on the CPU')
        try:
            agreement = self._compare(candidate, open_reference)
        except RefusedError as err:
            reason = self.backend.refuse_engines(self._case(), str(err), err.facts)
            raise RefusedError(reason, err.facts) from err
        except Exception as err:
            self.backend.discard_engines(err)
            raise
        self.backend.commit_engines(agreement.facts())

    def _compare(
        self, candidate: FrameSegmenter, open_reference: Callable[[], InferencePipeline]
    ) -> Agreement:
        image = verification_frame(self.size, self.options.verification_image)
        frame, request = RawFrame.of_bgr(image), OutputRequest(('mask', self.logits))
        with closing(open_reference()) as reference:
            expected = reference.segment(frame, request, StageClock())
        precision = self.backend.provenance()['precision']
        try:
            found = candidate.segment(frame, request, StageClock())
        except NotFiniteError as err:
            msg = f'the {precision} engines of {self.bundle.name} are refused: {err}'
            raise RefusedError(msg) from err
        agreement = compare(expected, found, self.logits)
        self.options.report(str(agreement))
        check(agreement, self.bundle, precision)
        return agreement

    def _case(self) -> dict[str, str]:
        """Return what a refusal depends on, beside the back end and its options."""
        # Not on the frame: engines that disagree on any frame are wrong.
        height, width = self.size
        precision = self.backend.provenance()['precision']
        return {
            'bundle': self.bundle.sha256,
            'size': f'{width}x{height}',
            'pieces': str(self.pieces),
            'limit': str(_least(self.bundle, precision)),
            'uhr_seg_ros': __version__,
        }


def compare(
    expected: dict[str, np.ndarray], found: dict[str, np.ndarray], logits: str
) -> Agreement:
    """
    Compare what two back ends gave for one frame.

    Args:
        expected: `mask` (H, W) and logits (C, h, w) of the reference.
        found: the same of the other one.
        logits: name of the logits.

    """
    reference = expected[logits].astype(np.float32)
    largest = max(float(np.abs(reference).max()), float(np.finfo(np.float32).tiny))
    # Not a number anywhere is an infinite error.
    error = np.nan_to_num(np.abs(found[logits] - reference), nan=np.inf)
    same = float((found['mask'] == expected['mask']).mean())
    return Agreement(same, float(error.max()) / largest)


def check(agreement: Agreement, bundle: Bundle, precision: str) -> None:
    """
    Refuse engines that disagree.

    Raises:
        RefusedError: names what was found, the limit, and the way out.

    """
    least = _least(bundle, precision)
    if not agreement.agreement >= least or not math.isfinite(agreement.logit_error):
        wider = 'fp16' if precision == 'int8' else 'fp32'
        remedy = f'choose precision {wider}, or' if precision != 'fp32' else 'please'
        msg = (
            f'the {precision} engines of {bundle.name} are refused: {agreement}, '
            f'at least {least:.3%} is needed: {remedy} report it'
        )
        raise RefusedError(msg, agreement.facts())


def _least(bundle: Bundle, precision: str) -> float:
    return bundle.agreement.get(precision, AGREEMENT[precision])


def verification_frame(size: tuple[int, int], image: np.ndarray | None = None) -> np.ndarray:
    """
    Make the frame that back ends are compared on.

    Args:
        size: height and width, px.
        image: a picture (h, w, 3) uint8 BGR from the camera to come; without one, a generated
            scene is taken.

    Returns:
        (H, W, 3) uint8 BGR, cut, or continued by mirroring, to that size.

    """
    if image is None:
        seed, side = _SCENE
        image = generate_scene(seed, side, side)[0]
    return mirrored(image, size)


def mirrored(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Continue an image to the right and below by mirroring, or cut it, to (height, width)."""
    for axis, length in enumerate(size):
        period = np.concatenate((image, np.flip(image, axis)), axis)
        image = np.take(period, np.arange(length) % period.shape[axis], axis)
    return image
