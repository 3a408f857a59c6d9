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

"""The launch files, loaded with the real `launch` where it is installed."""

from __future__ import annotations

from collections.abc import Iterator
import os
from pathlib import Path
from typing import Any

import pytest

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.ros.parameters.launch_arguments import camera_names

ROOT = Path(__file__).resolve().parents[1]

launch = pytest.importorskip('launch', reason='launch is not installed: it comes with ROS 2')
pytest.importorskip('launch_ros', reason='launch_ros is not installed: it comes with ROS 2')

CORE = {
    'image_topic',
    'camera_info_topic',
    'cameras',
    'points_topic',
    'depth_topic',
    'bundle',
    'camera_view',
    'backend',
    'namespace',
    'params_file',
    'bag',
    'respawn',
    'respawn_delay',
    'use_sim_time',
    'log_level',
}
BENCHMARK = {
    'bag',
    'topic',
    'rate',
    'duration',
    'bundle',
    'backend',
    'precision',
    'report',
    'json',
}
OWN = {
    'segmentation': CORE,
    'drone': {*CORE, 'rviz'},
    'vehicle': {*CORE, 'rviz'},
    'benchmark': BENCHMARK,
}
DEFAULTS = {
    'image_topic': 'image_raw',
    'depth_topic': 'depth',
    'bundle': 'hlrc_s_aerial',
    'backend': 'auto',
    'namespace': '',
    'bag': '',
    'use_sim_time': 'false',
    'log_level': 'info',
    'rviz': 'false',
    'respawn': 'false',
    'respawn_delay': '2.0',
}
REQUIRED = {('benchmark', 'bag'), ('vehicle', 'bundle')}
"""Arguments for which nothing can be guessed, by launch file."""

VIEWS = {'segmentation': 'any', 'drone': 'nadir', 'vehicle': 'forward'}
"""By launch file: how the cameras look, if nobody says it."""

OF_CAMERAS = {
    'segmentation': ("['']", ''),
    'drone': ("['']", ''),
    'vehicle': ('[front, rear]', 'points'),
}
"""By launch file: the default cameras, and the default topic of the points to label."""

