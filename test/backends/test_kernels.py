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

"""prepare and accumulate, compiled for the host, against OpenCV and numpy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
import pytest

from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.core.raw_frame import FORMATS, RawFrame
from uhr_seg_ros.pipelines.preprocessing import Preprocessor

#: Bytes go through unchanged.
IDENTITY = (1.0, 1.0, 1.0, 0.0, 0.0, 0.0)


@pytest.fixture
def kernels() -> HostKernels:
    return compile_host_kernels()


@pytest.fixture
def output() -> Iterator[Output]:
    yield from guarded_outputs()


def prepare(
    kernels: HostKernels,
    frame: RawFrame,
    window: tuple[int, int, int, int],
    image: np.ndarray | None,
    low_res: np.ndarray | None,
    norm: Sequence[float] = IDENTITY,
    *,
    interleaved: bool = False,
) -> None:
    """Fill the outputs, those that are not None."""
    name = f'prepare_{SUFFIXES[(low_res if image is None else image).dtype.type]}'
    threads = window[3] // 4, window[2] // 4, 1
    kernels.run(
        name, threads, *frame_arguments(frame), *window, *norm, image, low_res, interleaved
    )


def planes_of(image: np.ndarray) -> np.ndarray:
    """Pad (H, W, 3) BGR to multiples of 16 and give (3, H, W) float32 RGB."""
    padding = ((0, -image.shape[0] % 16), (0, -image.shape[1] % 16), (0, 0))
    return np.pad(image, padding, mode='edge')[..., ::-1].transpose(2, 0, 1).astype(np.float32)


def means_of(planes: np.ndarray) -> np.ndarray:
    """Return the means of 4x4 blocks of (3, H, W)."""
    _, height, width = planes.shape
    return planes.reshape(3, height // 4, 4, width // 4, 4).mean((2, 4))


def sizes_for(pixel_format: str) -> list[tuple[int, int]]:
    """Return sizes that a format can have, odd ones among them."""
    sizes = [(1, 1), (2, 2), (2, 6), (3, 3), (5, 4), (16, 16), (18, 34), (37, 51), (38, 50)]
    if pixel_format.startswith('bayer'):
        return [size for size in sizes if min(size) >= 3]
    if pixel_format in ('nv12', 'nv21'):
        return [size for size in sizes if not size[0] % 2 and not size[1] % 2]
    return [size for size in sizes if pixel_format not in ('uyvy', 'yuyv') or not size[1] % 2]


@both_types
@pytest.mark.parametrize('padding', [0, 5, 8])
@pytest.mark.parametrize('pixel_format', FORMATS)
def test_prepare_sees_the_colors_of_opencv(
    kernels: HostKernels, output: Output, pixel_format: str, padding: int, dtype: type
) -> None:
    for size in sizes_for(pixel_format):
        frame = random_frame(pixel_format, size, padding)
        wanted = planes_of(frame.bgr)
        _, rows, columns = wanted.shape
        image = output(wanted.shape, dtype)
        low_res = output((3, rows // 4, columns // 4), dtype)
        prepare(kernels, frame, (0, 0, rows, columns), image, low_res)
        assert (image == wanted).all(), size
        assert (low_res == means_of(wanted).astype(dtype)).all(), size


@pytest.mark.parametrize('pixel_format', ['nv12', 'nv21'])
def test_prepare_all_pairs_of_u_and_v(
    kernels: HostKernels, output: Output, pixel_format: str
) -> None:
    frame = random_frame(pixel_format, (512, 512))
    frame.data[512:, 0::2] = np.arange(256)[:, None]
    frame.data[512:, 1::2] = np.arange(256)
    image = output((3, 512, 512), np.float32)
    prepare(kernels, frame, (0, 0, 512, 512), image, None)
    assert (image == planes_of(frame.bgr)).all()


@pytest.mark.parametrize('size', [(15, 17), (16, 16), (70, 93)])
def test_prepare_normalizes_as_the_preprocessor(
    kernels: HostKernels, output: Output, tiny_bundle: Path, size: tuple[int, int]
) -> None:
    bundle = load_bundle(tiny_bundle)
    mean, std = np.array(bundle.mean), np.array(bundle.std)
    norm = [float(number) for number in (*(1 / std), *(-mean / std))]
    frame = random_frame('bgr8', size, 7)
    planes, means = (array[0] for array in Preprocessor(bundle).whole(frame.bgr))
    window = (0, 0, *planes.shape[1:])
    exact, half = ([output(planes.shape, dtype), output(means.shape, dtype)] for dtype in SUFFIXES)
    prepare(kernels, frame, window, *exact, norm)
    prepare(kernels, frame, window, *half, norm)
    for index, wanted in enumerate((planes, means)):
        assert np.abs(exact[index] - wanted).max() < 1e-5
        assert (half[index] == exact[index].astype(np.float16)).all()


@both_types
@pytest.mark.parametrize('pixel_format', ['bgr8', 'nv12'])
def test_prepare_interleaved(
    kernels: HostKernels, output: Output, pixel_format: str, dtype: type
) -> None:
    """Four values a pixel, as `TensorFormat.CHW4` has them: the last is a zero."""
    frame = random_frame(pixel_format, (74, 94), 2)
    wanted = planes_of(frame.bgr)
    for top, left, rows, columns in ((0, 0, *wanted.shape[1:]), (32, 48, 48, 48), (4, 12, 16, 20)):
        part = wanted[:, top : top + rows, left : left + columns]
        image = output((rows, columns, 4), dtype)
        low_res = output(means_of(part).shape, dtype)
        prepare(kernels, frame, (top, left, rows, columns), image, low_res, interleaved=True)
        assert (image[..., :3].transpose(2, 0, 1) == part).all()
        assert not image[..., 3].any()
        assert (low_res == means_of(part).astype(dtype)).all()


@pytest.mark.parametrize('pixel_format', ['bgr8', 'yuyv', 'nv21', 'bayer_grbg8'])
def test_prepare_windows_are_parts_of_the_whole(
    kernels: HostKernels, output: Output, pixel_format: str
) -> None:
    frame = random_frame(pixel_format, (74, 94), 2)
    wanted = planes_of(frame.bgr)
    for top, left, rows, columns in ((0, 0, 48, 64), (32, 48, 48, 48), (4, 12, 16, 20)):
        part = wanted[:, top : top + rows, left : left + columns]
        image = output(part.shape, np.float32)
        low_res = output(means_of(part).shape, np.float32)
        prepare(kernels, frame, (top, left, rows, columns), image, None)
        prepare(kernels, frame, (top, left, rows, columns), None, low_res)
        assert (image == part).all()
        assert (low_res == means_of(part)).all()


@both_types
@pytest.mark.parametrize('channels_last', [False, True])
def test_accumulate_adds_weighted_tiles(
    kernels: HostKernels, output: Output, channels_last: bool, dtype: type
) -> None:
    rng = np.random.default_rng(0)
    channels, height, width = 5, 13, 40
    order = (1, 2, 0) if channels_last else (0, 1, 2)
    found = np.zeros(np.array((channels, height, width))[list(order)], dtype)
    total = found.transpose(np.argsort(order))
    wanted = np.zeros(total.shape, np.float32)
    for top, left, rows, columns in ((0, 0, 8, 33), (5, 7, 8, 33)):
        stored = rng.normal(size=np.array((channels, rows, columns))[list(order)]).astype(dtype)
        tile = stored.transpose(np.argsort(order))
        row_weights, column_weights = rng.random(rows, np.float32), rng.random(columns, np.float32)
        place = np.int64((top * total.strides[1] + left * total.strides[2]) // total.itemsize)
        kernels.run(
            f'accumulate_{SUFFIXES[dtype]}',
            (columns, rows, channels),
            *(stored, found, channels, rows, columns),
            *(stride // tile.itemsize for stride in tile.strides),
            place,
            *(stride // total.itemsize for stride in total.strides),
            *(row_weights, column_weights),
        )
        part = wanted[:, top : top + rows, left : left + columns]
        part += row_weights[:, None] * column_weights * tile.astype(np.float32)
        wanted = wanted.astype(dtype).astype(np.float32)
    assert np.abs(total - wanted).max() <= (1e-6 if dtype is np.float32 else 4e-3)


def test_half_of_the_shim_is_that_of_numpy(kernels: HostKernels) -> None:
    tile = np.arange(65536, dtype=np.uint16).view(np.float16)
    total, one = np.zeros_like(tile), np.ones(1, np.float32)
    shape = (1, 1, tile.size)
    weights = np.ones(tile.size, np.float32)
    steps = (tile.size, tile.size, 1)
    kernels.run(
        'accumulate_f16',
        (tile.size, 1, 1),
        tile,
        total,
        *shape,
        *steps,
        np.int64(0),
        *steps,
        one,
        weights,
    )
    assert np.array_equal(total, tile, equal_nan=True)


def test_arguments_of_a_wrong_type_are_noticed(kernels: HostKernels) -> None:
    with pytest.raises(TypeError, match=r"finish_f32 takes \['u8', 'i4'.* not \['i8'\]"):
        kernels.launch('finish_f32', (1, 1, 1), (32, 8, 1), [np.int64(0)])
