# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""What NVIDIA's tools print, read from programs that print the same."""

from __future__ import annotations

from pathlib import Path
import time

import pytest

from uhr_seg_ros.replay.load import GpuWatch, parse_nvidia_smi, parse_tegrastats

ORIN = (
    '11-21-2026 10:00:00 RAM 5123/15656MB (lfb 4x4MB) SWAP 0/7828MB (cached 0MB) '
    'CPU [12%@1113,off] EMC_FREQ 0%@2133 GR3D_FREQ 61%@[611,0] cpu@49.5C soc2@46.9C '
    'gpu@47.25C tj@50.3C VDD_IN 6789mW/6789mW'
)
XAVIER = 'RAM 2488/7765MB (lfb 930x4MB) CPU [1%@1190] GR3D_FREQ 7% GPU@33.5C AUX@33C'


def tool(folder: Path, name: str, line: str) -> None:
    """Make a program that prints a line again and again."""
    path = folder / name
    path.write_text(f'#!/bin/sh\nwhile :; do echo "{line}"; sleep 0.02; done\n')
    path.chmod(0o755)


def test_lines_of_nvidia_smi() -> None:
    assert parse_nvidia_smi('37, 1234, 61') == (37.0, 1234.0, 61.0)
    assert parse_nvidia_smi('[N/A], 1234, 61') == (None, 1234.0, 61.0)
    assert parse_nvidia_smi('No devices were found') is None


def test_lines_of_tegrastats() -> None:
    assert parse_tegrastats(ORIN) == (61.0, 5123.0, 47.25)
    assert parse_tegrastats(XAVIER) == (7.0, 2488.0, 33.5)
    assert parse_tegrastats('no such line') is None


@pytest.mark.parametrize(
    ('name', 'line', 'load'), [('nvidia-smi', '40, 1000, 60', 40.0), ('tegrastats', ORIN, 61.0)]
)
def test_watching(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, line: str, load: float
) -> None:
    tool(tmp_path, name, line)
    monkeypatch.setenv('PATH', f'{tmp_path}:/usr/bin:/bin')
    watch = GpuWatch()
    time.sleep(1.0)
    seen = watch.stop()
    assert seen['load_percent'] == {'mean': load, 'max': load}
    assert set(seen) == {'load_percent', 'memory_mb', 'temperature_c'}


def test_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('PATH', str(tmp_path))
    watch = GpuWatch()
    watch.close()
    assert watch.stop() == {}
