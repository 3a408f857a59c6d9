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

"""What NVIDIA's tools print, read from programs that print the same."""

from __future__ import annotations

from pathlib import Path
import sys
import time

import pytest

from uhr_seg_ros.replay.load import GpuWatch, parse_tegrastats

ORIN = (
    '11-21-2026 10:00:00 RAM 5123/15656MB (lfb 4x4MB) SWAP 0/7828MB (cached 0MB) '
    'CPU [12%@1113,off] EMC_FREQ 0%@2133 GR3D_FREQ 61%@[611,0] cpu@49.5C soc2@46.9C '
    'gpu@47.25C tj@50.3C VDD_IN 6789mW/6789mW'
)
XAVIER = 'RAM 2488/7765MB (lfb 930x4MB) CPU [1%@1190] GR3D_FREQ 7% GPU@33.5C AUX@33C'


#: What `nvidia-smi` knows of a GPU; it prints what it is asked for, in that order.
NVIDIA_SMI = """
figures = {'utilization.gpu': 40, 'memory.used': 1000, 'temperature.gpu': 60, 'power.draw': 99}
(query,) = [each for each in sys.argv if each.startswith('--query-gpu=')]
assert '--format=csv,noheader,nounits' in sys.argv
line = ', '.join(str(figures[name]) for name in query.partition('=')[2].split(','))
"""
TEGRASTATS = f"""
assert sys.argv[1] == '--interval' and int(sys.argv[2]) > 0
line = {ORIN!r}
"""


def make_tool(folder: Path, name: str, program: str) -> None:
    """Make a program that prints its line again and again."""
    path = folder / name
    end = 'while True:\n    print(line, flush=True)\n    time.sleep(0.02)\n'
    path.write_text(f'#!{sys.executable}\nimport sys, time\n{program}\n{end}')
    path.chmod(0o755)


def test_lines_of_tegrastats() -> None:
    assert parse_tegrastats(ORIN) == (61.0, 5123.0, 47.25)
    assert parse_tegrastats(XAVIER) == (7.0, 2488.0, 33.5)
    assert parse_tegrastats('no such line') is None


@pytest.mark.parametrize(
    ('name', 'program', 'expected'),
    [
        ('nvidia-smi', NVIDIA_SMI, (40.0, 1000.0, 60.0)),
        ('tegrastats', TEGRASTATS, (61.0, 5123.0, 47.25)),
    ],
)
def test_watching(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    program: str,
    expected: tuple[float, ...],
) -> None:
    make_tool(tmp_path, name, program)
    monkeypatch.setenv('PATH', f'{tmp_path}:/usr/bin:/bin')
    watch = GpuWatch()
    deadline = time.monotonic() + 20
    while not watch._lines:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    names = ('load_percent', 'memory_mb', 'temperature_c')
    assert watch.stop() == {
        key: {'mean': round(value, 1), 'max': value}
        for key, value in zip(names, expected, strict=True)
    }


def test_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('PATH', str(tmp_path))
    watch = GpuWatch()
    watch.close()
    assert watch.stop() == {}
