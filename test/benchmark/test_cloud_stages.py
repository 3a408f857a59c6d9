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

"""``uhr_seg benchmark cloud``: what it measures is a cloud that is really labelled."""

from __future__ import annotations

import json
from pathlib import Path
import shutil
import sys

import numpy as np
import pytest
from results_files import check_provenance

pytest.importorskip('rclpy', reason='rclpy is not installed')

from uhr_seg_ros.benchmark.cloud_stages import (
    BEAMS,
    benchmark_camera,
    benchmark_pose,
    CloudOptions,
    measure_cloud,
    received_cloud,
)
from uhr_seg_ros.cli.main import main
from uhr_seg_ros.core.errors import ProcessError
from uhr_seg_ros.geometry.visibility import find_seen
from uhr_seg_ros.ros.messages.cloud_reading import read_points


@pytest.mark.usefixtures('hostile_folder')
def test_stages_of_every_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / 'report.json'
    options = ['cloud', '--points', '12800', '1', '--size', '320x192', '--repeat', '3']
    assert main(['benchmark', *options, '--json', str(file)]) == 0
    report = json.loads(file.read_text())
    check_provenance(report)
    assert report['repeat'] == 3
    assert [cloud['points'] for cloud in report['clouds']] == [12800, BEAMS]
    for cloud in report['clouds']:
        for kind in ('stage_ms', 'processor_ms'):
            assert set(cloud[kind]) == {'read', 'label', 'encode', 'total'}
            for times in cloud[kind].values():
                assert 0 < times['p50'] <= times['p95'] <= times['max']
        assert cloud['size'] == [192, 320]
        assert cloud['cores'] == 1
    large = report['clouds'][0]
    # Some fall outside, and the poles hide some.
    assert 0.5 < large['labelled'] < large['in_image'] < 1
    printed = capsys.readouterr().out
    assert '12800 points' in printed
    assert 'processor p95 ms' in printed


def test_the_cloud_is_one_of_a_lidar() -> None:
    message = received_cloud(50_000)
    assert (message.height, message.point_step) == (BEAMS, 22)
    points = read_points(message).reshape(BEAMS, message.width, 3)
    assert abs(message.height * message.width - 50_000) < BEAMS
    distance = np.linalg.norm(points, axis=-1)
    assert 1 < distance.min()
    assert distance.max() < 100
    # Ahead, from left to right and from top to bottom.
    assert points[..., 0].min() > 0
    bearing = np.arctan2(points[..., 1], points[..., 0])
    assert (np.diff(bearing, axis=1) < 0).all()
    assert (np.diff(points[..., 2] / distance, axis=0) < 0).all()


@pytest.mark.parametrize('size', [(2160, 3840), (192, 320)])
def test_most_points_are_inside_the_image(size: tuple[int, int]) -> None:
    points = read_points(received_cloud(100_000))
    seen = find_seen(points, benchmark_camera(size), benchmark_pose())
    assert 0.6 < len(seen.indices) / len(points) < 1
    # All over the image.
    height, width = size
    assert np.ptp(seen.column) > 0.9 * width
    assert np.ptp(seen.row) > 0.85 * height


def test_without_ros(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delitem(sys.modules, 'uhr_seg_ros.benchmark.cloud_stages')
    for name in [name for name in sys.modules if name.partition('.')[0] == 'rclpy']:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, 'rclpy', None)
    assert main(['benchmark', 'cloud', '--points', '1000']) == 2
    error = capsys.readouterr().err
    assert 'needs the Python package rclpy' in error
    assert 'source a ROS 2 installation' in error


def test_a_process_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, 'executable', shutil.which('false'))
    with pytest.raises(ProcessError, match='cloud of 1000 points failed: exit code 1'):
        measure_cloud(CloudOptions(1000, (96, 160), 1))
