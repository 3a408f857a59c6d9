# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""What this installation and machine offer: shared files, the cache folder, CPU cores."""

from __future__ import annotations

import os
from pathlib import Path
import sys
import sysconfig


def share_folders() -> list[Path]:
    """
    List the folders that may hold `models/` and `config/`, the likeliest first.

    The source tree that this code runs from, ROS workspaces of AMENT_PREFIX_PATH, and the Python
    installation: as a whole, and of the user.
    """
    ament = os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
    user = sysconfig.get_path('data', f'{os.name}_user')
    prefixes = [*filter(None, ament), sysconfig.get_path('data'), user, sys.prefix]
    shares = [Path(prefix) / 'share/uhr_seg_ros' for prefix in prefixes]
    return [Path(__file__).resolve().parents[2], *shares]


def cache_folder() -> Path:
    """Return the folder that the XDG base directory specification says."""
    base = os.environ.get('XDG_CACHE_HOME', '')
    # The specification: a relative path is to be ignored.
    root = Path(base) if Path(base).is_absolute() else Path.home() / '.cache'
    return root / 'uhr_seg_ros'


def available_cores() -> int:
    """Count the CPU cores that this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
