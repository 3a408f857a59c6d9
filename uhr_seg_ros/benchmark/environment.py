# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""The environment in which recordings are replayed: this machine alone, large images allowed."""

from __future__ import annotations

import os
from pathlib import Path
import shutil

from uhr_seg_ros.errors import UhrSegError
from uhr_seg_ros.share import share_folders

PROFILE = 'config/dds/fastdds_localhost.xml'

# Fast DDS 2 (Humble, Jazzy) and Fast DDS 3.
PROFILE_VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')

# What the profile takes from /dev/shm for every process, with some room for the other files.
SEGMENT_MB = 280

_SHARED_MEMORY = Path('/dev/shm')


class EnvironmentFileError(UhrSegError):
    """A file of this package is not where it is installed."""


def share_file(relative: str) -> Path:
    """
    Find a file of this package: in the source tree, a ROS workspace or the Python installation.

    Raises:
        EnvironmentFileError: it is in none of them.

    """
    folders = share_folders()
    for folder in folders:
        if (folder / relative).is_file():
            return folder / relative
    msg = f'{relative} is in none of {", ".join(map(str, folders))}: install uhr_seg_ros again'
    raise EnvironmentFileError(msg)


def isolate() -> None:
    """
    Keep this process and its children to themselves; call it before rclpy.init.

    A domain that is set already is kept; else one is chosen that other runs hardly have.
    """
    is_new = os.environ.get('ROS_DISTRO') not in ('humble', 'jazzy')
    os.environ[PROFILE_VARIABLES[is_new]] = str(share_file(PROFILE))
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    if os.environ.get('ROS_DISTRO') == 'humble':
        os.environ['ROS_LOCALHOST_ONLY'] = '1'
    os.environ.setdefault('ROS_DOMAIN_ID', str(1 + os.getpid() % 100))


def shared_memory_complaint(processes: int) -> str:
    """Tell what is wrong if shared memory is too small for so many processes; else nothing."""
    needed = processes * SEGMENT_MB
    free = shutil.disk_usage(_SHARED_MEMORY).free >> 20 if _SHARED_MEMORY.is_dir() else 0
    if free >= needed:
        return ''
    return (
        f'{_SHARED_MEMORY} has {free} MB free, large images want {needed} MB: they take the '
        'slower way over UDP. In a container, start it with --shm-size=2g'
    )
