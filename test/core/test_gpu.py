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

"""Finding a GPU: what is said without a driver, and with a stand-in for one."""

from __future__ import annotations

from collections.abc import Iterator
import ctypes
from pathlib import Path

import pytest
from standin_libcuda import build_standin, StandIn

from uhr_seg_ros.core import cuda_driver, gpu
from uhr_seg_ros.core.gpu import find_gpu, Gpu, GpuUnavailableError


@pytest.fixture(scope='module')
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of the stand-in."""
    return build_standin(tmp_path_factory.mktemp('driver'))


@pytest.fixture
def standin(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """Put the stand-in in the place of the driver, on a machine that is no Jetson."""
    monkeypatch.setattr(cuda_driver, 'LIBRARY', str(library))
    monkeypatch.setattr(gpu, 'TEGRA_RELEASE', tmp_path / 'nv_tegra_release')
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    control = StandIn(str(library))
    yield control
    control.reset()


def refusal(ordinal: int = 0) -> GpuUnavailableError:
    """Return the error, whose parts are one line each."""
    with pytest.raises(GpuUnavailableError) as caught:
        find_gpu(ordinal)
    error = caught.value
    assert str(error) == f'{error.reason}: {error.remedy}'
    assert '\n' not in str(error)
    return error


def has_driver() -> bool:
    """Tell if this machine has a driver."""
    try:
        ctypes.CDLL('libcuda.so.1')
    except OSError:
        return False
    return True


@pytest.mark.skipif(has_driver(), reason='this machine has an NVIDIA driver')
def test_this_machine_has_no_driver(capfd: pytest.CaptureFixture[str]) -> None:
    error = refusal()
    assert 'libcuda.so.1' in error.reason
    for way_out in ('install the NVIDIA driver', 'JetPack', '--gpus all', '--runtime nvidia'):
        assert way_out in error.remedy
    assert capfd.readouterr() == ('', '')


def test_damaged_library_is_told_as_the_loader_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'libcuda.so.1'
    path.write_text('no library')
    monkeypatch.setattr(cuda_driver, 'LIBRARY', str(path))
    assert f'{path}: file too short' in refusal().reason


def test_library_without_cuda_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_driver, 'LIBRARY', None)  # the process itself
    assert 'the CUDA driver has no cuInit: update it' in refusal().reason


def test_finds_a_gpu_and_takes_nothing(
    standin: StandIn, capfd: pytest.CaptureFixture[str]
) -> None:
    standin.devices(2)
    assert find_gpu(1) == Gpu('Stand-in 1', (8, 7), 64 << 20, (12, 6), None, 16)
    assert standin.live() == {}
    assert capfd.readouterr() == ('', '')


@pytest.mark.parametrize(
    ('line', 'release'),
    [
        ('# R36 (release), REVISION: 4.0, GCID: 37537400, BOARD: generic', 'R36.4.0'),
        ('# R35 (release), REVISION: 3.1, GCID: 32827747, BOARD: t186ref', 'R35.3.1'),
        ('something else', None),
    ],
)
def test_tells_the_release_of_a_jetson(standin: StandIn, line: str, release: str | None) -> None:
    gpu.TEGRA_RELEASE.write_text(f'{line}, EABI: aarch64\n# KERNEL_VARIANT: oot\n')
    assert find_gpu().l4t == release


@pytest.mark.parametrize(
    ('code', 'name', 'way_out'),
    [
        (34, 'CUDA_ERROR_STUB_LIBRARY (CUDA driver is a stub library)', 'LD_LIBRARY_PATH'),
        (100, 'CUDA_ERROR_NO_DEVICE (no CUDA-capable device is detected)', '--gpus all'),
        (803, 'CUDA_ERROR_SYSTEM_DRIVER_MISMATCH', 'reboot'),
        (999, 'CUDA_ERROR_UNKNOWN (unknown error)', 'modprobe nvidia_uvm'),
        (4242, 'error 4242', 'nvidia-smi'),
    ],
)
def test_driver_that_does_not_start(standin: StandIn, code: int, name: str, way_out: str) -> None:
    standin.fail('cuInit', code)
    error = refusal()
    assert f'cuInit failed: {name}' in error.reason
    assert way_out in error.remedy


@pytest.mark.parametrize('visible', ['', '-1', '7'])
def test_hidden_gpus(standin: StandIn, monkeypatch: pytest.MonkeyPatch, visible: str) -> None:
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', visible)
    # Some drivers say it at once, others show no GPU.
    standin.fail('cuInit', 100)
    assert refusal().remedy.startswith(f'CUDA_VISIBLE_DEVICES is {visible!r}')
    standin.reset()
    standin.devices(0)
    error = refusal()
    assert error.reason == 'the CUDA driver shows no GPU'
    assert error.remedy.startswith(f'CUDA_VISIBLE_DEVICES is {visible!r}')


def test_no_gpu(standin: StandIn) -> None:
    standin.devices(0)
    assert '--runtime nvidia' in refusal().remedy


@pytest.mark.parametrize('ordinal', [-1, 2])
def test_ordinal_that_is_not_there(standin: StandIn, ordinal: int) -> None:
    standin.devices(2)
    assert refusal(ordinal).reason == f'there is no GPU {ordinal}, only 0 to 1'


def test_old_gpu(standin: StandIn) -> None:
    standin.devices(1, (6, 1))
    error = refusal()
    assert error.reason == ('GPU Stand-in 0 has compute capability 6.1, 7.5 or newer is needed')
    assert 'onnxruntime' in error.remedy
    standin.devices(1, (7, 5))
    assert find_gpu().capability == (7, 5)


@pytest.mark.parametrize(
    'function', ['cuDeviceGetCount', 'cuDeviceGet', 'cuDeviceGetName', 'cuDriverGetVersion']
)
def test_later_call_that_fails(standin: StandIn, function: str) -> None:
    standin.fail(function, 700)
    assert f'{function} failed: CUDA_ERROR_ILLEGAL_ADDRESS' in refusal().reason
