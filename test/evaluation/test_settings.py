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

"""EvaluationSettings: what is published, and what does not fit together."""

from __future__ import annotations

from typing import Any

import pytest

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.evaluation.settings import EvaluationSettings, settings_for


def test_what_is_published() -> None:
    assert settings_for('cityscapes', {}).mode == 'whole'
    deepglobe = settings_for('deepglobe', {})
    assert (deepglobe.mode, deepglobe.window, deepglobe.stride) == ('slide', 1408, 1056)
    inria = settings_for('inria', {'mode': None, 'window': None})
    assert (inria.mode, inria.window, inria.stride, inria.scale) == ('slide', 1280, 960, 0.8)
    assert settings_for('folder', {}) == EvaluationSettings('whole')


def test_what_is_chosen_counts() -> None:
    inria = settings_for('inria', {'window': 640, 'stride': 480})
    assert (inria.window, inria.stride, inria.scale) == (640, 480, 0.8)
    assert settings_for('inria', {'mode': 'whole'}).scale == 0.8
    assert settings_for('inria', {'branch': 'semantic'}) == EvaluationSettings(branch='semantic')


@pytest.mark.parametrize(
    ('chosen', 'text'),
    [
        ({'mode': 'slide', 'stride': 1500}, r'stride of 1500 px with windows of 1024 px'),
        ({'mode': 'slide', 'stride': 0}, r'stride of 0 px'),
        ({'mode': 'slide', 'window': 10, 'stride': 5}, r'window of 10 px is too small'),
        ({'window': 512, 'stride': 512}, r'add --mode slide'),
        ({'scale': 0.0}, r'scale 0.0 is outside 0.1 to 4.0'),
        ({'branch': 'semantic', 'mode': 'slide'}, r'semantic branch alone'),
        ({'branch': 'semantic', 'tta': 'flip'}, r'semantic branch alone'),
        ({'mode': 'slide', 'tile': 512}, r'tile of 512 px in mode slide'),
        ({'against_whole': True}, r'is for tiles'),
        ({'refine': 'random_walker', 'tta': 'flip'}, r'refine random_walker is for whole masks'),
        ({'refine': 'magic'}, r"refine 'magic' is unknown, known: none, random_walker"),
        ({'tta': 'twice'}, r"tta 'twice' is unknown, known: none, flip, all"),
    ],
)
def test_what_does_not_fit(chosen: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        settings_for('aerial', chosen)


def test_a_detail_share_is_for_whole_frames() -> None:
    settings = EvaluationSettings(detail_share=0.3, against_whole=True)
    assert settings.detail_share == 0.3
    with pytest.raises(ConfigError, match='a detail share of 1.5: expected 0 to 1'):
        EvaluationSettings(detail_share=1.5)
    with pytest.raises(ConfigError, match='without a tile size'):
        EvaluationSettings(detail_share=0.3, tile=512)
