# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""What `/diagnostics` says about frames, whatever their stamps are."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticStatus
import pytest

from uhr_seg_ros.benchmark.report import stage_percentiles
from uhr_seg_ros.ros.camera_monitor import CameraMonitor
from uhr_seg_ros.ros.dashboard import draw_dashboard, HEIGHT, P50_COLOUR, WIDTH
from uhr_seg_ros.ros.diagnostics import (
    cut_short,
    failed,
    fallen_back,
    hot,
    node_status,
    over_budget,
    StageWindows,
    worst,
)  # fmt: skip
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
    status = monitor.status(Counts(11, 9, 1, 0, 1), 10.0)
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
        'total_dropped_frames': '1',
        'frames_received': '11',
        'frames_processed': '9',
        'frames_dropped': '1',
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
    monitor.note_rejected('image step 3 is smaller\nand more')
    for counts, level, message in (
        (Counts(4, 1, 0, 3, 0), DiagnosticStatus.WARN,
         '3 frames rejected since the last report: image step 3 is smaller'),
        (Counts(5, 2, 0, 3, 0), DiagnosticStatus.OK, 'OK'),
    ):  # fmt: skip
        monitor.note(0.0, 0, 0, 'bgr8')
        status = monitor.status(counts, 0.0)
        assert (status.level, status.message) == (level, message)


def test_a_camera_whose_every_frame_is_rejected_is_an_error(monitor: CameraMonitor) -> None:
    monitor.note(0.0, 0, 0, '32FC1')
    monitor.note_rejected("image encoding '32FC1' is not one of these")
    status = monitor.status(Counts(2, 0, 0, 2, 0), 0.0)
    assert status.level == DiagnosticStatus.ERROR
    assert status.message == (
        "every frame is rejected: image encoding '32FC1' is not one of these"
    )


@pytest.mark.parametrize(
    ('dropped', 'limited', 'level'),
    [
        (10, False, DiagnosticStatus.OK),
        (11, False, DiagnosticStatus.WARN),
        (90, True, DiagnosticStatus.OK),
    ],
)
def test_dropping_is_a_warning_unless_it_is_intended(
    monitor: CameraMonitor, dropped: int, limited: bool, level: bytes
) -> None:
    monitor.status(Counts(50, 0, 50, 0, 0), 0.0)  # only what came since counts
    monitor.note(0.0, 0, 0, 'bgr8')
    counts = Counts(150, 100 - dropped, 50 + dropped, 0, 0)
    status = monitor.status(counts, 0.0, limited=limited)
    assert status.level == level
    assert ('11 of 100 frames dropped' in status.message) == (level == DiagnosticStatus.WARN)


