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

"""The inputs of both branches against plain numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from uhr_seg_ros.core.bundle import Bundle, load_bundle
from uhr_seg_ros.pipelines.preprocessing import Preprocessor

SIZES = [(1, 1), (15, 17), (16, 16), (33, 47), (1030, 75)]


@pytest.fixture
def bundle(tiny_bundle: Path) -> Bundle:
    return load_bundle(tiny_bundle)


def random_image(size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(sum(size)).integers(0, 256, (*size, 3), np.uint8)


def expected(image: np.ndarray, bundle: Bundle) -> tuple[np.ndarray, np.ndarray]:
    """Pad, normalize and reduce, one step after the other."""
    padding = ((0, -image.shape[0] % 16), (0, -image.shape[1] % 16), (0, 0))
    rgb = np.pad(image, padding, mode='edge')[..., ::-1]
    planes = ((rgb - np.array(bundle.mean)) / np.array(bundle.std)).transpose(2, 0, 1)
    height, width = planes.shape[1:]
    low_res = planes.reshape(3, height // 4, 4, width // 4, 4).mean((2, 4))
    return planes[None], low_res[None]


@pytest.mark.parametrize('size', SIZES)
def test_whole_frame(bundle: Bundle, size: tuple[int, int]) -> None:
    image = random_image(size)
    planes, low_res = Preprocessor(bundle).whole(image)
    for found, wanted in zip((planes, low_res), expected(image, bundle), strict=True):
        assert found.dtype == np.float32
        assert found.shape == wanted.shape
        assert np.abs(found - wanted).max() < 1e-5


@pytest.mark.parametrize('size', SIZES)
def test_low_res_alone_is_the_same(bundle: Bundle, size: tuple[int, int]) -> None:
    image = random_image(size)
    wanted = Preprocessor(bundle).whole(image)[1]
    assert (Preprocessor(bundle).low_res(image) == wanted).all()


def test_windows_are_parts_of_the_whole(bundle: Bundle) -> None:
    image = random_image((75, 93))
    whole = Preprocessor(bundle).whole(image)[0]
    preprocessor = Preprocessor(bundle)
    for rows in ((0, 48), (32, 80)):
        for columns in ((0, 64), (48, 96)):
            window = preprocessor.window(image, rows, columns)
            assert (window == whole[..., slice(*rows), slice(*columns)]).all()


def test_padded_rows_and_read_only_memory(bundle: Bundle) -> None:
    buffer = random_image((40, 60))
    image = buffer[:, :50]
    image.flags.writeable = False
    planes, _ = Preprocessor(bundle).whole(image)
    assert np.abs(planes - expected(image, bundle)[0]).max() < 1e-5


def test_buffers_are_reused_when_the_size_changes(bundle: Bundle) -> None:
    preprocessor = Preprocessor(bundle)
    large, _ = preprocessor.whole(random_image((320, 320)))
    small, _ = preprocessor.whole(random_image((64, 80)))
    again, _ = preprocessor.whole(random_image((320, 320)))
    assert np.shares_memory(large, small)
    assert np.shares_memory(large, again)
