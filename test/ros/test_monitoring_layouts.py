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

"""Layouts of other tools, and analyzers: all that they name is what the running node publishes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import json
from pathlib import Path
import re
from typing import Any
from xml.etree import ElementTree

from diagnostic_msgs.msg import DiagnosticArray
from stage import example_mask, frame, Stage, wait_until
from tiny_bundle import paint
import yaml

CONFIG = Path(__file__).resolve().parents[2] / 'config'

MakeStage = Callable[..., Stage]


def words(content: Any) -> Iterator[str]:
    """Yield every text in a document."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, (dict, list)):
        for each in content.values() if isinstance(content, dict) else content:
            yield from words(each)


def matches(analyzer: dict[str, Any], name: str) -> bool:
    """Decide as the GenericAnalyzer of diagnostic_aggregator does."""
    return name in analyzer.get('expected', ()) or any(
        name.startswith(each) for each in analyzer.get('startswith', ())
    )


def test_all_that_is_shown_is_published(make_stage: MakeStage) -> None:
    stage = make_stage()
    camera = stage.camera()
    found: dict[str, list] = {
        topic: stage.collect(DiagnosticArray, topic)
        for topic in ('/diagnostics', '/segmentation/latency')
    }
    camera.publish(frame(paint(example_mask())))
    stage.wait_for_count(processed=1)
    wait_until(lambda: found['/segmentation/latency'], 'times')
    count = len(found['/diagnostics'])
    wait_until(lambda: len(found['/diagnostics']) > count, 'diagnostics')
    keys = {
        (topic, status.hardware_id, status.name, pair.key)
        for topic, arrays in found.items()
        for status in arrays[-1].status
        for pair in status.values
    }
    names = {name for _, _, name, _ in keys if ': ' in name}
    topics = {name for name, _ in stage.node.get_topic_names_and_types()}

    layout = json.loads((CONFIG / 'foxglove/segmentation.json').read_text(encoding='utf-8'))
    assert set(re.findall(r'\w+!\w+', json.dumps(layout['layout']))) == set(layout['configById'])
    for text in filter(lambda text: text.startswith('/'), words(layout['configById'])):
        if path := re.fullmatch(r'(/\S+?)\.status.*?\.values\[:\]\{key=="(\w+)"\}\.value', text):
            status = re.search(r'name=="(.+?)"', text)
            assert any(
                (topic, key) == path.groups() and (status is None or status[1] == name)
                for topic, _, name, key in keys
            ), text
        else:
            assert text in {*topics, *names, '/segmentation'}, text

    curves = ElementTree.parse(CONFIG / 'plotjuggler/segmentation.xml').iter('curve')
    shown = {curve.attrib['name'] for curve in curves}
    assert len(shown) == 7
    assert shown <= {'/'.join(each) for each in keys}

    content = yaml.safe_load((CONFIG / 'diagnostics/aggregator.yaml').read_text())
    group = content['/**']['ros__parameters']['segmentation']['analyzers']
    for name in names:
        assert sum(matches(analyzer, name) for analyzer in group.values()) == 1, name
    assert set(group['node']['expected']) <= names
    assert not any(matches(each, '/robot/segmentation: /image_raw') for each in group.values())
