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

"""What figures depend on, for every file of results: machine, software, date."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
import platform
import re
import subprocess
from typing import Any

import psutil

import uhr_seg_ros
from uhr_seg_ros.core.atomic_io import write_json
from uhr_seg_ros.core.gpu import find_gpu, GpuUnavailableError
from uhr_seg_ros.core.resources import available_cores, CPU_INFO
from uhr_seg_ros.core.subprocesses import find_tool

FLAGS = frozenset(
    'avx2 fma f16c avx_vnni avx512f avx512bw avx512vl avx512_vnni avx512_bf16 avx512_fp16 '
    # Arm, as Linux names them: NEON, its dot products and its matrix products.
    'amx_tile amx_int8 amx_bf16 asimd asimddp asimdhp i8mm bf16 sve sve2'.split()
)
"""What matters of a processor's instructions here, in the names of /proc/cpuinfo."""

UNKNOWN = 'unknown'
"""What a machine does not say."""

_GOVERNOR = Path('/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor')
_CHECKOUT = Path(uhr_seg_ros.__file__).resolve().parents[1]

# What runs in a measurement; the first of several names that is installed counts.
_PACKAGES = {
    'numpy': ('numpy',),
    'opencv': ('opencv-python-headless', 'opencv-python', 'opencv-contrib-python', 'opencv'),
    'onnxruntime': ('onnxruntime', 'onnxruntime-gpu', 'onnxruntime-openvino'),
    'torch': ('torch',),
}


def write_results(path: Path, figures: Mapping[str, Any]) -> None:
    """
    Write a file of results: what was measured, and what that depends on.

    Args:
        path: the file.
        figures: may hold what `describe_run` gives, which is then taken from it.

    Raises:
        OSError: it cannot be written; names the file.

    """
    write_json(path, {**describe_run(), **figures})


def describe_run() -> dict[str, Any]:
    """
    Describe what figures depend on; nothing in it tells whose machine it was.

    Returns:
        `commit`, of a checkout, with `-changed` where its code was; `date` in UTC; `versions` of
        this package, of Python and of what runs in it; `rmw`, the middleware of ROS; `machine`,
        see `describe_machine`. None for what is not there.

    """
    return {
        'commit': _commit(),
        'date': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'versions': {
            'uhr_seg_ros': uhr_seg_ros.__version__,
            'python': platform.python_version(),
            **{name: _version(*packages) for name, packages in _PACKAGES.items()},
        },
        'rmw': _middleware(),
        'machine': describe_machine(),
    }


def describe_machine() -> dict[str, Any]:
    """
    Describe the machine.

    Returns:
        `machine`, such as `x86_64`; `system`, `os`; `cpu`, its model; `flags`, those of `FLAGS`
        that it has; `cpus`, the cores that this process may use; `governor` of its clock, or
        `unknown`; `memory_mb`; `power_mode` of a Jetson, else None; `gpu`, `gpu_driver`, both None
        without a GPU.

    """
    try:
        gpu = find_gpu()
    except GpuUnavailableError:
        gpu = None
    info = CPU_INFO.read_text(encoding='utf-8') if CPU_INFO.is_file() else ''
    return {
        'machine': platform.machine(),
        'system': platform.system(),
        'os': platform.platform(),
        'cpu': parse_model(info) or platform.processor() or platform.machine(),
        'flags': parse_flags(info),
        'cpus': available_cores(),
        'governor': _GOVERNOR.read_text('ascii').strip() if _GOVERNOR.is_file() else UNKNOWN,
        'memory_mb': psutil.virtual_memory().total >> 20,
        'power_mode': parse_power_mode(_printed('nvpmodel', '-q')),
        'gpu': gpu.name if gpu else None,
        'gpu_driver': gpu and (_driver() or gpu.l4t),
    }


def parse_model(info: str) -> str:
    """Read the model of the processor from /proc/cpuinfo; empty where that does not tell."""
    found = re.search(r'^model name\s*: (.+)$', info, re.MULTILINE)
    return found[1] if found else ''


def parse_flags(info: str) -> list[str]:
    """Read the `FLAGS` that a processor has from /proc/cpuinfo, sorted."""
    found = re.search(r'^(?:flags|Features)\s*:(.*)$', info, re.MULTILINE)
    return sorted(FLAGS.intersection(found[1].split())) if found else []


def parse_power_mode(text: str) -> str | None:
    """Read what nvpmodel prints, such as `NV Power Mode: MAXN`."""
    found = re.search(r'NV Power Mode: *(\S+)', text)
    return found[1] if found else None


def _commit() -> str | None:
    """Return the commit of a checkout; None for an installed package, which its version names."""
    if not (_CHECKOUT / '.git').exists():
        return None
    sha = _printed('git', '-C', str(_CHECKOUT), 'rev-parse', 'HEAD').strip()
    # Of the code and the models alone: a file of results that is written anew changes no figure.
    changes = _printed(
        'git', '-C', str(_CHECKOUT), 'status', '--porcelain', '--', 'uhr_seg_ros', 'models'
    )
    return f'{sha}-changed' if sha and changes else sha or None


def _version(*packages: str) -> str | None:
    for name in packages:
        try:
            return installed_version(name)
        except PackageNotFoundError:
            continue
    return None


def _middleware() -> str | None:
    """Return the RMW implementation that ROS takes here; None without ROS."""
    try:
        # Only here: most of what is measured runs without ROS.
        from rclpy.utilities import get_rmw_implementation_identifier
    except ImportError:
        return None
    return get_rmw_implementation_identifier()


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