def test_a_recording_that_begins_again_keeps_its_rate(monitor: CameraMonitor) -> None:
    for index in range(20):
        monitor.note(index / 10, (index % 10) * SECOND // 5, 0, 'bgr8')
    told = values(monitor.status(Counts(20, 20, 0, 0, 0), 0.0))
    assert (told['frame_rate_node'], told['frame_rate_msg']) == ('10.000', '5.000')
    assert told['num_non_increasing_msg'] == '1'


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
        stages.add({'detail': milliseconds, 'total': 9.0}, latency_ms=10 * milliseconds)
    told = stages.values()
    assert told['detail_p50_ms'] == '2.000'
    assert told['latency_max_ms'] == '30.000'
    assert list(told) == [
        *(f'detail_{key}_ms' for key in ('p50', 'p95', 'p99')),
        *(f'total_{key}_ms' for key in ('p50', 'p95', 'p99')),
        *(f'latency_{key}_ms' for key in ('p50', 'p95', 'p99', 'max')),
    ]


def test_a_stage_that_nobody_has_heard_of_is_told_in_its_place() -> None:
    stages = StageWindows()
    stages.add_cloud(5.0)
    stages.add({'convert': 1.0, 'publish': 1.0, 'total': 2.0}, latency_ms=3.0)
    stages.add({'convert': 1.0, 'unheard of': 7.0, 'publish': 1.0, 'total': 9.0}, latency_ms=9.0)
    told = stages.values()
    assert told['unheard of_p50_ms'] == '7.000'
    assert list(stage_percentiles(told)) == [
        'convert', 'unheard of', 'publish', 'total', 'cloud', 'latency'
    ]  # fmt: skip


def test_node_status_sums_the_cameras() -> None:
    counts = [Counts(5, 3, 1, 1, 0), Counts(2, 1, 0, 0, 1)]
    status = node_status('/segmentation', 'active', counts, {'backend': 'onnxruntime'})
    assert (status.name, status.level) == ('/segmentation: segmentation', DiagnosticStatus.OK)
    told = values(status)
    assert [told[f'frames_{name}'] for name in Counts._fields] == ['7', '4', '1', '1', '1']
    assert told['backend'] == 'onnxruntime'
    broken = node_status('/segmentation', 'unconfigured', [], {}, failed('no bundle'))
    assert (broken.level, broken.message) == (DiagnosticStatus.ERROR, 'no bundle')


def test_the_worst_problem_comes_first() -> None:
    warning = (DiagnosticStatus.WARN, 'slow')
    assert worst(None, warning, failed('broken')) == (DiagnosticStatus.ERROR, 'broken; slow')
    assert worst(None, fallen_back(''), failed(''), otherwise='active') == (
        DiagnosticStatus.OK, 'active'
    )  # fmt: skip
    assert fallen_back('no GPU') == (DiagnosticStatus.WARN, 'no GPU')


def test_budget() -> None:
    latencies = [100.0] * 95 + [300.0] * 5
    assert over_budget(latencies, 200.0) is None
    level, text = over_budget([*latencies, 310.0], 200.0)
    assert level == DiagnosticStatus.WARN
    assert text == (
        '6 of 101 frames since the last report took longer than latency.budget_ms 200, '
        'the longest 310 ms'
    )
    assert over_budget(latencies, 0.0) is None
    assert over_budget([], 200.0) is None


def test_refinement_that_is_cut_short() -> None:
    assert cut_short([], 50.0) is None
    assert cut_short([None, None, 1.0], 50.0) is None
    level, text = cut_short([1.0, 0.75, None, 0.4], 50.0)
    assert level == DiagnosticStatus.WARN
    assert text == (
        'refine_budget_ms 50 ended before the boundaries of 2 of 4 frames, of one after 40%: the '
        'rest is as the network gave it'
    )


def test_hot_gpu() -> None:
    assert hot(84.9, 85.0) is None
    assert hot(None, 85.0) is None
    assert hot(120.0, 0.0) is None
    level, text = hot(91.0, 85.0)
    assert level == DiagnosticStatus.WARN
    assert text.startswith('GPU at 91 degrees C, diagnostics.gpu_temperature_limit is 85')


def test_latencies_are_taken_once() -> None:
    stages = StageWindows()
    stages.add({}, 5.0)
    stages.add({}, 6.0, 0.5)
    assert stages.take_recent() == [(5.0, None), (6.0, 0.5)]
    assert stages.take_recent() == []


def test_dashboard_draws_what_the_status_says() -> None:
    stages = StageWindows()
    stages.add({'semantic': 25.0, 'detail': 100.0}, latency_ms=100.0)
    counts = [Counts(5, 3, 1, 1, 0)]
    status = node_status('/segmentation', 'active', counts, stages.values())
    picture = draw_dashboard(status)
    assert picture.shape == (HEIGHT, WIDTH, 3)
    problem = failed('no bundle\nline two')
    broken = node_status('/segmentation', 'unconfigured', [], {}, problem)
    assert (draw_dashboard(broken)[0, 0] != picture[0, 0]).any()
    bars = (picture == P50_COLOUR).all(axis=2).sum(axis=1)
    lengths = sorted(set(bars[bars > 0]))
    assert lengths[-1] == pytest.approx(4 * lengths[0], rel=0.02)
