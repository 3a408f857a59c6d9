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
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from typing import Any

from installed_tree import install_tree
import pytest

from uhr_seg_ros.core.errors import ConfigError

ROOT = Path(__file__).resolve().parents[1]

launch = pytest.importorskip('launch', reason='launch is not installed: it comes with ROS 2')
launch_ros = pytest.importorskip(
    'launch_ros', reason='launch_ros is not installed: it comes with ROS 2'
)

CORE = {
    'image_topic',
    'camera_info_topic',
    'cameras',
    'camera_topics',
    'points_topic',
    'depth_topic',
    'tf_in_namespace',
    'bundle',
    'camera_view',
    'backend',
    'precision',
    'input_size',
    'image_transport',
    'max_rate_hz',
    'detail',
    'latency.budget_ms',
    'mask.scale',
    'autostart',
    'namespace',
    'node_name',
    'params_file',
    'bag',
    'respawn',
    'respawn_delay',
    'use_sim_time',
    'log_level',
}
OF_NODE = {
    'segmentation': CORE,
    'drone': {*CORE, 'rviz'},
    'vehicle': {*CORE, 'rviz'},
    'managed': CORE,
}
BENCHMARK = {
    'bag',
    'topic',
    'rate',
    'duration',
    'params_file',
    'bundle',
    'backend',
    'precision',
    'report',
    'json',
}
OWN = {**OF_NODE, 'benchmark': BENCHMARK}
REQUIRED = {('benchmark', 'bag'), ('vehicle', 'bundle')}
"""Arguments for which nothing can be guessed, by launch file."""

PROFILES = ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE')


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Let the package be found, as if this tree were installed, and Nav2's manager, not rviz."""
    prefixes = install_tree(tmp_path, ('nav2_lifecycle_manager', 'lifecycle_manager'))
    monkeypatch.setenv('AMENT_PREFIX_PATH', prefixes)
    for name in PROFILES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    return tmp_path / 'share/uhr_seg_ros'


def description(name: str) -> Any:
    from launch.launch_description_sources import (
        get_launch_description_from_python_launch_file as load,
    )

    return load(str(ROOT / f'launch/{name}.launch.py'))


def included(name: str, **arguments: str) -> list[Any]:
    """Include a launch file as `ros2 launch` does; return its processes, which are not started."""
    source = launch.launch_description_sources.PythonLaunchDescriptionSource(
        str(ROOT / f'launch/{name}.launch.py')
    )
    words = {key.replace('__', '.'): value for key, value in arguments.items()}
    context = launch.LaunchContext(argv=[f'{key}:={value}' for key, value in words.items()])
    waiting = [launch.actions.IncludeLaunchDescription(source, launch_arguments=words.items())]
    processes = []
    while waiting:
        entity = waiting.pop(0)
        if isinstance(entity, launch.actions.ExecuteProcess):
            processes.append(entity)
            if isinstance(entity, launch_ros.actions.Node):
                entity._perform_substitutions(context)
            continue
        waiting = [*(entity.visit(context) or ()), *waiting]
    return processes


def parameters_of(node: Any) -> dict[str, Any]:
    """Return what the node is started with, the later files over the earlier ones."""
    import yaml

    found: dict[str, Any] = {}
    for file, is_file in node._Node__expanded_parameter_arguments:
        assert is_file
        for section in yaml.safe_load(Path(file).read_text()).values():
            found |= section['ros__parameters']
    return found


@pytest.mark.parametrize('name', list(OWN))
def test_arguments_are_described(name: str) -> None:
    arguments = {argument.name: argument for argument in description(name).get_launch_arguments()}
    assert set(arguments) == OWN[name]
    for key, argument in arguments.items():
        assert len(argument.description) > 20
        assert (argument.default_value is None) == ((name, key) in REQUIRED)
    if 'bundle' in arguments:
        said = arguments['bundle'].description
        assert 'hlrc_s_aerial (nadir, 0.3 to 5 m/px, trained on mosaics of Dubai' in said


def test_a_vehicle_needs_a_bundle_and_is_told_which_there_are() -> None:
    with pytest.raises(RuntimeError, match="missing required argument 'bundle'") as error:
        included('vehicle')
    said = str(error.value)
    assert 'hlrc_s_aerial (nadir, 0.3 to 5 m/px' in said
    assert 'uhr_seg convert WEIGHTS.pth --network hlrc_cityscapes --output city' in said
    assert f'uhr_seg train --config {ROOT}/config/train/hlrc_s_street.yaml --root' in said


@pytest.mark.parametrize('name', list(OF_NODE))
def test_what_the_node_is_started_with(name: str) -> None:
    arguments = {
        'bundle': 'city',
        'camera_view': 'other',
        'mask__scale': '0.5',
        'input_size': '[640, 480]',
        'node_name': 'seg',
        'namespace': 'robot',
        'camera_topics': '{left: /l/image}',
        'respawn': 'true',
        'respawn_delay': '0.5',
    }
    node, *others = included(name, **arguments)
    assert len(others) == (name == 'managed')
    found = parameters_of(node)
    assert (found['bundle'], found['camera_view']) == ('city', 'other')
    assert (found['mask.scale'], found['input_size']) == (0.5, [640, 480])
    assert found['cameras'] == ['left']
    assert found['autostart'] is (name != 'managed')
    assert node.node_name == '/robot/seg'
    assert ('left/image_raw', '/l/image') in node.expanded_remapping_rules
    assert ('/tf', 'tf') in node.expanded_remapping_rules
    respawn = '_ExecuteLocal__respawn', '_ExecuteLocal__respawn_delay'
    assert [getattr(node, field) for field in respawn] == [True, 0.5]


