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

"""Write a network that others exported as a bundle, compared with the network as it was."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from uhr_seg_ros.backends.memory_profile import detail_bytes_per_pixel
from uhr_seg_ros.core.bundle import Bundle, load_bundle, MODEL_FILE
from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.core.domain import Domain
from uhr_seg_ros.core.errors import BundleError, EngineError
from uhr_seg_ros.core.regular_files import file_sha256
from uhr_seg_ros.core.work_folders import draft_folder
from uhr_seg_ros.export.bundle_writing import write_bundle
from uhr_seg_ros.export.network_input import Normalization
from uhr_seg_ros.export.network_inspection import Inspection
from uhr_seg_ros.export.network_trial import noise, Trial
from uhr_seg_ros.onnx_graphs.folding import NEWEST_OPSET
from uhr_seg_ros.onnx_graphs.foreign_network import opset_of
from uhr_seg_ros.onnx_graphs.network_adaptation import (
    adapt,
    Form,
    LEAST_PROBABILITY,
    MASK,
    MASK_SCORE,
    PROBABILITIES,
)

#: Smallest share of the pixels of noise that get the same class as by the network as it was.
NOISE_AGREEMENT = 0.999

#: Largest error of a score there, relative to the largest score.
NOISE_TOLERANCE = 1e-2

#: Smallest std of a channel that a bundle may have, of pixels of 0 to 255.
LEAST_STD = 1e-3

#: Three values, RGB.
Channels = tuple[float, float, float]

#: What bundles of networks that others made have as `network`.
WRAPPED = 'wrapped'


def normalization_of(
    mean: Any, std: Any, scale: float | None, channel_order: str
) -> Normalization | None:
    """
    Turn `(pixel * scale - mean) / std`, as others write it, into what bundles have.

    Args:
        mean: three numbers in the order of the network's channels; None for 0.
        std: the same; None for 1.
        scale: what pixels are multiplied by; None: 1/255, or 1 where mean or std are above 2.
        channel_order: of mean and std, `rgb` or `bgr`.

    Returns:
        None where none of the three is given.

    Raises:
        BundleError: a number is none, or is divided by.

    """
    if mean is None and std is None and scale is None:
        return None
    source = 'given'
    if scale is None:
        scale = 1.0 if max((*(mean or ()), *(std or ()))) > 2 else 1 / 255
        source = f'given, for pixels of 0 to {255 * scale:g}, which is guessed: else give --scale'
    if not 0 < scale < np.inf:
        msg = f'--scale {scale:g}: expected a number above 0, such as 0.00392157 for 1/255'
        raise BundleError(msg)
    lows, wides = (
        tuple(value / scale for value in values)[:: -1 if channel_order == 'bgr' else 1]
        for values in (mean or (0.0,) * 3, std or (1.0,) * 3)
    )
    if not np.isfinite([*lows, *wides]).all() or not all(wides):
        msg = f'--mean {mean} and --std {std}: expected numbers, and none of the latter 0'
        raise BundleError(msg)
    return Normalization((lows[0], lows[1], lows[2]), (wides[0], wides[1], wides[2]), source)


def wrap_network(
    path: Path,
    inspection: Inspection,
    directory: Path,
    *,
    name: str,
    classes: ClassSet,
    domain: Domain = Domain(),  # noqa: B008 - it cannot change
) -> Bundle:
    """
    Write a network as a bundle of kind `single`.

    Args:
        path: the ONNX file, which provenance names.
        inspection: of it.
        directory: folder of the bundle, which is there.
        name: of the model.
        classes: names and colors.
        domain: what the model is for.

    Raises:
        BundleError: the normalization is not known, the number of classes is another one, or the
            wrapped network gives other classes than the network as it was.

    """
    form, normalization = inspection.form, inspection.normalization
    if normalization is None:
        msg = (
            f'network {path} does not normalize pixels by itself: give what it was trained with, '
            '--mean 0.485 0.456 0.406 --std 0.229 0.224 0.225 for that of ImageNet, --scale '
            '0.00392157 for pixels of 0 to 1, or --scale 1 for pixels of 0 to 255'
        )
        raise BundleError(msg)
    if len(classes) != form.classes:
        msg = (
            f'network {path} gives {form.classes} classes, the list of classes has '
            f'{len(classes)}: give another --classes'
        )
        raise BundleError(msg)
    form, mean, std = _rescaled(form, normalization)
    model = adapt(inspection.model, form)
    agreement = _agreement(inspection.model, form, inspection.stride, normalization, path)

    def write(memory: float | None = None) -> Bundle:
        return write_bundle(
            draft,
            name=name,
            network=WRAPPED,
            kind='single',
            classes=classes,
            mean=mean,
            std=std,
            multiple=inspection.stride,
            low_res_factor=1,
            input_size=form.size,
            detail_bytes_per_pixel=memory,
            domain=domain,
            provenance=_provenance(path, inspection, agreement),
        )

    # A bundle that is there stays until the new one is verified.
    with draft_folder(directory, '.wrap_') as draft:
        onnx.save(model, draft / 'network.onnx')
        bundle = write()
        with suppress(EngineError):  # without a measured figure the usual one counts
            bundle = write(detail_bytes_per_pixel(bundle))
        # model.yaml last: with it come the hashes.
        for file in ('network.onnx', MODEL_FILE):
            (draft / file).replace(directory / file)
    return load_bundle(directory)


def notes_of(inspection: Inspection) -> list[str]:
    """Return what is worth knowing of a network before it is on a robot, a line each."""
    notes = []
    form = inspection.form
    model = adapt(inspection.model, form)
    if opset_of(model) > NEWEST_OPSET:
        notes.append(
            f'it has operators that opset {NEWEST_OPSET} lacks, so it stays in opset '
            f'{opset_of(model)}: it runs on ONNX Runtime, but not on TensorRT, which needs an '
            f'export with opset {NEWEST_OPSET}'
        )
    if form.kind == MASK:
        notes.append(
            'it gives classes and no scores: tiles meet at hard seams, since nothing can be '
            'blended, and ~/confidence says nothing (one over the number of classes)'
        )
    if form.size is not None:
        notes.append(
            f'it takes {form.size[1]}x{form.size[0]} px only: frames are resized to that, or cut '
            f'into tiles of that size with a tile of {max(form.size)} px or more'
        )
    return notes


def _provenance(path: Path, inspection: Inspection, agreement: float) -> Mapping[str, Any]:
    return {
        'wrapped': path.name,
        'wrapped_sha256': file_sha256(path),
        'cut': list(inspection.cut),
        'findings': {
            each.name: f'{each.value} ({each.source})' if each.source else each.value
            for each in inspection.findings
        },
        'agreement_with_original': agreement,
    }


def _rescaled(form: Form, found: Normalization) -> tuple[Form, Channels, Channels]:
    """Return the mean and std of the bundle; what no bundle can say is left to the graph."""
    if all(0 <= value <= 255 for value in found.mean) and all(
        LEAST_STD <= value <= 255 for value in found.std
    ):
        return form, found.mean, found.std
    factors = [1 / value for value in found.std]
    offsets = [-low / wide for low, wide in zip(found.mean, found.std, strict=True)]
    return replace(form, rescaling=(factors, offsets)), (0.0,) * 3, (1.0,) * 3


def _agreement(
    model: onnx.ModelProto, form: Form, stride: int, found: Normalization, path: Path
) -> float:
    """Return the share of px of noise with the same class, by the wrapped network and before."""
    where = f'network {path}'
    # Where scores are enlarged, those before that are compared.
    form = replace(form, fitting=None)
    size = form.size or (3 * stride, 5 * stride)
    planes = noise(size, found.mean, found.std)
    before = Trial(model, form, [form.scores], where).run(planes)[0]
    if form.rescaling is not None:
        planes = noise(size, (0.0,) * 3, (1.0,) * 3)
    plain = Form('image', 'NCHW', 'float32', 'rgb', size, 'logits', 'NCHW', '', form.classes)
    after = Trial(adapt(model, form), plain, ['logits'], where).run(planes)[0]
    expected, wrapped = _logits(before, form), after[0]
    share = float((expected.argmax(0) == wrapped.argmax(0)).mean())
    largest = max(float(np.abs(expected).max()), float(np.finfo(np.float32).tiny))
    error = float(np.abs(expected - wrapped).max()) / largest
    if share < NOISE_AGREEMENT or not error <= NOISE_TOLERANCE:
        msg = (
            f'{where} gives the same class on {share:.2%} of the pixels of noise once it is '
            f'wrapped, expected {NOISE_AGREEMENT:.1%}, and scores that differ by {error:.1e} of '
            f'the largest, expected {NOISE_TOLERANCE:g}: export it with opset {NEWEST_OPSET}'
        )
        raise BundleError(msg)
    return share


def _logits(values: np.ndarray, form: Form) -> np.ndarray:
    """Return what the wrapped network should say, (C, h, w), by its output as it was."""
    letters = form.axes
    if 'N' in letters:
        values, letters = values.take(0, letters.index('N')), letters.replace('N', '')
    planes = values.transpose([letters.index(each) for each in 'CHW' if each in letters])
    if form.kind == MASK:
        ids = planes.reshape(planes.shape[-2:])
        return MASK_SCORE * (ids == np.arange(form.classes)[:, None, None])
    planes = planes.astype(np.float32)
    if form.kind == PROBABILITIES:
        if form.is_binary:
            planes = np.concatenate([1 - planes, planes])
        return np.log(np.maximum(planes, LEAST_PROBABILITY))
    return np.concatenate([-planes / 2, planes / 2]) if form.is_binary else planes
