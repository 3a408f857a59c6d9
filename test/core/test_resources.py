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

"""What an installation and a machine offer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from uhr_seg_ros.backends.tensorrt.cache import EngineCache
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.resources import expand_home
from uhr_seg_ros.ros.parameters.regions import Region


def test_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv('HOME', str(tmp_path))
    assert expand_home('~/flights') == tmp_path / 'flights'
    assert expand_home('flights/~') == Path('flights/~')


@pytest.mark.parametrize(
    'take',
    [expand_home, EngineCache, lambda path: Region(mask=path).open()],
    ids=['path', 'engine_cache', 'roi.mask'],
)
def test_the_home_of_nobody(take: Callable[[str], object]) -> None:
    with pytest.raises(ConfigError, match=r'~nobody_here/x.*: no home folder has this name'):
        take('~nobody_here/x')
