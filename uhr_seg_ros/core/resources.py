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

"""What this installation and machine offer: shared files, the cache folder, CPU and memory."""

from __future__ import annotations

from functools import cache
import os
from pathlib import Path
import platform
import re
import sys
import sysconfig

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.text import shown

CPU_INFO = Path('/proc/cpuinfo')

_X86 = ('x86_64', 'AMD64')


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


def expand_home(path: str | Path) -> Path:
    """
    Replace a `~` or `~user` at the beginning of a path.

    Raises:
        ConfigError: there is no such home folder.

    """
    try:
        return Path(path).expanduser()
    except RuntimeError as err:
        msg = f'{shown(str(path), 300)}: no home folder has this name, write the path in full'
        raise ConfigError(msg) from err


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


@cache
def has_exact_int8() -> bool:
    """
    Tell if sums of int8 products are exact and fast on this CPU (Linux).

    x86 before VNNI adds pairs of products in 16 bits, which saturate; there int8 is also hardly
    faster than float32. True where it cannot be told.
    """
    if platform.machine() not in _X86:
        return True
    try:
        flags = re.search(r'^flags\s*:(.*)$', CPU_INFO.read_text(encoding='ascii'), re.MULTILINE)
    except OSError:
        return True
    return flags is None or 'vnni' in flags[1]
