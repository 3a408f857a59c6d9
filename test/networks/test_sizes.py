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

"""Which image sizes the networks take."""

from __future__ import annotations

import pytest

torch = pytest.importorskip('torch', reason='the networks need torch')

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.networks.hlrc.network import HLRC
from uhr_seg_ros.networks.presets import build_network


@pytest.fixture(scope='module')
def small() -> HLRC:
    return build_network('hlrc_s').eval()


@pytest.mark.parametrize('remainder', [0, *range(4, 16)])
def test_every_remainder_but_three(small: HLRC, remainder: int) -> None:
    height, width = 16 + remainder, 48 + remainder
    with torch.no_grad():
        assert small(torch.randn(1, 3, height, width)).shape[2:] == (height, width)


@pytest.mark.parametrize('size', [(8, 64), (33, 64), (64, 50)])
def test_sizes_at_which_the_branches_do_not_meet(small: HLRC, size: tuple[int, int]) -> None:
    image = torch.randn(2, 3, *size)
    for call in (small, small.forward_train):
        with pytest.raises(ConfigError, match='pad to a multiple of 16'):
            call(image)
