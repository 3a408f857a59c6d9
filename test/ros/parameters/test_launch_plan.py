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

"""What the launch files start the node with; launch itself is not needed."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import yaml

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.ros.parameters.launch_arguments import check_known
from uhr_seg_ros.ros.parameters.launch_plan import NodePlan, plan_node, rviz_remappings
from uhr_seg_ros.ros.parameters.launch_table import (
    arguments,
    LaunchFile,
    SET_BY_ARGUMENT,
)
from uhr_seg_ros.ros.parameters.settings import SPECS

ROOT = Path(__file__).resolve().parents[3]
TF = [('/tf', 'tf'), ('/tf_static', 'tf_static')]


def launch_file(name: str) -> LaunchFile:
    """Return the `LaunchFile` that a launch file makes; to import it needs launch."""
    tree = ast.parse((ROOT / f'launch/{name}.launch.py').read_text())
    (call,) = (
        each
        for each in ast.walk(tree)
        if isinstance(each, ast.Call) and ast.unparse(each.func) == 'LaunchFile'
    )
    return eval(ast.unparse(call), {'LaunchFile': LaunchFile})


NAMES = 'segmentation', 'drone', 'vehicle', 'managed'
FILES = {name: launch_file(name) for name in NAMES}


def plan(name: str, around: str = '', **given: str) -> NodePlan:
    file = FILES[name]
    defaults = {each.name: each.default or '' for each in arguments(file, str(ROOT))}
    given = {key.replace('__', '.'): value for key, value in given.items()}
    assert set(given) <= set(defaults)
    return plan_node(file, {**defaults, **given}, around)


def written(tmp_path: Path, **values: Any) -> str:
    file = tmp_path / 'own.yaml'
    file.write_text(yaml.safe_dump({'/**': {'ros__parameters': values}}))
    return str(file)


@pytest.mark.parametrize('name', NAMES)
def test_arguments_are_described(name: str) -> None:
    file = FILES[name]
    assert file.name == f'{name}.launch.py'
    assert (ROOT / 'config' / file.params).is_file()
    assert not file.rviz or (ROOT / 'config' / file.rviz).is_file()
    for each in arguments(file, str(ROOT)):
        assert len(each.text) > 20
        assert each.text.endswith('.')
        assert (each.default is None) == ((name, each.name) == ('vehicle', 'bundle'))
        assert not each.choices or each.default in each.choices


def test_arguments_of_parameters_are_called_like_them() -> None:
    assert set(SET_BY_ARGUMENT) <= {spec.name for spec in SPECS}


@pytest.mark.parametrize(
    ('name', 'view', 'cameras'),
    [('segmentation', None, None), ('drone', 'nadir', None), ('vehicle', 'forward', 2)],
)
def test_an_argument_wins_over_the_file_and_that_over_defaults(
    name: str, view: str | None, cameras: int | None, tmp_path: Path
) -> None:
    found = plan(name).parameters
    assert found.get('camera_view') == view
    assert len(found.get('cameras', ())) == (cameras or 0)
    assert not {'bundle', 'use_sim_time', 'autostart'} & set(found)
    file = written(tmp_path, camera_view='oblique', cameras=['left'], mask={'scale': 0.5})
    assert not plan(name, params_file=file).parameters
    given = plan(
        name,
        params_file=file,
        camera_view='any',
        cameras='[right]',
        mask__scale='1',
        bundle='no',
        input_size='[640, 480]',
        detail='budget',
        latency__budget_ms='80',
        use_sim_time='false',
    )
    assert given.parameters == {
        'camera_view': 'any',
        'cameras': ['right'],
        'mask.scale': 1.0,
        'bundle': 'no',
        'input_size': [640, 480],
        'detail': 'budget',
        'latency.budget_ms': 80.0,
        'use_sim_time': False,
    }
    assert isinstance(given.parameters['mask.scale'], float)


def test_files_of_the_package_leave_the_choice_of_a_model_open() -> None:
    for name in ('vehicle', 'drone'):
        content = yaml.safe_load((ROOT / f'config/{name}.yaml').read_text())
        assert not {'bundle', 'camera_view'} & set(content['/**']['ros__parameters'])
    assert 'aerial' not in (ROOT / 'config/vehicle.yaml').read_text()


def test_a_manager_activates_the_node_whatever_the_file_says(tmp_path: Path) -> None:
    assert yaml.safe_load((ROOT / 'config/drone.yaml').read_text())['/**']['ros__parameters'][
        'autostart'
    ]
    assert plan('managed').parameters == {'autostart': False}
    assert plan('managed', autostart='true').parameters == {'autostart': True}


@pytest.mark.parametrize(
    ('given', 'said'),
    [
        ({'input_size': '640'}, 'parameter input_size is 640, a whole number: expected a list'),
        ({'input_size': '[1, 2]'}, 'input_size is [1, 2]: expected width and height'),
        ({'max_rate_hz': 'fast'}, "max_rate_hz is 'fast', a text: expected a number"),
        ({'max_rate_hz': '0.0001'}, 'max_rate_hz is 0.0001: expected 0, or at least'),
        ({'mask__scale': '['}, "mask.scale is '['"),
        ({'precision': 'int4'}, "precision is 'int4': expected one of"),
        ({'node_name': 'a/b'}, "node_name is 'a/b'"),
        ({'image_topic': 'a b'}, "image_topic is 'a b': a topic has parts"),
        ({'points_topic': '7'}, "points_topic is '7': a topic has parts"),
        ({'params_file': 'nowhere.yaml'}, 'which is not there'),
        ({'respawn_delay': 'soon'}, "respawn_delay is 'soon'"),
        ({'cameras': '[front', 'bundle': 'b'}, "cameras is '[front'"),
        (
            {'cameras': '[front]', 'camera_topics': '{rear: /a}'},
            "camera_topics has 'rear', which is none of the cameras",
        ),
    ],
)
def test_what_nothing_can_start_with(given: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match='^launch argument') as error:
        plan('drone', **given)
    assert said in str(error.value)


def topics(found: NodePlan) -> list[tuple[str, str]]:
    return [each for each in found.remappings if each not in TF]


ONE = [('image_raw', 'image_raw'), ('camera_info', 'camera_info'), ('depth', 'depth')]


@pytest.mark.parametrize(
    ('given', 'remapped'),
    [
        ({}, ONE),
        ({'image_topic': '/c/image'}, [('image_raw', '/c/image'), *ONE[1:]]),
        ({'points_topic': '/lidar'}, [*ONE, ('points', '/lidar')]),
        ({'cameras': '[]', 'points_topic': 'points'}, [*ONE, ('points', 'points')]),
        ({'cameras': '[front, rear]'}, []),
        (
            {'cameras': '[front, a/b]', 'points_topic': 'points'},
            [('front/points', 'points'), ('a/b/points', 'points')],
        ),
        (
            {'camera_topics': '{front: /f/image, a/b: {depth: /d, points: /p, camera_info: /i}}'},
            [
                ('front/image_raw', '/f/image'),
                ('a/b/camera_info', '/i'),
                ('a/b/depth', '/d'),
                ('a/b/points', '/p'),
            ],
        ),
        (
            {'cameras': '[front, rear]', 'camera_topics': '{rear: /r}', 'points_topic': 'all'},
            [('front/points', 'all'), ('rear/image_raw', '/r'), ('rear/points', 'all')],
        ),
    ],
)
def test_topics_under_their_real_names(given: dict[str, str], remapped: list) -> None:
    assert topics(plan('segmentation', **given)) == remapped


def test_cameras_are_those_of_the_file_or_of_their_topics(tmp_path: Path) -> None:
    file = written(tmp_path, cameras=['left', 'right'])
    found = plan('vehicle', params_file=file)
    assert topics(found) == [('left/points', 'points'), ('right/points', 'points')]
    found = plan('vehicle', params_file=file, camera_topics='{left: /l}')
    assert 'cameras' not in found.parameters
    assert ('left/image_raw', '/l') in found.remappings
    found = plan('vehicle', camera_topics='{roof: /r}')
    assert found.parameters['cameras'] == ['roof']
    with pytest.raises(ConfigError, match='name it in cameras, too'):
        plan('vehicle', params_file=file, camera_topics='{roof: /r}')


def test_a_topic_that_nobody_takes_is_told() -> None:
    assert not plan('vehicle').remarks
    (said,) = plan('vehicle', image_topic='/c/image').remarks
    assert 'image_topic is for a camera without a name' in said
    assert "camera_topics:='{front: ...}'" in said


def test_transforms_and_rviz_follow_namespace_and_name() -> None:
    assert list(plan('drone').remappings[:2]) == TF
    assert not set(TF) & set(plan('drone', tf_in_namespace='false').remappings)
    given = {'image_topic': '/c/image', 'tf_in_namespace': 'true'}
    text = (ROOT / 'config/drone.rviz').read_text()
    assert rviz_remappings(text, 'segmentation', given) == (('image_raw', '/c/image'), *TF)
    assert ('segmentation/overlay', 'seg/overlay') in rviz_remappings(text, 'seg', given)


def test_parameters_of_the_node_in_its_namespace(tmp_path: Path) -> None:
    file = tmp_path / 'own.yaml'
    file.write_text('/a/b/seg: {ros__parameters: {camera_view: other}}')
    given = {'params_file': str(file), 'node_name': 'seg', 'namespace': 'b'}
    found = plan('drone', around='/a', **given)
    assert (found.name, found.namespace) == ('seg', 'b')
    assert not found.parameters and not found.remarks
    (said,) = plan('drone', **given).remarks
    assert 'none for /b/seg' in said


def test_respawning() -> None:
    assert plan('drone').respawn_delay_s is None
    assert plan('drone', respawn='true', respawn_delay='0.5').respawn_delay_s == 0.5


def test_arguments_that_a_launch_file_does_not_have() -> None:
    names = [each.name for each in arguments(FILES['drone'], str(ROOT))]
    check_known(['bundle:=city', 'launch-prefix:=nice', 'mask.scale:=1'], names, 'drone.launch.py')
    with pytest.raises(ConfigError) as error:
        check_known(['mask_scale:=1', 'zzz:=2'], names, 'drone.launch.py')
    assert "no argument 'mask_scale' (is it mask.scale?), 'zzz': see them" in str(error.value)
    assert 'ros2 launch uhr_seg_ros drone.launch.py --show-args' in str(error.value)


@pytest.mark.parametrize('name', NAMES)
def test_the_page_has_every_argument(name: str) -> None:
    page = (ROOT / 'docs/launch.md').read_text(encoding='utf-8')
    assert f'`{name}.launch.py`' in page
    assert not [e.name for e in arguments(FILES[name], str(ROOT)) if f'`{e.name}`' not in page]