PROFILES = ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE')


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Let the package be found, as if this tree were installed."""
    index = tmp_path / 'share/ament_index/resource_index/packages'
    index.mkdir(parents=True)
    (index / 'uhr_seg_ros').touch()
    (tmp_path / 'share/uhr_seg_ros').symlink_to(ROOT)
    present = os.environ.get('AMENT_PREFIX_PATH')
    monkeypatch.setenv('AMENT_PREFIX_PATH', ':'.join(filter(None, [str(tmp_path), present])))
    for name in PROFILES:
        monkeypatch.delenv(name, raising=False)
    return tmp_path / 'share/uhr_seg_ros'


def description(name: str) -> Any:
    from launch.launch_description_sources import (
        get_launch_description_from_python_launch_file as load,
    )

    return load(str(ROOT / f'launch/{name}.launch.py'))


def plain(context: Any, substitutions: Any) -> str:
    return launch.utilities.perform_substitutions(context, list(substitutions))


@pytest.mark.parametrize('name', list(OWN))
def test_arguments_are_described_and_have_defaults(name: str) -> None:
    arguments = {argument.name: argument for argument in description(name).get_launch_arguments()}
    assert set(arguments) == OWN[name]
    context = launch.LaunchContext()
    for key, argument in arguments.items():
        assert len(argument.description) > 20
        if (name, key) in REQUIRED:
            assert argument.default_value is None
            continue
        assert argument.default_value is not None
        if key in DEFAULTS:
            assert plain(context, argument.default_value) == DEFAULTS[key]


@pytest.mark.parametrize('name', list(OWN))
def test_bundles_are_listed_with_what_they_are_for(name: str) -> None:
    (text,) = {
        argument.description
        for argument in description(name).get_launch_arguments()
        if argument.name == 'bundle'
    }
    assert 'hlrc_s_aerial (nadir, 0.3 to 1 m/px, trained on mosaics of Dubai' in text


def included(name: str, **arguments: str) -> list[Any]:
    """Include a launch file as `ros2 launch` does, and perform what comes before the nodes."""
    source = launch.launch_description_sources.PythonLaunchDescriptionSource(
        str(ROOT / f'launch/{name}.launch.py')
    )
    context = launch.LaunchContext()
    waiting = [launch.actions.IncludeLaunchDescription(source, launch_arguments=arguments.items())]
    nodes = []
    while waiting:
        entity = waiting.pop(0)
        if isinstance(entity, launch.actions.ExecuteProcess):
            if entity.condition is None or entity.condition.evaluate(context):
                nodes.append(entity)
                entity._perform_substitutions(context)
            continue
        waiting = [*(entity.visit(context) or ()), *waiting]
    return nodes


def parameters_of(node: Any) -> dict[str, Any]:
    """Return what the node is started with, the later files over the earlier ones."""
    import yaml

    found: dict[str, Any] = {}
    for file, is_file in node._Node__expanded_parameter_arguments:
        assert is_file
        for section in yaml.safe_load(Path(file).read_text()).values():
            found |= section['ros__parameters']
    return found


def test_a_vehicle_needs_a_bundle_and_is_told_which_there_are() -> None:
    with pytest.raises(RuntimeError, match="missing required argument 'bundle'") as error:
        included('vehicle')
    said = str(error.value)
    assert 'hlrc_s_aerial (nadir, 0.3 to 1 m/px' in said
    assert 'uhr_seg convert WEIGHTS.pth --network hlrc_cityscapes --output city' in said
    assert f'uhr_seg train --config {ROOT}/config/train/hlrc_s_street.yaml --root' in said


@pytest.mark.parametrize('name', list(VIEWS))
def test_the_node_learns_how_the_cameras_look(name: str, tmp_path: Path) -> None:
    (node,) = included(name, bundle='city')
    parameters = parameters_of(node)
    assert (parameters['bundle'], parameters['camera_view']) == ('city', VIEWS[name])
    (node,) = included(name, bundle='city', camera_view='oblique')
    assert parameters_of(node)['camera_view'] == 'oblique'
    file = tmp_path / 'own.yaml'
    file.write_text('/**: {ros__parameters: {camera_view: forward}}')
    (node,) = included(name, bundle='city', params_file=str(file), camera_view='oblique')
    assert parameters_of(node)['camera_view'] == 'forward'


@pytest.mark.parametrize('name', list(VIEWS))
def test_the_node_starts_again_only_if_wanted(name: str) -> None:
    (node,) = included(name, bundle='city')
    respawn = '_ExecuteLocal__respawn', '_ExecuteLocal__respawn_delay'
    assert [getattr(node, field) for field in respawn] == [False, 2.0]
    (node,) = included(name, bundle='city', respawn='true', respawn_delay='0.5')
    assert [getattr(node, field) for field in respawn] == [True, 0.5]


@pytest.mark.parametrize('name', list(VIEWS))
@pytest.mark.parametrize(
    ('argument', 'value', 'said'),
    [
        ('cameras', '[front, rear', "launch argument cameras is '[front, rear' (expected ','"),
        ('cameras', 'front', "expected a list, for one camera cameras:='[front]'"),
        ('params_file', 'nowhere.yaml', "nowhere.yaml', which is not there: give a YAML file"),
        ('respawn_delay', 'soon', "launch argument respawn_delay is 'soon': expected seconds"),
        ('camera_view', 'down', '"camera_view" provided value "down" is not valid'),
    ],
)
def test_arguments_that_nothing_can_start_with(
    name: str, argument: str, value: str, said: str
) -> None:
    with pytest.raises((RuntimeError, ConfigError)) as error:
        included(name, **{'bundle': 'city', argument: value})
    assert said in str(error.value)


@pytest.mark.parametrize('name', list(OF_CAMERAS))
def test_default_cameras_and_points(name: str) -> None:
    context = launch.LaunchContext()
    values = {
        argument.name: plain(context, argument.default_value)
        for argument in description(name).get_launch_arguments()
        if argument.name in ('cameras', 'points_topic')
    }
    assert (values['cameras'], values['points_topic']) == OF_CAMERAS[name]


@pytest.mark.parametrize(
    ('cameras', 'topic', 'points'),
    [
        ("['']", '', []),
        ("['']", '/lidar/points', [('points', '/lidar/points')]),
        ('[]', 'points', [('points', 'points')]),
        ('', 'points', [('points', 'points')]),
        ("['no']", 'points', [('no/points', 'points')]),
        ('[front, rear]', '', []),
        ('[front, rear]', 'points', [('front/points', 'points'), ('rear/points', 'points')]),
    ],
)
def test_points_of_every_camera(cameras: str, topic: str, points: list) -> None:
    context = launch.LaunchContext()
    for argument in description('segmentation').get_launch_arguments():
        context.launch_configurations[argument.name] = plain(context, argument.default_value)
    context.launch_configurations.update({'cameras': cameras, 'points_topic': topic})
    (action,) = (
        entity
        for entity in description('segmentation').entities
        if isinstance(entity, launch.actions.OpaqueFunction)
    )
    (node,) = action.execute(context)
    node._perform_substitutions(context)
    others = [('image_raw', 'image_raw'), ('camera_info', 'camera_info'), ('depth', 'depth')]
    assert node.expanded_remapping_rules == [*others, *points]
    names = [rule.rpartition('/')[0] for rule, _ in points] or camera_names(cameras)
    assert parameters_of(node)['cameras'] == names


def test_vehicle_hands_its_cameras_and_points_on() -> None:
    (core,) = (
        entity
        for entity in description('vehicle').entities
        if isinstance(entity, launch.actions.IncludeLaunchDescription)
    )
    context = launch.LaunchContext()
    values = {
        'bundle': 'city',
        'camera_view': 'any',
        'cameras': '[left]',
        'points_topic': '',
        'params_file': 'a',
    }
    context.launch_configurations.update(values)
    assert values == {name: plain(context, [value]) for name, value in core.launch_arguments}


@pytest.mark.parametrize('name', ['drone', 'vehicle'])
def test_rviz_starts_only_if_wanted(name: str, installed: Path) -> None:
    import launch_ros

    (viewer,) = (
        entity
        for entity in description(name).entities
        if isinstance(entity, launch_ros.actions.Node)
    )
    context = launch.LaunchContext()
    context.launch_configurations['rviz'] = 'false'
    assert not viewer.condition.evaluate(context)
    context.launch_configurations['rviz'] = 'true'
    assert viewer.condition.evaluate(context)
    assert (installed / f'config/{name}.rviz').is_file()


@pytest.mark.parametrize('name', ['drone', 'vehicle'])
def test_parameter_file_of_each_vehicle_exists(name: str) -> None:
    (argument,) = (
        each
        for each in description(name).get_launch_arguments()
        if each.name == 'params_file' and 'segmentation' not in str(each)
    )
    path = Path(plain(launch.LaunchContext(), argument.default_value))
    assert path.name == f'{name}.yaml'
    assert path.is_file()


def profile_after(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return the profile variables that the processes of the core launch file see."""
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    context = launch.LaunchContext()
    for entity in description('segmentation').entities:
        if isinstance(entity, launch.actions.SetEnvironmentVariable):
            entity.visit(context)
    return {name: context.environment[name] for name in PROFILES if name in context.environment}


