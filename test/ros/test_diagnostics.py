# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""What `/diagnostics` says about frames, whatever their stamps are."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticStatus
import pytest

from uhr_seg_ros.ros.dashboard import draw_dashboard, HEIGHT, P50_COLOUR, WIDTH
from uhr_seg_ros.ros.diagnostics import CameraMonitor, node_status, StageWindows
from uhr_seg_ros.ros.worker import Counts

SECOND = 1_000_000_000


@pytest.fixture
def monitor() -> CameraMonitor:
    return CameraMonitor('/image_raw', '/segmentation')


def values(status: DiagnosticStatus) -> dict[str, str]:
    return {pair.key: pair.value for pair in status.values}


def test_steady_camera(monitor: CameraMonitor) -> None:
    for index in range(11):
        monitor.note(index / 10, index * SECOND // 20, index * SECOND // 20 + 3_000_000, 'rgb8')
    status = monitor.status(Counts(11, 8, 2, 0, 1), 10.0)
    assert (status.name, status.hardware_id) == ('/image_raw', '/segmentation')
    assert (status.level, status.message) == (DiagnosticStatus.OK, 'OK')
    assert values(status) == {
        'frame_rate_node': '10.000',
        'frame_rate_msg': '20.000',
        'current_delay_from_realtime_ms': '3.000',
        'expected_frequency': '10.000',
        'tolerance': '10.0',
        'mean_abs_jitter_node': '0',
        'max_abs_jitter_node': '0',
        'num_jitter_outliers_node': '0',
        'num_non_increasing_msg': '0',
        'total_dropped_frames': '2',
        'frames_received': '11',
        'frames_processed': '8',
        'frames_dropped': '2',
        'frames_rejected': '0',
        'frames_pending': '1',
        'encoding': 'rgb8',
    }


def test_wrong_rate_is_a_warning(monitor: CameraMonitor) -> None:
    for index in range(5):
        monitor.note(index / 10, index, index, 'bgr8')
    status = monitor.status(Counts(5, 5, 0, 0, 0), 30.0)
    assert (status.level, status.message) == (
        DiagnosticStatus.WARN,
        'frame rate 10.00 Hz, expected 30.00 Hz',
    )
    assert values(status)['num_jitter_outliers_node'] == '4'


def test_rate_after_a_pause_is_that_of_today(monitor: CameraMonitor) -> None:
    for index in range(90):
        monitor.note(index / 30, index, index, 'bgr8')
    for index in range(90):
        monitor.note(600 + index / 30, 200 + index, index, 'bgr8')
    status = monitor.status(Counts(180, 180, 0, 0, 0), 30.0)
    assert status.level == DiagnosticStatus.OK
    assert values(status)['frame_rate_node'] == '30.000'


def test_silence_is_stale(monitor: CameraMonitor) -> None:
    counts = Counts(2, 2, 0, 0, 0)
    assert monitor.status(Counts(0, 0, 0, 0, 0), 0.0).level == DiagnosticStatus.STALE
    monitor.note(0.0, 0, 0, 'bgr8')
    monitor.note(0.1, 1, 1, 'bgr8')
    assert monitor.status(counts, 0.0).level == DiagnosticStatus.OK
    status = monitor.status(counts, 0.0)
    assert status.level == DiagnosticStatus.STALE
    assert values(status)['frame_rate_node'] == '0.000'


def test_rejected_frames_are_a_warning_once(monitor: CameraMonitor) -> None:
    for rejected, level in ((3, DiagnosticStatus.WARN), (3, DiagnosticStatus.OK)):
        monitor.note(0.0, 0, 0, 'bgr8')
        assert monitor.status(Counts(4, 1, 0, rejected, 0), 0.0).level == level


@pytest.mark.parametrize(
    'stamps', [(-(2**31) * SECOND, 2**31 * SECOND), (5, 5), (9 * SECOND, 1 * SECOND)]
)
def test_absurd_stamps_are_only_told(monitor: CameraMonitor, stamps: tuple[int, int]) -> None:
    for arrival, stamp in enumerate(stamps):
        monitor.note(arrival, stamp, 1_700_000_000 * SECOND, 'bgr8')
    told = values(monitor.status(Counts(2, 2, 0, 0, 0), 0.0))
    assert told['current_delay_from_realtime_ms'] == 'N/A'
    assert told['num_non_increasing_msg'] == str(int(stamps[1] <= stamps[0]))
    assert float(told['frame_rate_msg']) >= 0.0


def test_stage_windows() -> None:
    stages = StageWindows()
    assert stages.values() == {}
    for milliseconds in (1.0, 2.0, 3.0):
        stages.add({'detail': milliseconds, 'unheard': 9.0}, latency_ms=10 * milliseconds)
    told = stages.values()
    assert told['detail_p50_ms'] == '2.000'
    assert told['latency_max_ms'] == '30.000'
    assert set(told) == {
        *(f'detail_{key}_ms' for key in ('p50', 'p95', 'p99')),
        *(f'latency_{key}_ms' for key in ('p50', 'p95', 'p99', 'max')),
    }


def test_node_status_sums_the_cameras() -> None:
    counts = [Counts(5, 3, 1, 1, 0), Counts(2, 1, 0, 0, 1)]
    status = node_status('/segmentation', 'active', '', counts, {'backend': 'onnxruntime'})
    assert (status.name, status.level) == ('/segmentation: segmentation', DiagnosticStatus.OK)
    told = values(status)
    assert [told[f'frames_{name}'] for name in Counts._fields] == ['7', '4', '1', '1', '1']
    assert told['backend'] == 'onnxruntime'
    failed = node_status('/segmentation', 'unconfigured', 'no bundle', [], {})
    assert (failed.level, failed.message) == (DiagnosticStatus.ERROR, 'no bundle')


def test_dashboard_draws_what_the_status_says() -> None:
    stages = StageWindows()
    stages.add({'semantic': 25.0, 'detail': 100.0}, latency_ms=100.0)
    counts = [Counts(5, 3, 1, 1, 0)]
    status = node_status('/segmentation', 'active', '', counts, stages.values())
    picture = draw_dashboard(status)
    assert picture.shape == (HEIGHT, WIDTH, 3)
    failed = node_status('/segmentation', 'unconfigured', 'no bundle\nline two', [], {})
    assert (draw_dashboard(failed)[0, 0] != picture[0, 0]).any()
    bars = (picture == P50_COLOUR).all(axis=2).sum(axis=1)
    lengths = sorted(set(bars[bars > 0]))
    assert lengths[-1] == pytest.approx(4 * lengths[0], rel=0.02)
