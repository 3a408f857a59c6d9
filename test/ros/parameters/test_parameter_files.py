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

"""Files of parameters: read as ROS reads them, and won over whatever their sections are."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest
from rclpy.context import Context
from rclpy.node import Node
import yaml

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.ros.parameters.parameter_files import (
    FileParameters,
    full_name,
    parameter_file,
    write_parameters,
)


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
    found = FileParameters(file, full_name('segmentation', namespace))
    said = found.remark
    assert (not said) == applies
    assert found.values == ({'threads': 1} if applies else {})
    assert applies or f'has parameters of {("/" + top.strip("/"))!r}, and none for /' in said


def remark(file: Path, namespace: str = '') -> str:
    return FileParameters(file, full_name('segmentation', namespace)).remark


def test_other_parameter_files_are_told_or_left_to_the_node(tmp_path: Path) -> None:
    file = tmp_path / 'own.yaml'
    for content in ('', 'threads: 1', '[1]', '/**: {parameters: {threads: 1}}'):
        file.write_text(content)
        assert 'has no ros__parameters, and none for /segmentation' in remark(file)
    file.write_text('robot: {segmentation: {ros__parameters: {threads: 1}}}')
    assert not remark(file, '/robot')
    for broken in (b'a: [', b'\x80', b'\0'):
        file.write_bytes(broken)  # rcl names the line
        assert not remark(file)


SECTIONS = '/**', '/a/segmentation', '/*/segmentation'


def test_of_several_sections_the_last_counts_and_what_is_written_wins(
    context: Context, tmp_path: Path
) -> None:
    file, wins = tmp_path / 'own.yaml', write_parameters({'threads': 7})
    for names in permutations(SECTIONS, 2):
        sections = {
            name: {'ros__parameters': {'threads': number, 'mask': {'scale': number / 4}}}
            for number, name in enumerate(names, 1)
        }
        file.write_text(yaml.safe_dump(sections, sort_keys=False))
        found = FileParameters(file, '/a/segmentation').values
        node = Node(
            'segmentation',
            namespace='a',
            context=context,
            use_global_arguments=False,
            enable_rosout=False,
            start_parameter_services=False,
            cli_args=['--ros-args', '--params-file', str(file), '--params-file', str(wins)],
        )
        assert node.declare_parameter('mask.scale', 0.0).value == found['mask.scale'], names
        assert node.declare_parameter('threads', 0).value == 7, names
        node.destroy_node()
    wins.unlink()


@pytest.mark.parametrize(
    ('namespaces', 'name'),
    [
        ((), '/n'),
        (('', ''), '/n'),
        (('/', ''), '/n'),
        (('robot', ''), '/robot/n'),
        (('/robot', 'front'), '/robot/front/n'),
        (('robot', '/front'), '/front/n'),
    ],
)
def test_full_names(namespaces: tuple[str, ...], name: str) -> None:
    assert full_name('n', *namespaces) == name