@pytest.mark.parametrize(
    ('distribution', 'name'), [('humble', PROFILES[1]), ('kilted', PROFILES[0])]
)
def test_profile_is_set_under_the_name_of_the_distribution(
    installed: Path, monkeypatch: pytest.MonkeyPatch, distribution: str, name: str
) -> None:
    ours = str(installed / 'config/dds/fastdds_large_images.xml')
    assert profile_after({'ROS_DISTRO': distribution}, monkeypatch) == {name: ours}


@pytest.mark.parametrize('name', PROFILES)
def test_profile_of_the_user_stays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    result = profile_after({'ROS_DISTRO': 'kilted', name: '/etc/own.xml'}, monkeypatch)
    assert set(result.values()) == {'/etc/own.xml'}


def test_bag_is_played_only_if_one_is_given() -> None:
    (player,) = (
        entity
        for entity in description('segmentation').entities
        if type(entity) is launch.actions.ExecuteProcess
    )
    context = launch.LaunchContext()
    context.launch_configurations['bag'] = ''
    assert not player.condition.evaluate(context)
    context.launch_configurations['bag'] = 'flight'
    assert player.condition.evaluate(context)
    assert [plain(context, part) for part in player.cmd][:4] == ['ros2', 'bag', 'play', 'flight']


def test_benchmark_hands_its_arguments_to_the_command() -> None:
    context = launch.LaunchContext()
    values = dict.fromkeys(BENCHMARK, '') | {'bag': 'flight', 'rate': 'peak', 'json': 'a.json'}
    context.launch_configurations.update(values)
    (action,) = (
        entity
        for entity in description('benchmark').entities
        if isinstance(entity, launch.actions.OpaqueFunction)
    )
    (process,) = action.execute(context)
    program, *arguments = [plain(context, part) for part in process.cmd]
    assert program.endswith('lib/uhr_seg_ros/uhr_seg')
    assert arguments == ['benchmark', 'bag', 'flight', '--rate', 'peak', '--json', 'a.json']


def test_options_of_the_benchmark_are_those_of_the_command() -> None:
    from argparse import ArgumentParser
    from importlib.util import module_from_spec, spec_from_file_location

    from uhr_seg_ros.cli.benchmark import KINDS

    spec = spec_from_file_location('benchmark_launch', ROOT / 'launch/benchmark.launch.py')
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    parser = ArgumentParser()
    KINDS['bag'].add_arguments(parser)
    assert set(module.OPTIONS.values()) <= set(parser.format_help().replace(',', ' ').split())
    assert {'bag', *module.OPTIONS} == BENCHMARK
