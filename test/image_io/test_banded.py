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

"""Images of more bands and bits by rules: the same as those of maps, by window as whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rasters import write_raster

from uhr_seg_ros.core.errors import ConfigError, ImageError
from uhr_seg_ros.image_io.banded import check_banded, read_banded
from uhr_seg_ros.image_io.raster_bands import BandRules
from uhr_seg_ros.image_io.rasters import Raster

pytest.importorskip('rasterio', reason='bands are chosen by rasterio')

RULES = BandRules((4, 1, 2), 'percentile')


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    values = np.random.default_rng(0).integers(100, 3000, (4, 60, 80), np.uint16)
    values[:, :30] //= 3  # so that a window has other percentiles than the whole
    return write_raster(tmp_path / 'deep.tif', values)


def test_an_image_is_what_a_map_is(deep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Raster(deep, RULES) as raster:
        expected = raster.read((0, 60), (0, 80)).image
    assert (read_banded(deep, (35, 11, 20, 50), RULES) == expected[35:55, 11:61]).all()
    # What percentiles say of a file is known from then on, until it is another one.
    looked = []
    percentile = np.percentile
    monkeypatch.setattr(np, 'percentile', lambda *a: looked.append(a) or percentile(*a))
    assert (read_banded(deep, None, RULES) == expected).all()
    assert not looked
    write_raster(deep, np.full((4, 60, 81), 7, np.uint16))
    assert read_banded(deep, None, RULES).shape == (60, 81, 3)
    assert looked


def test_what_does_not_fit(deep: Path) -> None:
    for rules, text in (
        (BandRules((5,), 'percentile'), 'has 4 bands, --bands wants 5'),
        (BandRules((1,)), 'its bands are uint16, expected uint8: --stretch percentile'),
    ):
        with pytest.raises(ConfigError, match=text):
            check_banded(deep, rules)
    check_banded(deep, RULES)
    with pytest.raises(ImageError, match='a window of 9 x 9 px at row 55, column 0 is not inside'):
        read_banded(deep, (55, 0, 9, 9), RULES)
    deep.write_bytes(deep.read_bytes()[:-3000])
    with pytest.raises(ImageError, match='of its blocks are damaged'):
        read_banded(deep, None, BandRules((1,), (0.0, 3000.0)))
