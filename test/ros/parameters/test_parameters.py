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

"""Declared once, described, refused with a reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from rclpy.context import Context
from rclpy.exceptions import InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.ros.parameters.declaration import explained, unknown_parameters
from uhr_seg_ros.ros.parameters.node_parameters import Parameters

MakeNode = Callable[..., Node]


@pytest.fixture
def make_node(context: Context) -> MakeNode:
    def make(*arguments: str, **overrides: Any) -> Node:
        return Node(
            'parameters',
            context=context,
            cli_args=['--ros-args', *arguments],
            parameter_overrides=[
                Parameter(name.replace('__', '.'), value=value)
                for name, value in overrides.items()
            ],
        )

    return make


def test_defaults(make_node: MakeNode) -> None:
    settings = Parameters(make_node(), lambda: True).settings
    assert settings.bundle == 'hlrc_s_aerial'
    assert settings.cameras == ('',)
    assert settings.autostart
    assert settings.overlay_alpha == 0.5
    assert settings.diagnostics_expected_frequency == 0.0


def test_every_parameter_is_described(make_node: MakeNode) -> None:
    node = make_node()
    before = set(node._parameters)
    Parameters(node, lambda: True)
    declared = set(node._parameters) - before
    assert {'bundle', 'backend', 'cameras', 'overlay.scale', 'max_rate_hz'} <= declared
    for name in declared:
        descriptor = node.describe_parameter(name)
        assert descriptor.description.endswith('.'), name
        if isinstance(node.get_parameter(name).value, float):
            assert descriptor.floating_point_range, name
    assert node.describe_parameter('cameras').read_only
    assert node.describe_parameter('image_transport').additional_constraints == (
        'one of: raw, compressed, ffmpeg, foxglove; can change only while the node is unconfigured'
    )


@pytest.mark.parametrize(
    ('arguments', 'cameras'),
    [
        ((), ('',)),
        (('-p', 'cameras:=[]'), ('',)),
        (('-p', 'cameras:=[front, robot/left]'), ('front', 'robot/left')),
    ],
)
def test_cameras(make_node: MakeNode, arguments: tuple, cameras: tuple) -> None:
    assert Parameters(make_node(*arguments), lambda: True).settings.cameras == cameras


def test_parameter_file(make_node: MakeNode, tmp_path: Path) -> None:
    file = tmp_path / 'some.yaml'
    file.write_text(
        '/**:\n  ros__parameters:\n    bundle: here\n    cameras: []\n'
        '    overlay: {alpha: 0.25, scale: 1.0}\n'
    )
    settings = Parameters(make_node('--params-file', str(file)), lambda: True).settings
    assert (settings.bundle, settings.cameras, settings.overlay_alpha) == ('here', ('',), 0.25)


@pytest.mark.parametrize(
    ('override', 'text'),
    [
        ({'cameras': ['front', 'front']}, 'names a camera twice'),
        ({'cameras': ['front', '']}, "cameras has ''"),
        ({'cameras': ['/front']}, "cameras has '/front'"),
        ({'cameras': ['front//left']}, "cameras has 'front//left'"),
        ({'image_transport': 'theora'}, 'expected one of raw, compressed, ffmpeg, foxglove'),
        ({'image_qos': 'sensor'}, 'expected one of auto, reliable, best_effort'),
        ({'overlay__alpha': 1.5}, 'overlay.alpha'),
        ({'overlay__scale': 0.0}, 'overlay.scale'),
        ({'threads': -1}, 'threads'),
        ({'bundle': ''}, 'bundle is empty'),
        ({'precision': 'int4'}, 'expected one of auto, fp32, fp16, int8'),
        ({'workspace_mb': 1}, 'workspace_mb'),
        ({'input_size': [3840]}, 'input_size is [3840]: expected width and height'),
        ({'input_size': [3840, 0]}, 'input_size is [3840, 0]'),
        ({'input_size': [99999, 2160]}, 'each 16 to 16384 px'),
    ],
)
def test_absurd_start(make_node: MakeNode, override: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidParameterValueException) as error:
        Parameters(make_node(**override), lambda: True)
    assert text in str(error.value)


@pytest.mark.parametrize(
    ('arguments', 'field', 'value'),
    [
        (('max_rate_hz:=5',), 'max_rate_hz', 5.0),
        (('overlay.alpha:=1',), 'overlay_alpha', 1.0),
        (('cameras:=[left]', 'cloud.left.translation:=[0, 0, 1]'), 'extrinsics', (0.0, 0.0, 1.0)),
    ],
)
def test_whole_numbers_for_numbers(
    make_node: MakeNode, arguments: tuple, field: str, value: object
) -> None:
    node = make_node(*(word for each in arguments for word in ('-p', each)))
    settings = Parameters(node, lambda: True).settings
    found = getattr(settings, field)
    found = tuple(found['left'].translation) if field == 'extrinsics' else found
    assert found == value
    assert isinstance(found[0] if isinstance(found, tuple) else found, float)
    (result,) = node.set_parameters([Parameter('max_rate_hz', value=7)])
    assert result.successful, result.reason
    assert node.get_parameter('max_rate_hz').value == 7.0


@pytest.mark.parametrize(
    ('argument', 'texts'),
    [
        ('max_rate_hz:=2000', ['max_rate_hz', '1000']),
        ('max_rate_hz:=fast', ["max_rate_hz is 'fast', a text: expected a number, such as 5.0"]),
        ('max_rate_hz:=[5]', ['max_rate_hz is [5], a list: expected a number']),
        ('overlay.alpha:=true', ['overlay.alpha is True, a truth value: expected a number']),
        ('threads:=4.5', ['threads is 4.5, a number: expected a whole number, such as 4']),
        ('autostart:=1', ['autostart is 1, a whole number: expected true or false']),
        ('bundle:=12', ['bundle is 12, a whole number: expected a text, in quotes']),
        ('refine:=off', ['refine is False', 'one of none, random_walker']),
        ('cameras:=front', ["cameras is 'front', a text: expected a list of texts, such as"]),
        ('cameras:=[1, 2]', ['cameras is [1, 2], a list: expected a list of texts']),
        ('input_size:=3840', ['input_size is 3840', 'such as [3840, 2160]']),
        ('input_size:=[3840.0, 2160.0]', ['expected a list of whole numbers']),
        ('cloud.translation:=[0, 0]', ['translation']),
        ('cloud.quaternion:=[a, b, c, d]', ['expected a list of numbers']),
    ],
)
def test_a_value_of_another_type_is_named(
    make_node: MakeNode, argument: str, texts: list[str]
) -> None:
    with pytest.raises((ConfigError, InvalidParameterValueException)) as error:
        Parameters(make_node('-p', argument), lambda: True)
    assert all(text in str(error.value) for text in texts), str(error.value)


def test_a_list_of_mixed_numbers_is_explained(make_node: MakeNode) -> None:
    with pytest.raises(Exception, match='Sequence should be of same type') as error:
        make_node('-p', 'cloud.translation:=[0, 0.5, 1]')
    assert 'Write all numbers of a list in the same way' in explained(error.value)


def test_live_change(make_node: MakeNode) -> None:
    node = make_node()
    parameters = Parameters(node, lambda: False)
    (result,) = node.set_parameters([Parameter('overlay.scale', value=0.25)])
    assert result.successful
    assert parameters.settings.overlay_scale == 0.25


@pytest.mark.parametrize(
    ('name', 'value', 'text'),
    [
        ('overlay.alpha', -0.1, 'overlay.alpha'),
        ('overlay.alpha', float('nan'), 'overlay.alpha'),
        ('max_rate_hz', 1e9, 'max_rate_hz'),
        ('max_rate_hz', float('inf'), 'max_rate_hz'),
        ('max_rate_hz', 1e-12, 'max_rate_hz is 1e-12: expected 0, or at least 0.001'),
        ('max_rate_hz', 'fast', 'type'),
        ('backend', 'other', 'backend can change only while the node is unconfigured'),
        ('cameras', ['a'], 'read-only'),
        ('autostart', False, 'read-only'),
    ],
)
def test_refused_change(make_node: MakeNode, name: str, value: object, text: str) -> None:
    node = make_node()
    parameters = Parameters(node, lambda: False)
    before = parameters.settings
    (result,) = node.set_parameters([Parameter(name, value=value)])
    assert not result.successful
    assert text in result.reason
    assert parameters.settings == before


def test_structural_change_while_unconfigured(make_node: MakeNode) -> None:
    node = make_node()
    parameters = Parameters(node, lambda: True)
    assert node.set_parameters([Parameter('bundle', value='other')])[0].successful
    assert parameters.settings.bundle == 'other'


def test_declaring_twice_keeps_the_values(make_node: MakeNode) -> None:
    node = make_node()
    Parameters(node, lambda: True)
    node.set_parameters([Parameter('overlay.alpha', value=0.75)])
    assert Parameters(node, lambda: True).settings.overlay_alpha == 0.75


def test_what_is_set_together_changes_together(make_node: MakeNode) -> None:
    node = make_node()
    parameters = Parameters(node, lambda: True)
    pairs, done = set(), Event()

    def read() -> None:
        while not done.is_set():
            settings = parameters.settings
            pairs.add((settings.overlay_alpha, settings.overlay_scale))

    reader = Thread(target=read, daemon=True)
    reader.start()
    for step in range(200):
        value = (step + 10) / 210
        both = [Parameter(f'overlay.{name}', value=value) for name in ('alpha', 'scale')]
        assert node.set_parameters_atomically(both).successful
    done.set()
    reader.join()
    assert all(alpha == scale for alpha, scale in pairs)


def test_set_of_which_one_is_refused_changes_nothing(make_node: MakeNode) -> None:
    node = make_node()
    parameters = Parameters(node, lambda: False)
    before = parameters.settings
    for refused in (
        Parameter('backend', value='other'),
        Parameter('max_rate_hz', value=-1.0),
        Parameter('cloud.quaternion', value=[0.0, 0.0, 0.0, 0.0]),
        Parameter('use_sim_time', value='yes'),
    ):
        for some in (
            [Parameter('overlay.alpha', value=0.25), refused],
            [refused, Parameter('overlay.alpha', value=0.25)],
        ):
            assert not node.set_parameters_atomically(some).successful
    assert parameters.settings is before
    assert node.get_parameter('overlay.alpha').value == before.overlay_alpha


def test_a_change_is_reviewed_as_a_whole_and_told(make_node: MakeNode) -> None:
    node = make_node()
    seen: list[tuple[str, str]] = []
    parameters = Parameters(
        node,
        lambda: True,
        lambda new: 'not both' if new.bundle == 'b' and new.classes_hide == ('c',) else '',
        lambda old, new: seen.append((old.bundle, new.bundle)),
    )
    both = [Parameter('bundle', value='b'), Parameter('classes.hide', value=['c'])]
    before = parameters.settings
    assert node.set_parameters_atomically(both).reason == 'not both'
    assert parameters.settings is before
    assert node.set_parameters_atomically(both[:1]).successful
    assert seen == [('hlrc_s_aerial', 'b')]
    assert not node.set_parameters_atomically(both[1:]).successful  # the first one counts by now
    assert parameters.settings.classes_hide == ('',)


def test_settings_are_a_snapshot(make_node: MakeNode) -> None:
    node = make_node('-p', 'overlay.scale:=0.125')
    parameters = Parameters(node, lambda: True)
    before = parameters.settings
    assert parameters.settings is before  # nothing is read again
    assert before.overlay_scale == 0.125
    size, translation = [640, 480], [1.0, 2.0, 3.0]
    node.set_parameters(
        [Parameter('input_size', value=size), Parameter('cloud.translation', value=translation)]
    )
    size[0] = translation[0] = 0
    after = parameters.settings
    assert before.input_size == (3840, 2160)
    assert after.input_size == (640, 480)
    assert before.extrinsics[''].translation == (0.0, 0.0, 0.0)
    assert after.extrinsics[''].translation == (1.0, 2.0, 3.0)
    with pytest.raises(FrozenInstanceError):
        after.max_rate_hz = 1.0
    with pytest.raises(TypeError):
        after.extrinsics[''] = None


def test_configuring_sees_what_was_accepted_before_it(make_node: MakeNode) -> None:
    node = make_node()
    asked, configuring = Event(), Event()

    def is_unconfigured() -> bool:
        asked.set()
        assert configuring.wait(30)
        return True

    parameters = Parameters(node, is_unconfigured)
    change = Parameter('backend', value='other')
    setter = Thread(target=lambda: node.set_parameters([change]), daemon=True)
    setter.start()
    assert asked.wait(30)
    found: list[str] = []
    loader = Thread(target=lambda: found.append(parameters.settled().backend), daemon=True)
    loader.start()
    assert parameters.settings.backend == 'auto'  # not held up
    configuring.set()
    for thread in (setter, loader):
        thread.join(30)
    assert found == ['other']


def test_a_misspelled_name_is_told_with_the_nearest_one(make_node: MakeNode) -> None:
    given = ['overlay.alfa:=0.3', 'zzz:=1', 'overlay.scale:=0.25', 'use_sim_time:=true']
    given.append('qos_overrides./mask.publisher.depth:=3')
    node = make_node(*[word for each in given for word in ('-p', each)])
    assert Parameters(node, lambda: True).settings.overlay_scale == 0.25
    assert unknown_parameters(node) == (
        "parameters that this node does not have are ignored: 'overlay.alfa' (is it "
        "overlay.alpha?), 'zzz'"
    )
    many = make_node(**{f'zzz{index}': 1 for index in range(20)})
    Parameters(many, lambda: True)
    assert unknown_parameters(many).endswith(' and others')
    fine = make_node(bundle='tiny')
    Parameters(fine, lambda: True)
    assert unknown_parameters(fine) == ''
