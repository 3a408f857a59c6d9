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

"""Networks of others run on noise, as they are, at sizes that they may take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import math

import numpy as np
import onnx
import onnxruntime as ort

from uhr_seg_ros.core.bundle import IMAGENET_MEAN, IMAGENET_STD
from uhr_seg_ros.core.errors import BundleError
from uhr_seg_ros.core.text import listed, one_line
from uhr_seg_ros.export.network_input import Normalization, Said
from uhr_seg_ros.export.network_scores import read_scores, Scores, Size
from uhr_seg_ros.onnx_graphs.network_adaptation import Form, with_outputs
from uhr_seg_ros.onnx_graphs.network_ends import Tail, total_stride

#: The largest stride that is tried, px.
MAX_STRIDE = 128

# Height and width of trials, about, px.
_TRIAL_SIDE = 256


class DoesNotRunError(Exception):
    """A network that does not run at a size; says why."""


class Trial:
    """
    Runs a network of others as it is, on ONNX Runtime.

    Args:
        model: the network.
        form: how it takes images.
        outputs: names of the tensors that it gives.
        where: what errors begin with.

    Raises:
        BundleError: ONNX Runtime cannot open it.

    """

    def __init__(
        self, model: onnx.ModelProto, form: Form, outputs: Sequence[str], where: str
    ) -> None:
        self._form, self._outputs = form, list(outputs)
        options = ort.SessionOptions()
        options.log_severity_level = 4
        content = with_outputs(model, outputs).SerializeToString()
        try:
            self._session = ort.InferenceSession(
                content, options, providers=['CPUExecutionProvider']
            )
        except Exception as err:  # the classes of ONNX Runtime have no common base
            msg = (
                f'{where} cannot be opened by ONNX Runtime: {one_line(err, 300)}: export it again'
            )
            raise BundleError(msg) from err

    def run(self, planes: np.ndarray) -> list[np.ndarray]:
        """
        Run it on an image.

        Args:
            planes: (1, 3, H, W) float32 RGB, normalized.

        Raises:
            DoesNotRunError: it fails.

        """
        try:
            found = self._session.run(self._outputs, {self._form.image: self._fed(planes)})
        except Exception as err:  # the classes of ONNX Runtime have no common base
            raise DoesNotRunError(one_line(err, 200)) from err
        return [np.asarray(each) for each in found]

    def _fed(self, planes: np.ndarray) -> np.ndarray:
        if self._form.channel_order == 'bgr':
            planes = planes[:, ::-1]
        if self._form.layout == 'NHWC':
            planes = planes.transpose(0, 2, 3, 1)
        return np.ascontiguousarray(planes, dtype=self._form.dtype)


def noise(size: Size, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """Return seeded noise of whole pixels, normalized, (1, 3, H, W) float32 RGB."""
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, *size)).astype(np.float32)
    low, wide = (np.array(each, np.float32).reshape(1, 3, 1, 1) for each in (mean, std))
    return (pixels - low) / wide


class SizeTrials:
    """Runs a network at sizes, to find out what it gives."""

    def __init__(
        self,
        model: onnx.ModelProto,
        form: Form,
        normalization: Normalization | None,
        tail: Tail,
        said: Said,
        where: str,
    ) -> None:
        self._model, self._form, self._tail, self._said = model, form, tail, said
        self._where = where
        self._trial = Trial(model, form, [tail.tensor], where)
        found = normalization or Normalization(IMAGENET_MEAN, IMAGENET_STD, '')
        self._mean, self._std = found.mean, found.std

    def run(self) -> tuple[Scores, int]:
        """
        Return what the network gives, and what height and width are multiples of, px.

        Raises:
            BundleError: it does not run, or gives nothing that makes a mask.

        """
        return self._fixed(self._form.size) if self._form.size else self._any_size()

    def _fixed(self, size: Size) -> tuple[Scores, int]:
        """Run it at the one size that it takes."""
        given = self._said.stride
        if given is not None and any(side % given for side in size):
            msg = (
                f'{self._where} takes {size[1]}x{size[0]} px, no multiples of --stride {given}'
                ': give one that divides both, or none'
            )
            raise BundleError(msg)
        try:
            scores = self._scores(size)
        except DoesNotRunError as err:
            msg = (
                f'{self._where} does not run on a picture of {size[1]}x{size[0]} px: {err}'
                ': export it again'
            )
            raise BundleError(msg) from err
        return scores, math.lcm(given or 1, scores.step or 1)

    def _any_size(self) -> tuple[Scores, int]:
        """Run it at multiples of possible strides."""
        given, first = self._said.stride, total_stride(self._model, self._form.image)
        strides = [given] if given else list(_doubled(min(first, MAX_STRIDE)))
        reason = ''
        for stride in strides:
            size = _odd_multiples(stride)
            try:
                scores = self._scores(size)
            except DoesNotRunError as err:
                reason = reason or str(err)
                continue
            if scores.step is not None and stride % scores.step == 0:
                return scores, stride
            reason = reason or f'it gives {scores.shape} for {size[1]}x{size[0]} px'
        msg = (
            f'{self._where} takes any size, but none that is a multiple of '
            f'{listed(strides)} px ({reason}): give its --stride, or export it for one size'
        )
        raise BundleError(msg)

    def _scores(self, size: tuple[int, int]) -> Scores:
        values = self._trial.run(noise(size, self._mean, self._std))[0]
        said, layout = self._said, self._form.layout
        return read_scores(values, size, self._tail, layout, said.kind, said.classes, self._where)


def _doubled(first: int) -> Iterator[int]:
    while first <= MAX_STRIDE:
        yield first
        first *= 2


def _odd_multiples(stride: int) -> tuple[int, int]:
    """Return a height and a width that are no multiples of twice the stride, px."""
    count = _TRIAL_SIDE // stride
    return (count | 1) * stride, ((count + 2) | 1) * stride
