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

"""How busy and how warm the GPU is: NVML, nvidia-smi, or a Jetson's /sys."""

from __future__ import annotations

from collections.abc import Callable
import ctypes
from pathlib import Path
from typing import NamedTuple, Protocol

from uhr_seg_ros.core.cuda_driver import Driver
from uhr_seg_ros.core.errors import EngineError

_SYS = Path('/sys')

#: Where the releases of JetPack put the load of the GPU, in tenths of a per cent.
_LOADS = (
    'devices/platform/gpu.0/load',
    'devices/platform/bus@0/17000000.gpu/load',
    'devices/gpu.0/load',
)

_BUS_ID_BYTES = 20


class GpuSample(NamedTuple):
    """Load in per cent, memory in MB, temperature in degrees C; None for what nobody tells."""

    load_percent: float | None
    memory_mb: float | None
    temperature_c: float | None


#: Figure of a sample -> what nvidia-smi calls it.
_SMI_FIELDS = {
    'load_percent': 'utilization.gpu',
    'memory_mb': 'memory.used',
    'temperature_c': 'temperature.gpu',
}

#: Arguments by which nvidia-smi prints what `parse_nvidia_smi` reads.
SMI_QUERY = (f'--query-gpu={",".join(_SMI_FIELDS.values())}', '--format=csv,noheader,nounits')


def parse_nvidia_smi(line: str) -> GpuSample | None:
    """Read a line that nvidia-smi prints for `SMI_QUERY`; None if it is not one."""
    values = [_number(part) for part in line.split(',')]
    if len(values) != len(_SMI_FIELDS):
        return None
    return GpuSample(**dict(zip(_SMI_FIELDS, values, strict=True)))


class Probe(Protocol):
    """Something that can be asked again and again."""

    def __call__(self) -> GpuSample:
        """Return the figures of this moment; raises whatever its library raises."""


def open_probe() -> Probe | None:
    """
    Find somebody who knows about the GPU that we compute on.

    Returns:
        NVML where the package nvidia-ml-py is installed and knows this GPU, else /sys on a
        Jetson, else None.
    """
    for make in (_nvml_probe, _jetson_probe):
        probe = make()
        if probe is not None:
            return probe
    return None


def _nvml_probe() -> Probe | None:
    try:
        import pynvml

        pynvml.nvmlInit()
        device = pynvml.nvmlDeviceGetHandleByPciBusId(_bus_id())
    except Exception:  # not installed, no NVML on this machine, or it does not know a Jetson's GPU
        return None

    def asked(question: Callable[[], float]) -> float | None:
        try:
            return question()
        except pynvml.NVMLError:
            return None

    def probe() -> GpuSample:
        return GpuSample(
            asked(lambda: float(pynvml.nvmlDeviceGetUtilizationRates(device).gpu)),
            asked(lambda: float(pynvml.nvmlDeviceGetMemoryInfo(device).used >> 20)),
            asked(
                lambda: float(pynvml.nvmlDeviceGetTemperature(device, pynvml.NVML_TEMPERATURE_GPU))
            ),
        )

    return probe if any(value is not None for value in probe()) else None


def _jetson_probe() -> Probe | None:
    zones = [
        zone
        for zone in sorted((_SYS / 'class/thermal').glob('thermal_zone*'))
        if (_read(zone / 'type') or '').lower().startswith('gpu')
    ]
    loads = [_SYS / load for load in _LOADS if (_SYS / load).is_file()]
    if not zones and not loads:
        return None

    def probe() -> GpuSample:
        return GpuSample(
            load_percent=_scaled(loads[0], 10) if loads else None,
            memory_mb=None,  # it shares that of the board
            temperature_c=_scaled(zones[0] / 'temp', 1000) if zones else None,
        )

    return probe


def _bus_id() -> bytes:
    """Return the PCI address of CUDA's first GPU; NVML counts them in another order."""
    driver = Driver()
    driver.call('cuInit', ctypes.c_uint(0))
    device, text = ctypes.c_int(), ctypes.create_string_buffer(_BUS_ID_BYTES)
    driver.call('cuDeviceGet', ctypes.byref(device), ctypes.c_int(0))
    driver.call('cuDeviceGetPCIBusId', text, ctypes.c_int(_BUS_ID_BYTES), device)
    if not text.value:
        msg = 'the CUDA driver gives no PCI address'
        raise EngineError(msg)
    return text.value


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:  # such as [N/A]
        return None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding='ascii').strip()
    except (OSError, ValueError):  # zones that are switched off refuse to be read
        return None


def _scaled(path: Path, divisor: int) -> float | None:
    text = _read(path)
    try:
        return int(text) / divisor if text else None
    except ValueError:
        return None
