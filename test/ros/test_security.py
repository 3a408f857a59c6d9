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

"""The policy allows what the running node has, and nothing that it never needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from stage import Stage, wait_until

POLICY = Path(__file__).resolve().parents[2] / 'config/sros2/segmentation.policy.xml'

#: What depends on parameters and on what is installed.
SOMETIMES = {
    'publish': {
        '/segmentation/label_info',
        '/segmentation/label_info_json',
        '/segmentation/points',
        '/segmentation/ground_grid',
        '/segmentation/landing_sites',
        '/segmentation/landing_sites/detections',
        '/segmentation/mask_aligned',
        '/segmentation/confidence_aligned',
        '/segmentation/sampling',
        '/segmentation/objects',
    },
    'subscribe': {
        '/image_raw/compressed',
        '/image_raw/ffmpeg',
        '/image_raw/foxglove',
        '/image_raw',
        '/clock',
        '/parameter_events',
        '/points',
        '/depth',
        '/tf',
        '/tf_static',
    },
    'reply': {
        '/segmentation/get_type_description',
        '/segmentation/enable',
        '/segmentation/save_sample',
    },
}


def allowed(kind: str, element: str) -> set[str]:
    """Return the resolved names that the policy allows."""
    names = set()
    (profile,) = ElementTree.parse(POLICY).getroot().iter('profile')
    for group in profile:
        if group.get(kind) == 'ALLOW':
            names |= {each.text for each in group.iter(element)}
    return {
        name.replace('~', '/segmentation') if name[0] in '~/' else f'/{name}' for name in names
    }


def check(kind: str, element: str, found: list[tuple[str, list[str]]]) -> None:
    """Compare the policy with what the graph knows of the node."""
    present, permitted = {name for name, _ in found}, allowed(kind, element)
    assert present <= permitted
    assert permitted - present <= SOMETIMES[kind]


def test_policy_is_that_of_the_running_node(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage()
    stage.wait_for_state('active')
    watcher, node = stage.watcher, ('segmentation', '/')
    wait_until(
        lambda: ('segmentation', '/') in watcher.get_node_names_and_namespaces(), 'the node'
    )
    check('publish', 'topic', watcher.get_publisher_names_and_types_by_node(*node))
    check('subscribe', 'topic', watcher.get_subscriber_names_and_types_by_node(*node))
    check('reply', 'service', watcher.get_service_names_and_types_by_node(*node))
    assert not watcher.get_client_names_and_types_by_node(*node)


def test_policy_for_compressed_images(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(image_transport='compressed')
    stage.wait_for_state('active')
    found = stage.watcher.get_subscriber_names_and_types_by_node('segmentation', '/')
    check('subscribe', 'topic', found)


@pytest.mark.parametrize('source', ['points', 'depth'])
def test_policy_for_labelled_points(make_stage: Callable[..., Stage], source: str) -> None:
    stage = make_stage(**{'cloud.enabled': True, 'cloud.source': source})
    stage.wait_for_state('active')
    node = ('segmentation', '/')
    published = stage.watcher.get_publisher_names_and_types_by_node(*node)
    subscribed = stage.watcher.get_subscriber_names_and_types_by_node(*node)
    assert '/segmentation/points' in dict(published)
    assert f'/{source}' in dict(subscribed)
    check('publish', 'topic', published)
    check('subscribe', 'topic', subscribed)
    # Not even where tf2_ros is installed, whose buffer would offer `tf2_frames`.
    check('reply', 'service', stage.watcher.get_service_names_and_types_by_node(*node))
