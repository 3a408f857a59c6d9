# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Where the files lie that are installed beside the code: models and DDS profiles."""

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
    return [Path(__file__).resolve().parents[1], *shares]
