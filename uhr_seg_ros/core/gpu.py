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

"""
Find out whether there is a GPU that we can use, before anything imports TensorRT.

Without a driver TensorRT 8.6 ends the process, so CUDA itself is called first, through ctypes:
that loads one library, makes no context and needs no package.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
import os
from pathlib import Path
import re

from uhr_seg_ros.core.cuda_driver import Driver, DriverCallError, DriverMissingError
from uhr_seg_ros.core.errors import EngineError

#: Turing; the oldest Jetson that is claimed, Orin, has 8.7.
MIN_CAPABILITY = (7, 5)

#: On a Jetson the release of its Linux stands here.
TEGRA_RELEASE = Path('/etc/nv_tegra_release')

_MULTIPROCESSORS, _CAPABILITY_MAJOR, _CAPABILITY_MINOR = 16, 75, 76  # CUdevice_attribute
_NO_DEVICE = 100  # CUresult

_CONTAINER = 'in a container: start it with --gpus all, on a Jetson with --runtime nvidia'
_INSTALL = f'install the NVIDIA driver (on a Jetson: flash JetPack; {_CONTAINER})'

#: What cuInit says -> what to do.
_REMEDIES = {
    34: 'take the folder stubs of the CUDA toolkit out of LD_LIBRARY_PATH',
    802: 'start nvidia-fabricmanager, or wait until the GPU is up',
    803: 'reboot, so that the kernel module and the library come from the same driver '
    '(in a container: do not install a driver in it)',
    804: 'update the driver, or remove the package cuda-compat',
    999: 'sudo modprobe nvidia_uvm, or reboot (after a suspend or an update of the driver)',
}
_OTHER_REMEDY = 'look at nvidia-smi and dmesg (on a Jetson: dmesg), or reboot'


class GpuUnavailableError(EngineError):
    """
    There is no GPU that we can use.

    Attributes:
        reason: why, one line.
        remedy: what to do, one line.

    """

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f'{reason}: {remedy}')
        self.reason, self.remedy = reason, remedy


@dataclass(frozen=True)
class Gpu:
    """
    A GPU that we can use.

    Attributes:
        name: such as `Orin`.
        capability: compute capability, such as (8, 7).
        memory: bytes; on a Jetson those of the whole board.
        driver_version: the newest CUDA that the driver knows, such as (12, 6).
        l4t: release of a Jetson's Linux, such as `R36.4.0`; None elsewhere.
        multiprocessors: how many; tells the modules of a Jetson apart, which have one name.

    """

    name: str
    capability: tuple[int, int]
    memory: int
    driver_version: tuple[int, int]
    l4t: str | None
    multiprocessors: int


def find_gpu(ordinal: int = 0) -> Gpu:
    """
    Look at a GPU without taking anything from it.

    Args:
        ordinal: which one, in CUDA's order.

    Raises:
        GpuUnavailableError: no driver, no GPU or an old one; says which and what to do.

    """
    try:
        driver = Driver()
    except DriverMissingError as err:
        raise GpuUnavailableError(str(err), _INSTALL) from err
    try:
        _initialize(driver)
        gpu = _describe(driver, _device(driver, ordinal))
    except GpuUnavailableError:
        raise
    except EngineError as err:
        raise GpuUnavailableError(str(err), _OTHER_REMEDY) from err
    if gpu.capability < MIN_CAPABILITY:
        reason = (
            f'GPU {gpu.name} has compute capability {_dotted(gpu.capability)}, '
            f'{_dotted(MIN_CAPABILITY)} or newer is needed'
        )
        raise GpuUnavailableError(reason, 'use the back end onnxruntime, or a newer GPU')
    return gpu


def _initialize(driver: Driver) -> None:
    try:
        driver.call('cuInit', ctypes.c_uint(0))
    except DriverCallError as err:
        if err.code == _NO_DEVICE:
            raise GpuUnavailableError(str(err), _remedy_of_no_gpu()) from err
        raise GpuUnavailableError(str(err), _REMEDIES.get(err.code, _OTHER_REMEDY)) from err


def _device(driver: Driver, ordinal: int) -> ctypes.c_int:
    count = ctypes.c_int()
    driver.call('cuDeviceGetCount', ctypes.byref(count))
    if count.value == 0:
        raise GpuUnavailableError('the CUDA driver shows no GPU', _remedy_of_no_gpu())
    if not 0 <= ordinal < count.value:
        reason = f'there is no GPU {ordinal}, only 0 to {count.value - 1}'
        raise GpuUnavailableError(reason, 'choose one of these')
    device = ctypes.c_int()
    driver.call('cuDeviceGet', ctypes.byref(device), ctypes.c_int(ordinal))
    return device


def _remedy_of_no_gpu() -> str:
    """Name what may hide a GPU: the driver does not tell hidden from missing."""
    visible = os.environ.get('CUDA_VISIBLE_DEVICES')
    if visible is None:
        return f'look at nvidia-smi ({_CONTAINER})'
    return (
        f'CUDA_VISIBLE_DEVICES is {visible!r}: unset it, or name a GPU that nvidia-smi shows '
        f'({_CONTAINER})'
    )


def _describe(driver: Driver, device: ctypes.c_int) -> Gpu:
    name, memory = ctypes.create_string_buffer(256), ctypes.c_size_t()
    major, minor, count, version = (ctypes.c_int() for _ in range(4))
    driver.call('cuDeviceGetName', name, ctypes.c_int(len(name)), device)
    driver.call('cuDeviceTotalMem_v2', ctypes.byref(memory), device)
    driver.call('cuDeviceGetAttribute', ctypes.byref(major), _CAPABILITY_MAJOR, device)
    driver.call('cuDeviceGetAttribute', ctypes.byref(minor), _CAPABILITY_MINOR, device)
    driver.call('cuDeviceGetAttribute', ctypes.byref(count), _MULTIPROCESSORS, device)
    driver.call('cuDriverGetVersion', ctypes.byref(version))
    return Gpu(
        name=name.value.decode(errors='replace'),
        capability=(major.value, minor.value),
        memory=memory.value,
        driver_version=(version.value // 1000, version.value % 1000 // 10),
        l4t=_l4t(),
        multiprocessors=count.value,
    )


def _l4t() -> str | None:
    try:
        text = TEGRA_RELEASE.read_text(encoding='utf-8', errors='replace')
    except OSError:
        return None
    found = re.match(r'# (R\d+) \(release\), REVISION: ([\d.]+)', text)
    return f'{found[1]}.{found[2]}' if found else None


def _dotted(version: tuple[int, int]) -> str:
    return '.'.join(map(str, version))
