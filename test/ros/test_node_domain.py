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

"""The node tells what its bundle is for, and warns where the cameras look in another way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
import shutil
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
import pytest
from stage import Stage, wait_until
from tiny_bundle import edited_model

MakeStage = Callable[..., Stage]

NODE = '/segmentation: segmentation'
SATELLITE = {'view': 'nadir', 'ground_resolution': [0.3, 1.0], 'trained_on': 'mosaics'}


@pytest.fixture
def bundle_for(tiny_bundle: Path, tmp_path: Path) -> Callable[[Any], str]:
    """Return a function that writes a bundle with a domain, or None."""

    def make(domain: Any) -> str:
        folder = Path(shutil.copytree(tiny_bundle, tmp_path / 'bundle'))
        with edited_model(folder) as content:
            content['domain'] = domain
        return str(folder)

    return make


def told(stage: Stage, level: bytes) -> DiagnosticStatus:
    """Wait for a report of the active node with this level."""

    def find() -> DiagnosticStatus | None:
        status = stage.status(NODE)
        is_active = any((pair.key, pair.value) == ('state', 'active') for pair in status.values)
        return status if is_active and status.level == level else None

    return wait_until(find, f'level {level}', last=lambda: stage.values(NODE))


def test_a_bundle_for_another_view_is_a_warning(
    make_stage: MakeStage, bundle_for: Callable[[Any], str]
) -> None:
    stage = make_stage(bundle=bundle_for(SATELLITE), camera_view='forward')
    line = 'nadir, 0.3 to 1 m/px, trained on mosaics'
    stage.wait_for_log(f'tiny is for: {line}; camera_view is forward')
    stage.wait_for_log('camera_view is forward', f'bundle tiny is for other views ({line})')
    status = told(stage, DiagnosticStatus.WARN)
    assert f'bundle tiny is for other views ({line})' in status.message
    values = stage.values(NODE)
    assert (values['domain'], values['domain_view']) == (line, 'nadir')
    assert stage.set_parameter('camera_view', 'nadir').successful
    assert told(stage, DiagnosticStatus.OK).message == 'active'
    refused = stage.set_parameter('camera_view', 'down')
    assert not refused.successful
    assert 'expected one of any, nadir, oblique, forward, other' in refused.reason


@pytest.mark.parametrize(
    ('domain', 'view', 'said'),
    [(None, 'forward', 'unknown'), (SATELLITE, 'any', 'nadir, 0.3 to 1 m/px, trained on mosaics')],
)
def test_what_is_unknown_is_told_and_no_warning(
    make_stage: MakeStage, bundle_for: Callable[[Any], str], domain: Any, view: str, said: str
) -> None:
    stage = make_stage(bundle=bundle_for(domain), camera_view=view)
    told(stage, DiagnosticStatus.OK)
    assert stage.values(NODE)['domain'] == said
    stage.wait_for_log(f'tiny is for: {said}; camera_view is {view}')
    assert not [line for line in stage.log_lines() if 'other views' in line]
