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

"""Load and temperature of a GPU, as a Jetson's /sys and a stand-in for NVML tell them."""

from __future__ import annotations

from pathlib import Path
import sys
from types import SimpleNamespace

import pytest

from uhr_seg_ros.core import gpu_health


class NoSuchFigureError(Exception):
    """What NVML raises for what a GPU does not tell."""


@pytest.fixture
def no_nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be a machine without nvidia-ml-py."""
    monkeypatch.setitem(sys.modules, 'pynvml', None)


def jetson(root: Path, zones: dict[str, str], load: str | None) -> None:
    """Write what a Jetson's kernel shows."""
    for number, (name, temperature) in enumerate(zones.items()):
        zone = root / f'class/thermal/thermal_zone{number}'
        zone.mkdir(parents=True)
        (zone / 'type').write_text(f'{name}\n')
        (zone / 'temp').write_text(temperature)
    if load is not None:
        path = root / 'devices/platform/gpu.0/load'
        path.parent.mkdir(parents=True)
        path.write_text(load)


@pytest.mark.usefixtures('no_nvml')
@pytest.mark.parametrize('name', ['gpu-thermal', 'GPU-therm'])
def test_jetson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(gpu_health, '_SYS', tmp_path)
    jetson(tmp_path, {'cpu-thermal': '61000', name: '47250\n'}, '613\n')
    probe = gpu_health.open_probe()
    assert probe() == (61.3, None, 47.25)
    (tmp_path / 'devices/platform/gpu.0/load').write_text('0')
    assert probe().load_percent == 0.0
    (tmp_path / 'class/thermal/thermal_zone1/temp').write_text('')
    assert probe().temperature_c is None


@pytest.mark.usefixtures('no_nvml')
def test_neither_nvml_nor_a_jetson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_health, '_SYS', tmp_path)
    jetson(tmp_path, {'cpu-thermal': '61000'}, None)
    assert gpu_health.open_probe() is None


def stand_in(temperature: float | None) -> SimpleNamespace:
    """Return a stand-in for pynvml that knows the GPU at 0000:41:00.0."""

    def handle(bus_id: bytes) -> str:
        if bus_id != b'0000:41:00.0':
            raise NoSuchFigureError
        return 'the device'

    def warm(device: str, sensor: int) -> int:
        assert (device, sensor) == ('the device', 0)
        if temperature is None:
            raise NoSuchFigureError
        return temperature

    return SimpleNamespace(
        NVMLError=NoSuchFigureError,
        NVML_TEMPERATURE_GPU=0,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByPciBusId=handle,
        nvmlDeviceGetUtilizationRates=lambda _: SimpleNamespace(gpu=37),
        nvmlDeviceGetMemoryInfo=lambda _: SimpleNamespace(used=1234 << 20),
        nvmlDeviceGetTemperature=warm,
    )


@pytest.mark.parametrize('temperature', [61, None])
def test_nvml(monkeypatch: pytest.MonkeyPatch, temperature: int | None) -> None:
    monkeypatch.setitem(sys.modules, 'pynvml', stand_in(temperature))
    monkeypatch.setattr(gpu_health, '_bus_id', lambda: b'0000:41:00.0')
    assert gpu_health.open_probe()() == (37.0, 1234.0, temperature)


def test_gpu_that_nvml_does_not_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'pynvml', stand_in(61))
    monkeypatch.setattr(gpu_health, '_bus_id', lambda: b'0000:00:00.0')
    monkeypatch.setattr(gpu_health, '_SYS', tmp_path)
    assert gpu_health.open_probe() is None


def test_what_nvidia_smi_is_asked_is_what_is_read() -> None:
    """A stand-in answers the query field by field, as nvidia-smi does."""
    figures = {'utilization.gpu': '37', 'memory.used': '1234', 'temperature.gpu': '61'}
    query, form = gpu_health.SMI_QUERY
    fields = query.removeprefix('--query-gpu=').split(',')
    assert form == '--format=csv,noheader,nounits'
    line = ', '.join(figures[field] for field in fields)
    assert gpu_health.parse_nvidia_smi(line) == gpu_health.GpuSample(
        load_percent=37.0, memory_mb=1234.0, temperature_c=61.0
    )


def test_lines_of_nvidia_smi_that_lack_something() -> None:
    assert gpu_health.parse_nvidia_smi('[N/A], 1234, 61') == (None, 1234.0, 61.0)
    assert gpu_health.parse_nvidia_smi('No devices were found') is None
    assert gpu_health.parse_nvidia_smi('1, 2, 3, 4') is None
