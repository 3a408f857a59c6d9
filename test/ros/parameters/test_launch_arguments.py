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

import ast
from pathlib import Path
import shutil

import pytest
from rclpy.context import Context
from rclpy.node import Node
from tiny_bundle import edited_model
import yaml

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.ros.parameters.launch_arguments import (
    bundles_text,
    camera_names,
    file_remark,
    parameter_file,
    respawn_delay_s,
    street_text,
)

ROOT = Path(__file__).resolve().parents[3]


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
    assert 'hlrc_s_aerial (nadir, 0.3 to 1 m/px, trained on mosaics of Dubai' in said


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


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('nowhere.yaml', 'which is not there'),
        ('.', 'which is a folder'),
        ('', 'which is a folder'),
        ('~nobody/a.yaml', 'which is not there'),
        ('a\0', 'which is not there'),
        ('a' * 5000, 'which is not there'),
    ],
)
def test_parameter_files_that_are_not_there(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match='^launch argument params_file ') as error:
        parameter_file(text)
    assert said in str(error.value)
    assert len(str(error.value)) < 600


def test_parameter_file_in_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('HOME', str(tmp_path))
    (tmp_path / 'own.yaml').touch()
    assert parameter_file('~/own.yaml') == tmp_path / 'own.yaml'


@pytest.mark.parametrize(
    ('top', 'namespace', 'applies'),
    [
        ('/**', '', True),
        ('/**', '/robot', True),
        ('segmentation', '', True),
        ('/segmentation', '', True),
        ('/segmentation', '/', True),
        ('segmentation', 'robot', False),
        ('/robot/segmentation', 'robot', True),
        ('/*/segmentation', '/robot', True),
        ('/*/segmentation', '', False),
        ('/**/segmentation', '/a/b', True),
        ('/*', '', True),
        ('/*', 'robot', False),
        ('segmentation_node', '', False),
        ('/robot/**', '/robot', True),
        ('uhr_seg_ros', '', False),
    ],
)
def test_parameters_of_other_nodes_are_told(
    context: Context, tmp_path: Path, top: str, namespace: str, applies: bool
) -> None:
    file = tmp_path / 'own.yaml'
    file.write_text(yaml.safe_dump({top: {'ros__parameters': {'threads': 1}}}))
    node = Node(
        'segmentation',
        namespace=namespace,
        context=context,
        use_global_arguments=False,
        cli_args=['--ros-args', '--params-file', str(file)],
    )
    assert node.declare_parameter('threads', 0).value == int(applies)  # so does ROS
    node.destroy_node()
    said = file_remark(file, namespace)
    assert (not said) == applies
    assert applies or f'has parameters of {("/" + top.strip("/"))!r}, and none for /' in said


def test_other_parameter_files_are_told_or_left_to_the_node(tmp_path: Path) -> None:
    file = tmp_path / 'own.yaml'
    for content in ('', 'threads: 1', '[1]', '/**: {parameters: {threads: 1}}'):
        file.write_text(content)
        assert 'has no ros__parameters, and none for /segmentation' in file_remark(file, '')
    file.write_text('robot: {segmentation: {ros__parameters: {threads: 1}}}')
    assert not file_remark(file, '/robot')
    for broken in (b'a: [', b'\x80', b'\0'):
        file.write_bytes(broken)  # rcl names the line
        assert not file_remark(file, '')


@pytest.mark.parametrize('text', ['soon', '-1', 'nan', 'inf', '1e9', ''])
def test_delays_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match='^launch argument respawn_delay is '):
        respawn_delay_s(text)
    assert respawn_delay_s('0.5') == 0.5


def test_no_model_is_chosen_for_a_vehicle() -> None:
    tree = ast.parse((ROOT / 'launch/vehicle.launch.py').read_text())
    (bundle,) = (
        call
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and ast.unparse(call.func) == 'DeclareLaunchArgument'
        and call.args
        and ast.unparse(call.args[0]) == "'bundle'"
    )
    assert {keyword.arg for keyword in bundle.keywords} == {'description'}
    for name in ('vehicle', 'drone'):
        content = yaml.safe_load((ROOT / f'config/{name}.yaml').read_text())
        assert not {'bundle', 'camera_view'} & set(content['/**']['ros__parameters'])
    assert 'aerial' not in (ROOT / 'config/vehicle.yaml').read_text()
