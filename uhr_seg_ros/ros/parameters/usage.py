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

"""What `segmentation_node --help` says: how it is called, and every parameter."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill, indent

from uhr_seg_ros import __version__
from uhr_seg_ros.ros.parameters.extrinsics import extrinsic_specs
from uhr_seg_ros.ros.parameters.regions import region_specs
from uhr_seg_ros.ros.parameters.settings import SPECS
from uhr_seg_ros.ros.parameters.spec import ParameterSpec

_WIDTH = 99

_USAGE = """\
usage: segmentation_node [-h] [--version] [--ros-args [-r FROM:=TO ...] [-p NAME:=VALUE ...]]

Lifecycle node that segments camera frames: image_raw in, ~/mask and what else is subscribed to
out. It configures and activates itself unless autostart is false.

examples:
  ros2 run uhr_seg_ros segmentation_node --ros-args -r image_raw:=/camera/image_raw
  ros2 run uhr_seg_ros segmentation_node --ros-args --params-file drone.yaml -p threads:=4

options:
  -h, --help  show this text and exit
  --version   show the version and exit
  --ros-args  what follows is for ROS 2: remappings, parameters, files of parameters

parameters, with their defaults (those of a camera with a name: roi.<camera>.<...>):"""


def answer(words: Sequence[str]) -> str:
    """
    Return what a call is only asking for; empty where the node is to start.

    Args:
        words: arguments of the process; those behind `--ros-args` are for ROS 2.
    """
    own = list(words)
    if '--ros-args' in own:
        own = own[: own.index('--ros-args')]
    if {'-h', '--help'} & set(own):
        specs = *SPECS, *region_specs(''), *extrinsic_specs('')
        return '\n'.join((_USAGE, *map(_described, specs)))
    return f'segmentation_node {__version__}' if '--version' in own else ''


def _described(spec: ParameterSpec) -> str:
    default = repr(spec.default) if isinstance(spec.default, str) else spec.default
    text = spec.description
    if spec.choices:
        text += f' One of {", ".join(spec.choices)}.'
    body = indent(fill(text, _WIDTH - 6), ' ' * 6)
    return f'  {spec.name} ({default})\n{body}'
