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

"""What the launch files say and check; launch itself is not needed."""

from __future__ import annotations

from pathlib import Path
import shutil

import pytest
from tiny_bundle import edited_model
import yaml

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.ros.parameters.launch_arguments import (
    camera_names,
    camera_topics,
    CameraTopics,
    node_name,
    respawn_delay_s,
)
from uhr_seg_ros.ros.parameters.launch_texts import bundles_text, street_text


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of models of a workspace that is installed beside the package."""
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))
    models = tmp_path / 'share/uhr_seg_ros/models'
    models.mkdir(parents=True)
    return models


def test_bundles_are_listed_whatever_state_they_are_in(installed: Path, tiny_bundle: Path) -> None:
    for name in ('city', 'old', 'torn'):
        shutil.copytree(tiny_bundle, installed / name)
    with edited_model(installed / 'city') as content:
        content['domain'] = {'view': 'forward', 'trained_on': 'streets'}
    (installed / 'torn/model.yaml').write_text('domain: [')
    said = bundles_text()
    assert len(said) < 2000
    assert 'city (forward, trained on streets)' in said
    assert 'old (unknown)' in said
    assert 'torn (not usable: ' in said
    assert 'hlrc_s_aerial (nadir, 0.3 to 5 m/px, trained on mosaics of Dubai' in said


def test_a_long_list_of_bundles_is_cut(installed: Path) -> None:
    for number in range(30):
        (installed / f'm{number}').mkdir()
        (installed / f'm{number}/model.yaml').write_text(f'domain: {{trained_on: {"a" * 200}}}')
    (installed / 'new\nline').mkdir()
    (installed / 'new\nline/model.yaml').write_text('domain: {}')
    said = bundles_text()
    assert len(said) <= 2000
    assert said.isprintable()


def test_commands_for_streets_exist() -> None:
    from uhr_seg_ros.cli.main import COMMANDS

    said = street_text()
    for command in ('convert', 'train'):
        assert f'uhr_seg {command} ' in said
        assert command in COMMANDS
    recipe = Path(said.partition('--config ')[2].split()[0])
    assert yaml.safe_load(recipe.read_text())['data']['dataset'] == 'street'


@pytest.mark.parametrize(
    ('text', 'names'),
    [
        ("['']", ['']),
        ('[]', ['']),
        ('', ['']),
        ('[front]', ['front']),
        ('[front, rear]', ['front', 'rear']),
        ('[\'front\', "rear"]', ['front', 'rear']),
        ('- front\n- rear', ['front', 'rear']),
        ('[robot/front, rear]', ['robot/front', 'rear']),
    ],
)
def test_names_of_cameras(text: str, names: list[str]) -> None:
    assert camera_names(text) == names


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('[front, rear', "is '[front, rear' (expected ',' or ']'"),
        ('front, rear', "is 'front, rear': expected a list of names"),
        ('front', "for one camera cameras:='[front]'"),
        ('{front: 1}', 'expected a list of names'),
        ('7', 'expected a list of names'),
        ('2026-02-30', 'expected a list of names'),
        ('[front, 7]', '7 is no name: put it in quotes'),
        ('[no, yes]', 'False is no name: put yes, no, on'),
        ('[[front]]', 'is no name'),
        ('[null]', 'None is no name'),
        ('[front, front]', 'names a camera twice'),
        ("[front, '']", "cameras has ''"),
        ('[a b]', "cameras has 'a b': a name is letters"),
        ('[/front]', "cameras has '/front'"),
        ('[front/]', "cameras has 'front/'"),
        ('[a/1]', 'parts of it may be joined by /'),
        ('!!python/object:os.system []', 'expected a list of names'),
        ('[front]\0', 'expected a list of names'),
        (f'[{"a" * 5000}', 'expected a list of names'),
    ],
)
def test_what_is_no_list_of_names(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match='^launch argument cameras ') as error:
        camera_names(text)
    assert said in str(error.value)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize('text', ['soon', '-1', 'nan', 'inf', '1e9', ''])
def test_delays_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match='^launch argument respawn_delay is '):
        respawn_delay_s(text)
    assert respawn_delay_s('0.5') == 0.5


@pytest.mark.parametrize(
    ('text', 'topics'),
    [
        ('', {}),
        ('{}', {}),
        ('{front: /a/image}', {'front': CameraTopics('/a/image')}),
        ('{a/b: image, c: ~/image}', {'a/b': CameraTopics('image'), 'c': CameraTopics('~/image')}),
        (
            '{front: {image: /a, camera_info: /b, depth: /c, points: /d}}',
            {'front': CameraTopics('/a', '/b', '/c', '/d')},
        ),
        ('{front: {depth: /c}}', {'front': CameraTopics(depth='/c')}),
    ],
)
def test_topics_of_cameras(text: str, topics: dict[str, CameraTopics]) -> None:
    assert camera_topics(text) == topics


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('{front: /a', "(expected ',' or '}'"),
        ('[front]', 'expected a topic for each camera'),
        ('front', 'expected a topic for each camera'),
        ('{no: /a}', 'False is no name of a camera'),
        ('{/front: /a}', "'/front' is no name of a camera"),
        ("{'': /a}", "'' is no name of a camera"),
        ('{front: 1}', '1 is no topic of front'),
        ('{front: /a b}', "'/a b' is no topic of front"),
        ('{front: /a/}', "'/a/' is no topic of front"),
        ('{front: {image: [a]}}', 'is no topic of front'),
        ('{front: {info: /a}}', "'info' is none of image, camera_info, depth, points"),
        ('{front:}', 'None is no topic of front'),
        ('!!python/object:os.system {}', 'expected a topic for each camera'),
        (f'{{{"a" * 5000}: 1', 'expected a topic for each camera'),
    ],
)
def test_what_is_no_topic_of_a_camera(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match='^launch argument camera_topics is ') as error:
        camera_topics(text)
    assert said in str(error.value)
    assert len(str(error.value)) < 700


@pytest.mark.parametrize('text', ['', '1a', 'a/b', 'a b', 'a-b', '/a'])
def test_names_that_no_node_has(text: str) -> None:
    with pytest.raises(ConfigError, match='^launch argument node_name is '):
        node_name(text)
    assert node_name('_left_2') == '_left_2'
