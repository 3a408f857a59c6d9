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

"""The environment in which recordings are replayed: this machine alone, large images allowed."""

from __future__ import annotations

import os
from pathlib import Path
import shutil
import socket

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.resources import share_folders

PROFILE = 'config/dds/fastdds_localhost.xml'

# Fast DDS 2 (Humble, Jazzy) and Fast DDS 3.
PROFILE_VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')

# What the profile takes from /dev/shm for every process, with some room for the other files.
SEGMENT_MB = 280

# Above 101 the ports of a domain meet those that Linux gives to outgoing connections.
_DOMAINS = 101

# RTPS 2.3, section 9.6.1.1: the first participant of a domain listens here for the others.
_RTPS_PORT, _RTPS_PORTS_PER_DOMAIN, _RTPS_UNICAST = 7400, 250, 10

# A domain is taken while this TCP port is bound; the tests of ament keep to the same ports.
_RESERVATION_PORT = 22119
_reservations: list[socket.socket] = []

_SHARED_MEMORY = Path('/dev/shm')


def share_file(relative: str) -> Path:
    """
    Find a file of this package: in the source tree, a ROS workspace or the Python installation.

    Raises:
        ConfigError: it is in none of them.

    """
    folders = share_folders()
    for folder in folders:
        if (folder / relative).is_file():
            return folder / relative
    msg = f'{relative} is in none of {", ".join(map(str, folders))}: install uhr_seg_ros again'
    raise ConfigError(msg)


def isolate() -> None:
    """
    Keep this process and its children to themselves; call it before rclpy.init.

    A domain that is set already is kept; else one is taken that nobody has.

    Raises:
        ConfigError: the profile is not where it is installed.
        ConfigError: every domain of this machine is in use.

    """
    is_new = os.environ.get('ROS_DISTRO') not in ('humble', 'jazzy')
    os.environ[PROFILE_VARIABLES[is_new]] = str(share_file(PROFILE))
    # Fast DDS would read a DEFAULT_FASTDDS_PROFILES.xml of the current folder as well.
    os.environ['SKIP_DEFAULT_XML_FILE'] = '1'
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    if os.environ.get('ROS_DISTRO') == 'humble':
        os.environ['ROS_LOCALHOST_ONLY'] = '1'
    if not os.environ.get('ROS_DOMAIN_ID'):
        os.environ['ROS_DOMAIN_ID'] = str(reserve_domain())


def reserve_domain() -> int:
    """
    Take a ROS domain that nobody on this machine uses, until this process ends.

    Raises:
        ConfigError: every domain of this machine is in use.

    """
    for offset in range(_DOMAINS - 1):
        domain = 1 + (os.getpid() + offset) % (_DOMAINS - 1)
        unicast = _RTPS_PORT + _RTPS_PORTS_PER_DOMAIN * domain + _RTPS_UNICAST
        participants = _bind(socket.SOCK_DGRAM, unicast)
        if participants is None:
            continue
        participants.close()
        reservation = _bind(socket.SOCK_STREAM, _RESERVATION_PORT + domain)
        if reservation is not None:
            _reservations.append(reservation)
            return domain
    msg = f'all ROS domains from 1 to {_DOMAINS - 1} are in use: set ROS_DOMAIN_ID to share one'
    raise ConfigError(msg)


def _bind(kind: socket.SocketKind, port: int) -> socket.socket | None:
    bound = socket.socket(socket.AF_INET, kind)
    try:
        bound.bind(('', port))
    except OSError:
        bound.close()
        return None
    return bound


def shared_memory_complaint(processes: int) -> str:
    """Say what is wrong if shared memory is too small for so many processes; else nothing."""
    needed = processes * SEGMENT_MB
    free = shutil.disk_usage(_SHARED_MEMORY).free >> 20 if _SHARED_MEMORY.is_dir() else 0
    if free >= needed:
        return ''
    return (
        f'{_SHARED_MEMORY} has {free} MB free, large images want {needed} MB: they take the '
        'slower way over UDP. `fastdds shm clean` removes what killed processes have left; in a '
        'container, start it with --shm-size=2g'
    )
