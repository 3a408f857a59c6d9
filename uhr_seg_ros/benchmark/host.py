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

"""The machine that figures were measured on."""

from __future__ import annotations

import os
from pathlib import Path
import platform
import re
import subprocess
from typing import Any

import psutil

from uhr_seg_ros.core.gpu import find_gpu, GpuUnavailableError
from uhr_seg_ros.core.subprocesses import find_tool

_GOVERNOR = Path('/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor')
_CPUINFO = Path('/proc/cpuinfo')


def machine() -> dict[str, Any]:
    """Describe the machine in short; see `describe_host`."""
    return {
        'machine': platform.machine(),
        'system': platform.system(),
        'python': platform.python_version(),
        'cpus': len(os.sched_getaffinity(0)),
    }


def describe_host() -> dict[str, Any]:
    """
    Describe the machine.

    Returns:
        What `machine()` gives, and `host`, `os`, `cpu`, `memory_mb`, `power_mode` (of a Jetson,
        else the governor of the CPU, else None); `gpu`, `gpu_driver`, both None without a GPU.
    """
    try:
        gpu = find_gpu()
    except GpuUnavailableError:
        gpu = None
    return {
        **machine(),
        'host': platform.node(),
        'os': platform.platform(),
        'cpu': _cpu(),
        'memory_mb': psutil.virtual_memory().total >> 20,
        'power_mode': _power_mode(),
        'gpu': gpu.name if gpu else None,
        'gpu_driver': gpu and (_driver() or gpu.l4t),
    }


def parse_power_mode(text: str) -> str | None:
    """Read what nvpmodel prints, such as `NV Power Mode: MAXN`."""
    found = re.search(r'NV Power Mode: *(\S+)', text)
    return found[1] if found else None


def _cpu() -> str:
    text = _CPUINFO.read_text(encoding='utf-8') if _CPUINFO.is_file() else ''
    found = re.search(r'^model name\s*: (.+)$', text, re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()


def _power_mode() -> str | None:
    if text := _printed('nvpmodel', '-q'):
        return parse_power_mode(text)
    return _GOVERNOR.read_text(encoding='ascii').strip() if _GOVERNOR.is_file() else None


def _driver() -> str | None:
    text = _printed('nvidia-smi', '--query-gpu=driver_version', '--format=csv,noheader')
    return text.splitlines()[0].strip() if text else None


def _printed(tool: str, *arguments: str) -> str:
    """Return what a tool prints; nothing where it is missing or fails."""
    path = find_tool(tool)
    if path is None:
        return ''
    try:
        result = subprocess.run(
            [path, *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ''
    return '' if result.returncode else result.stdout
