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

"""finish and paint, compiled for the host, against numpy, OpenCV and the shipped fusion."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from host_kernels import compile_host_kernels, HostKernels
from kernel_arrays import (
    both_types,
    frame_arguments,
    guarded_outputs,
    Output,
    random_frame,
    SUFFIXES,
)
import numpy as np
import onnxruntime
import pytest

from uhr_seg_ros.core.classes import ClassSet, UNLABELED
from uhr_seg_ros.core.raw_frame import FORMATS, RawFrame
from uhr_seg_ros.core.visualization import OverlayOptions, scaled_size

AERIAL = Path(__file__).resolve().parents[2] / 'models/hlrc_s_aerial'

CLASSES = ClassSet(('a', 'b', 'c'), ((10, 20, 30), (200, 100, 50), (0, 255, 90)))


@pytest.fixture
def kernels() -> HostKernels:
    return compile_host_kernels()


@pytest.fixture
def output() -> Iterator[Output]:
    yield from guarded_outputs()


def upsampled(quarter: np.ndarray) -> np.ndarray:
    """Enlarge (C, h, w) by 4 bilinearly, half-pixel centers, in float64."""
    for axis in (1, 2):
        size = quarter.shape[axis]
        place = np.clip((np.arange(4 * size) + 0.5) / 4 - 0.5, 0, size - 1)
        lower = np.floor(place).astype(int)
        weight = (place - lower).reshape((-1, 1) if axis == 1 else -1)
        upper = np.minimum(lower + 1, size - 1)
        quarter = quarter.take(lower, axis) * (1 - weight) + quarter.take(upper, axis) * weight
    return quarter


def finish(
    kernels: HostKernels,
    quarter: np.ndarray,
    mask: np.ndarray,
    confidence: np.ndarray | None = None,
    logits: np.ndarray | None = None,
    flag: np.ndarray | None = None,
) -> None:
    """Fill mask (H, W) and, where they are not None, confidence, logits and a flag."""
    classes, rows, columns = quarter.shape
    kernels.run(
        f'finish_{SUFFIXES[quarter.dtype.type]}',
        (columns, rows, 1),
        *(quarter, classes, rows, columns, *mask.shape),
        *(mask, mask.itemsize, confidence, logits, flag),
    )


@both_types
@pytest.mark.parametrize('classes', [1, 2, 19, 300])
@pytest.mark.parametrize('size', [(4, 4), (3, 2), (29, 43), (32, 48)])
def test_finish(
    kernels: HostKernels, output: Output, size: tuple[int, int], classes: int, dtype: type
) -> None:
    shape = (classes, *(-(-side // 16) * 4 for side in size))
    quarter = np.random.default_rng(classes).normal(size=shape).astype(dtype) * 4
    wanted = upsampled(quarter.astype(np.float64))[:, : size[0], : size[1]]
    mask_type = np.uint8 if classes < 256 else np.uint16
    mask, confidence = output(size, mask_type), output(size, np.uint8)
    logits = output((classes, *size), np.float32)
    finish(kernels, quarter, mask, confidence, logits)
    assert np.abs(logits - wanted).max() < 1e-5
    assert (mask == logits.argmax(0)).all()
    softmax = 1 / np.exp(wanted - wanted.max(0)).sum(0)
    assert np.abs(confidence - 255 * softmax).max() < 0.501
    alone, with_confidence = output(size, mask_type), output(size, mask_type)
    finish(kernels, quarter, alone)
    finish(kernels, quarter, with_confidence, confidence)
    assert (alone == mask).all()
    assert (with_confidence == mask).all()


def test_finish_takes_the_first_of_equals(kernels: HostKernels, output: Output) -> None:
    rng = np.random.default_rng(0)
    low, high = rng.normal(size=(1, 8, 8)) - 9, rng.normal(size=(1, 8, 8))
    quarter = np.concatenate((low, high, low, high, high)).astype(np.float32)
    mask = output((32, 32), np.uint8)
    finish(kernels, quarter, mask)
    assert (mask == 1).all()
    finish(kernels, np.full((3, 8, 8), -65504, np.float16), mask)
    assert (mask == 0).all()


@both_types
@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_sets_the_flag(
    kernels: HostKernels, output: Output, value: float, dtype: type
) -> None:
    quarter = np.random.default_rng(0).normal(size=(3, 8, 8)).astype(dtype)
    quarter[0, 0, 0] = np.finfo(dtype).max
    mask, flag = output((31, 29), np.uint8), np.zeros(1, np.uint32)
    finish(kernels, quarter, mask, flag=flag)
    assert not flag
    finish(kernels, np.full_like(quarter, value), mask)  # and nobody asks
    # Also beyond the end of the mask, which the CPU path looks at too.
    for place in ((1, 3, 5), (0, 0, 0), (2, 7, 7)):
        broken, flag = quarter.copy(), np.zeros(1, np.uint32)
        broken[place] = value
        finish(kernels, broken, mask, flag=flag)
        assert flag, place


@both_types
def test_check_sees_every_place(kernels: HostKernels, output: Output, dtype: type) -> None:
    for count, columns in ((1, 1), (3, 32), (4, 32), (1027, 32), (9001, 40)):
        values, flag = output((count,), dtype), np.zeros(1, np.uint32)
        values[...] = np.random.default_rng(0).normal(size=count)
        values[0] = np.finfo(dtype).max
        arguments = values, np.int64(count), flag
        threads = (columns, 8, 1)
        kernels.run(f'check_{SUFFIXES[dtype]}', threads, *arguments)
        assert not flag
        for value, place in zip(
            (np.nan, np.inf, -np.inf), (0, count // 2, count - 1), strict=True
        ):
            good, values[place] = values[place], value
            kernels.run(f'check_{SUFFIXES[dtype]}', threads, *arguments)
            assert flag, (count, place)
            flag[0], values[place] = 0, good


def test_finish_is_the_tail_of_the_shipped_fusion(kernels: HostKernels, output: Output) -> None:
    rng = np.random.default_rng(0)
    session = {
        name: onnxruntime.InferenceSession(AERIAL / f'{name}.onnx')
        for name in ('quarter', 'fusion', 'scores')
    }
    shapes = {each.name: each.shape for each in session['fusion'].get_inputs()}
    sizes = {'tokens': (6, 9), 'affinity': (6, 9), 'local': (24, 36)}
    feeds = {}
    for name, shape in shapes.items():
        places = slice(1, 3) if name == 'affinity' else slice(2, 4)
        shape[places] = sizes[name]
        feeds[name] = rng.normal(size=shape).astype(np.float32)
    feeds['affinity'] = np.abs(feeds['affinity']) / 9
    quarter = session['quarter'].run(['quarter_logits'], feeds)[0][0]
    mask, confidence = (output((96, 144), np.uint8) for _ in range(2))
    logits = output((len(quarter), 96, 144), np.float32)
    finish(kernels, quarter, mask, confidence, logits)
    scores = session['scores'].run(['mask', 'confidence', 'logits'], feeds)
    assert (mask == session['fusion'].run(['mask'], feeds)[0][0]).mean() > 0.9999
    assert (mask == scores[0][0]).mean() > 0.9999
    assert np.abs(confidence.astype(int) - scores[1][0]).max() <= 1
    assert np.abs(logits - scores[2][0]).max() < 1e-4 * np.abs(logits).max()
    assert len(np.unique(mask)) > 1


def paint(
    kernels: HostKernels,
    frame: RawFrame,
    mask: np.ndarray,
    classes: ClassSet,
    pictures: dict[str, np.ndarray],
    alpha: float,
) -> None:
    """Fill `overlay` and `color_mask`, those that are there."""
    height, width, _ = next(iter(pictures.values())).shape
    palette = classes.palette_bgr()
    kernels.run(
        'paint',
        (width, height, 1),
        *frame_arguments(frame),
        *(mask, mask.itemsize, palette, len(classes), height, width, alpha),
        *(pictures.get('overlay'), pictures.get('color_mask')),
    )


def patchy_mask(size: tuple[int, int], dtype: type) -> np.ndarray:
    """Make a mask of patches, some of them without a class."""
    ids = np.array([0, 1, 2, UNLABELED, 3 if dtype is np.uint8 else 60000], dtype)
    patches = np.random.default_rng(0).integers(0, len(ids), (99, 99))
    return ids[patches.repeat(3, 0).repeat(2, 1)[: size[0], : size[1]]]


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
@pytest.mark.parametrize('alpha', [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize('scale', [1.0, 0.5, 0.25, 0.37, 0.93, 0.01])
def test_paint(
    kernels: HostKernels, output: Output, scale: float, alpha: float, dtype: type
) -> None:
    for size in ((48, 64), (45, 67), (1, 1)):
        frame, mask = random_frame('bgr8', size, 3), patchy_mask(size, dtype)
        pictures = OverlayOptions(overlay=True, color_mask=True, alpha=alpha, scale=scale)
        wanted = pictures.paint(frame.bgr, mask, CLASSES)
        shape = (*scaled_size(size, scale), 3)
        found = {name: output(shape, np.uint8) for name in wanted}
        paint(kernels, frame, mask, CLASSES, found, alpha)
        assert (found['color_mask'] == wanted['color_mask']).all()
        assert np.abs(found['overlay'].astype(int) - wanted['overlay']).max() <= 1
        for name in wanted:
            alone = {name: output(shape, np.uint8)}
            paint(kernels, frame, mask, CLASSES, alone, alpha)
            assert (alone[name] == found[name]).all()


@pytest.mark.parametrize('scale', [1.0, 0.5, 0.61])
@pytest.mark.parametrize('pixel_format', FORMATS)
def test_paint_over_every_format(
    kernels: HostKernels, output: Output, pixel_format: str, scale: float
) -> None:
    frame, mask = random_frame(pixel_format, (30, 46), 1), patchy_mask((30, 46), np.uint8)
    wanted = OverlayOptions(overlay=True, scale=scale).paint(frame.bgr, mask, CLASSES)['overlay']
    overlay = output(wanted.shape, np.uint8)
    paint(kernels, frame, mask, CLASSES, {'overlay': overlay}, 0.5)
    difference = overlay.astype(int) - wanted
    assert np.abs(difference).max() <= 1
    # Rounding as OpenCV does, but for ties.
    assert (difference != 0).mean() < 0.01


def test_paint_takes_the_pixel_that_opencv_takes(kernels: HostKernels, output: Output) -> None:
    """Where a place falls exactly between two pixels, OpenCV's rounding decides."""
    colors = [(index % 256, index // 256, 7) for index in range(400)]
    classes = ClassSet(tuple(map(str, range(400))), tuple(colors))
    for width in range(2, 400, 3):
        frame = random_frame('mono8', (1, width))
        mask = np.arange(width, dtype=np.uint16)[None]
        for scale in (0.5, 1 / 3, 0.3, 0.7):
            pictures = OverlayOptions(color_mask=True, scale=scale)
            wanted = pictures.paint(frame.bgr, mask, classes)['color_mask']
            found = output(wanted.shape, np.uint8)
            paint(kernels, frame, mask, classes, {'color_mask': found}, 0.5)
            assert (found == wanted).all(), (width, scale)