def test_the_manager_knows_the_node() -> None:
    _, manager = included('managed', node_name='seg', namespace='robot')
    found = parameters_of(manager)
    assert (found['autostart'], list(found['node_names'])) == (True, ['seg'])
    assert found['bond_timeout'] == 0.0
    assert manager.node_name == '/robot/lifecycle_manager_seg'


@pytest.mark.parametrize('name', list(OF_NODE))
@pytest.mark.parametrize(
    ('argument', 'value', 'said'),
    [
        ('cameras', '[front, rear', "launch argument cameras is '[front, rear' (expected ','"),
        ('params_file', 'nowhere.yaml', "nowhere.yaml', which is not there: give a YAML file"),
        ('camera_view', 'down', '"camera_view" provided value "down" is not valid'),
        ('bag', 'nowhere', "nowhere', which is not there"),
    ],
)
def test_arguments_that_nothing_can_start_with(
    name: str, argument: str, value: str, said: str
) -> None:
    with pytest.raises((RuntimeError, ConfigError)) as error:
        included(name, **{'bundle': 'city', argument: value})
    assert said in str(error.value)


@pytest.mark.parametrize('name', ['drone', 'vehicle'])
def test_without_rviz_nothing_is_started(name: str) -> None:
    with pytest.raises(ConfigError, match='package rviz2 is not installed, or has no rviz2'):
        included(name, bundle='city', rviz='true')


def test_a_killed_node_ends_the_launch_with_its_code(tiny_bundle: Path) -> None:
    ros2 = shutil.which('ros2')
    if ros2 is None:
        pytest.skip('ros2 is not installed')
    path = str(ROOT / 'launch/segmentation.launch.py')
    with subprocess.Popen(
        [ros2, 'launch', path, f'bundle:={tiny_bundle}', 'camera_topics:={front: /f/image}'],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        said = ''
        for line in process.stdout:
            said += line
            if 'is ready' in line:
                break
        assert 'is ready' in said, said
        (pid,) = re.findall(r'process started with pid \[(\d+)\]', said)
        os.kill(int(pid), signal.SIGKILL)
        process.stdout.read()
        assert process.wait(60) == 128 + signal.SIGKILL


@pytest.fixture
def ros2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there be a ros2 in PATH: it is looked for, and not run."""
    if shutil.which('ros2') is None:
        (tmp_path / 'ros2').touch(mode=0o755)
        monkeypatch.setenv('PATH', str(tmp_path), prepend=os.pathsep)


@pytest.mark.usefixtures('ros2')
@pytest.mark.parametrize('name', list(OWN))
def test_unknown_arguments_are_refused_by_the_file_that_was_asked_for(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = {'bundle': 'city', 'bag': str(ROOT), 'backends': 'auto'}
    monkeypatch.setattr(sys, 'argv', ['ros2', 'launch', 'robot', f'{name}.launch.py'])
    included(name, **arguments)  # the word may be for the launch file around
    for words in (['uhr_seg_ros', f'{name}.launch.py'], [str(ROOT / f'launch/{name}.launch.py')]):
        monkeypatch.setattr(sys, 'argv', ['ros2', 'launch', *words])
        with pytest.raises(ConfigError, match=r"no argument 'backends' \(is it backend\?\)"):
            included(name, **arguments)


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


def plain(substitutions: Any) -> str:
    return launch.utilities.perform_substitutions(launch.LaunchContext(), list(substitutions))


@pytest.mark.usefixtures('ros2')
def test_bag_is_played_only_if_one_is_given() -> None:
    assert len(included('segmentation')) == 1
    _, player = included('segmentation', bag=str(ROOT))
    assert [plain(part) for part in player.cmd][:4] == ['ros2', 'bag', 'play', str(ROOT)]


def test_benchmark_hands_its_arguments_to_the_command() -> None:
    (process,) = included('benchmark', bag='flight', rate='peak', json='a.json', params_file='p')
    program, *arguments = [plain(part) for part in process.cmd]
    assert program.endswith('lib/uhr_seg_ros/uhr_seg')
    assert arguments[:5] == ['benchmark', 'bag', 'flight', '--rate', 'peak']
    assert arguments[5:] == ['--params-file', 'p', '--json', 'a.json']


def test_options_of_the_benchmark_are_those_of_the_command() -> None:
    from importlib.util import module_from_spec, spec_from_file_location

    from uhr_seg_ros.cli.benchmark import KINDS
    from uhr_seg_ros.core.command_line import CommandParser

    spec = spec_from_file_location('benchmark_launch', ROOT / 'launch/benchmark.launch.py')
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    parser = CommandParser()
    KINDS['bag'].add_arguments(parser)
    assert set(module.OPTIONS.values()) <= set(parser.format_help().replace(',', ' ').split())
    assert {'bag', *module.OPTIONS} == BENCHMARK
