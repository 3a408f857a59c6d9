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

"""What `/diagnostics` says about frames, whatever their stamps are."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
import math

from diagnostic_msgs.msg import DiagnosticStatus
import numpy as np
import pytest

from uhr_seg_ros.benchmark.figures import stage_percentiles
from uhr_seg_ros.ros.camera_monitor import CameraMonitor
from uhr_seg_ros.ros.dashboard import draw_dashboard, HEIGHT, P50_COLOR, WIDTH
from uhr_seg_ros.ros.diagnostics import (
    check_failure,
    check_fallback,
    check_latency,
    check_refinement_budget,
    check_temperature,
    node_status,
    Recent,
    StageWindows,
)
from uhr_seg_ros.ros.frame_rates import Rhythm
from uhr_seg_ros.ros.topics.status import Lasting, worst
from uhr_seg_ros.ros.worker import Counts

SECOND = 1_000_000_000


@pytest.fixture
def monitor() -> CameraMonitor:
    return CameraMonitor('/image_raw', '/segmentation')


def values(status: DiagnosticStatus) -> dict[str, str]:
    return {pair.key: pair.value for pair in status.values}


class Robot:
    """A camera and a machine, second by second, on a clock that does not wait."""

    def __init__(self, monitor: CameraMonitor, **settings: float) -> None:
        self.monitor = monitor
        self.settings = settings
        self.now = 1000.0
        self.counts = Counts(0, 0, 0, 0, 0)
        self._taken = -math.inf

    def run(self, arrivals: Iterable[float], seconds: float, frame_s: float = 0.0) -> list[bytes]:
        """
        Return the level at every second.

        Args:
            arrivals: of frames from now on, s.
            seconds: how long.
            frame_s: what a frame takes.

        """
        start, levels = self.now, []
        events = deque(sorted(start + arrival for arrival in arrivals))
        pause = max(frame_s, 1.0 / (self.settings.get('max_rate_hz') or math.inf))
        for second in range(1, round(seconds) + 1):
            self.now = start + second
            while events and events[0] <= self.now:
                arrival = events.popleft()
                self.monitor.note(arrival, round(arrival * SECOND), 0, 'bgr8')
                done = arrival >= self._taken + pause - 1e-6
                if done:
                    self._taken = arrival
                    self.monitor.note_mask(arrival + frame_s, (4, 4), frame_s)
                became = 'processed' if done else 'dropped'
                self.count(received=1, **{became: 1})
            levels.append(self.status().level)
        return levels

    def count(self, **more: int) -> None:
        values = {name: getattr(self.counts, name) + count for name, count in more.items()}
        self.counts = self.counts._replace(**values)

    def status(self) -> DiagnosticStatus:
        return self.monitor.status(self.counts, self.now, **self.settings)


def every(period_s: float, seconds: float) -> list[float]:
    return [index * period_s for index in range(int(seconds / period_s))]


def test_steady_camera(monitor: CameraMonitor) -> None:
    for index in range(11):
        monitor.note(index / 10, index * SECOND // 20, index * SECOND // 20 + 3_000_000, 'rgb8')
    for index in range(9):
        monitor.note_mask(index / 5, (4, 4), 0.1)
    status = monitor.status(Counts(11, 9, 1, 0, 1), 1.7, expected_frequency=10.0)
    assert (status.name, status.hardware_id) == ('/segmentation: /image_raw', '/segmentation')
    assert (status.level, status.message) == (DiagnosticStatus.OK, 'OK')
    assert values(status) == {
        'frame_rate_node': '10.000',
        'frame_rate_msg': '20.000',
        'current_delay_from_realtime_ms': '3.000',
        'expected_frequency': '10.000',
        'output_frequency': '5.000',
        'output_age_s': '0.1',
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
        'frames_ignored': '0',
        'encoding': 'rgb8',
    }


def test_wrong_rate_is_a_warning(monitor: CameraMonitor) -> None:
    for index in range(5):
        monitor.note(index / 10, index, index, 'bgr8')
    status = monitor.status(Counts(5, 5, 0, 0, 0), 0.5, expected_frequency=30.0)
    assert (status.level, status.message) == (
        DiagnosticStatus.WARN,
        'frame rate 10.00 Hz, expected 30.00 Hz',
    )
    assert values(status)['num_jitter_outliers_node'] == '4'


def test_rate_after_a_pause_is_that_of_today(monitor: CameraMonitor) -> None:
    for index in range(90):
        monitor.note(index / 30, index * SECOND // 15, index, 'bgr8')
    for index in range(3):
        monitor.note(600 + index / 30, (600 + index) * SECOND, index, 'bgr8')
    status = monitor.status(Counts(93, 93, 0, 0, 0), 600.1, expected_frequency=30.0)
    assert status.level == DiagnosticStatus.OK
    assert values(status)['frame_rate_node'] == '30.000'
    assert values(status)['frame_rate_msg'] == '1.000'
    silent = values(monitor.status(Counts(93, 93, 0, 0, 0), 700.0))
    assert (silent['frame_rate_node'], silent['frame_rate_msg']) == ('0.000', '0.000')


@pytest.mark.parametrize('period_s', [0.033, 0.5, 1.0, 2.0, 10.0, 60.0])
def test_a_steady_camera_is_never_stale_until_it_stops(
    monitor: CameraMonitor, period_s: float
) -> None:
    robot = Robot(monitor)
    steady = robot.run(every(period_s, 20 * max(period_s, 1.0)), 20 * max(period_s, 1.0))
    # Of the first frame alone one cannot tell: the longest period may be taken for silence.
    assert DiagnosticStatus.OK in steady
    assert set(steady[int(period_s) + 1 :]) == {DiagnosticStatus.OK}
    assert float(values(robot.status())['frame_rate_node']) == pytest.approx(1 / period_s, 0.03)
    silent = robot.run([], 5 * max(period_s, 1.0))
    assert set(silent[int(max(3 * period_s, 2.0)) :]) == {DiagnosticStatus.STALE}
    assert values(robot.status())['frame_rate_node'] == '0.000'
    assert robot.status().message.startswith('no frame for ')


def test_irregular_triggers_are_no_silence(monitor: CameraMonitor) -> None:
    intervals = np.random.default_rng(0).uniform(0.2, 20.0, 100)
    robot = Robot(monitor)
    levels = robot.run(np.cumsum(intervals), intervals.sum())
    assert set(levels[60:]) == {DiagnosticStatus.OK}
    assert DiagnosticStatus.STALE in robot.run([], 65)


def test_bursts_are_no_silence(monitor: CameraMonitor) -> None:
    arrivals = [10 * burst + frame / 10 for burst in range(10) for frame in range(5)]
    levels = Robot(monitor).run(arrivals, 100)
    assert set(levels[25:]) == {DiagnosticStatus.OK}


def test_one_pause_does_not_change_what_is_usual(monitor: CameraMonitor) -> None:
    robot = Robot(monitor)
    robot.run(every(0.1, 10), 40)
    robot.run(every(0.1, 3), 3)
    assert robot.run([], 4)[2:] == [DiagnosticStatus.STALE] * 2


def test_expected_frequency_tells_what_is_usual(monitor: CameraMonitor) -> None:
    levels = Robot(monitor, expected_frequency=0.01).run([0.5], 400)
    assert levels.index(DiagnosticStatus.STALE) == 300


def test_a_camera_that_is_not_subscribed_to_is_not_asked_for_frames(
    monitor: CameraMonitor,
) -> None:
    status = monitor.status(Counts(0, 0, 0, 0, 0), 5.0, subscribed=False)
    assert (status.level, status.message) == (
        DiagnosticStatus.STALE,
        'not subscribed, as the node is not active',
    )
    assert monitor.status(Counts(0, 0, 0, 0, 0), 5.0).message == 'no frame yet'


def test_rejected_frames_are_a_warning_until_they_are_history(monitor: CameraMonitor) -> None:
    robot = Robot(monitor)
    monitor.note_rejected('image step 3 is smaller\nand more')
    robot.run(every(0.1, 5), 5)
    robot.count(received=3, rejected=3)
    assert robot.run(every(0.1, 1), 1) == [DiagnosticStatus.WARN]
    assert robot.status().message == '3 of 63 frames rejected: image step 3 is smaller'
    levels = robot.run(every(0.1, 20), 20)
    assert levels == sorted(levels, reverse=True)  # it does not come back
    assert 8 < levels.count(DiagnosticStatus.WARN) < 12


@pytest.mark.parametrize('period_s', [0.1, 2.0])
def test_a_camera_whose_every_frame_is_rejected_is_an_error(
    monitor: CameraMonitor, period_s: float
) -> None:
    monitor.note_rejected("image encoding '32FC1' is not one of these")
    robot = Robot(monitor)
    levels = []
    for _ in range(10):
        for _ in every(period_s, max(period_s, 1.0)):
            robot.count(received=1, rejected=1)
            monitor.note(robot.now, 0, 0, '32FC1')
        levels += robot.run([], max(period_s, 1.0))
    assert set(levels) == {DiagnosticStatus.ERROR}
    assert robot.status().message == (
        "every frame is rejected: image encoding '32FC1' is not one of these"
    )


@pytest.mark.parametrize(
    ('dropped', 'level'), [(10, DiagnosticStatus.OK), (11, DiagnosticStatus.WARN)]
)
def test_dropping_is_a_warning(monitor: CameraMonitor, dropped: int, level: bytes) -> None:
    monitor.note(0.0, 0, 0, 'bgr8')
    monitor.status(Counts(50, 0, 49, 0, 1), 0.0)  # until a first one is done, none counts
    status = monitor.status(Counts(150, 101 - dropped, 49 + dropped, 0, 0), 1.0)
    assert status.level == level
    assert ('11 of 100 frames dropped' in status.message) == (level == DiagnosticStatus.WARN)


@pytest.mark.parametrize(
    ('rate_hz', 'limit_hz', 'frame_s', 'level'),
    [
        (30.0, 5.0, 1 / 1.5, DiagnosticStatus.WARN),  # the machine does 1.5 of 5 that are wanted
        (30.0, 5.0, 0.15, DiagnosticStatus.OK),
        (30.0, 0.1, 0.15, DiagnosticStatus.OK),
        (0.5, 5.0, 0.15, DiagnosticStatus.OK),
        (2.0, 5.0, 0.9, DiagnosticStatus.WARN),  # 2 come, so 2 are wanted
        (2.0, 0.5, 0.9, DiagnosticStatus.OK),
        (30.0, 0.5, 5.0, DiagnosticStatus.WARN),
        (30.0, 0.0, 0.15, DiagnosticStatus.WARN),
        (5.0, 0.0, 0.15, DiagnosticStatus.OK),
    ],
)
def test_what_is_done_is_compared_with_what_comes_and_is_wanted(
    monitor: CameraMonitor, rate_hz: float, limit_hz: float, frame_s: float, level: bytes
) -> None:
    robot = Robot(monitor, max_rate_hz=limit_hz)
    levels = robot.run(every(1 / rate_hz, 120), 120, frame_s)
    assert set(levels[30:]) == {level}
    told = values(robot.status())
    possible = 1 / frame_s
    wanted = min(rate_hz, limit_hz or math.inf)
    assert float(told['output_frequency']) == pytest.approx(min(possible, wanted), rel=0.25)
    limited = level == DiagnosticStatus.WARN and limit_hz > 0
    assert (f'that max_rate_hz {limit_hz:g} allows' in robot.status().message) == limited


def test_pauses_are_no_lack_of_speed(monitor: CameraMonitor) -> None:
    robot = Robot(monitor, max_rate_hz=5.0)
    levels = robot.run(every(0.1, 10), 10, 0.05)
    for _ in range(3):
        robot.run([], 60)
        levels += robot.run(every(1 / 30, 10), 10, 0.05)
    assert set(levels) == {DiagnosticStatus.OK}
    robot.run([], 60)
    robot.run(every(1 / 30, 10), 10, 1.0)
    assert ' of 5.00 that come (30.00 Hz) ' in robot.status().message


def test_what_a_frame_that_does_not_end_costs_is_no_lack_of_speed(monitor: CameraMonitor) -> None:
    robot = Robot(monitor)
    assert set(robot.run(every(0.1, 10), 10, 0.05)) == {DiagnosticStatus.OK}
    robot.settings['stall'] = DiagnosticStatus.ERROR, 'inside'
    assert set(robot.run(every(0.1, 60), 60, 80.0)) == {DiagnosticStatus.ERROR}
    assert robot.status().message == 'inside'
    del robot.settings['stall']
    robot.now += 30.0
    assert set(robot.run([0.0, 0.001, *every(0.1, 10)[1:]], 10)) == {DiagnosticStatus.OK}
    assert float(values(robot.status())['output_frequency']) == pytest.approx(10.0, rel=0.1)


def test_two_masks_at_once_are_no_rate() -> None:
    rhythm = Rhythm()
    for arrival in (0.0, 50.0, 50.001):
        rhythm.add(arrival)
    assert rhythm.frequency(50.5) == pytest.approx(2.0, rel=0.1)


def test_a_limit_that_is_set_counts_at_once(monitor: CameraMonitor) -> None:
    robot = Robot(monitor)
    assert DiagnosticStatus.OK not in robot.run(every(1 / 30, 20), 20, 0.15)[1:]
    robot.settings['max_rate_hz'] = 5.0
    assert set(robot.run(every(1 / 30, 20), 20, 0.15)) == {DiagnosticStatus.OK}


def test_a_warning_at_its_limit_does_not_flap(monitor: CameraMonitor) -> None:
    robot = Robot(monitor, expected_frequency=10.0)
    levels = []
    for round_ in range(20):
        rate_hz = 9.1 if round_ % 2 else 8.8
        levels += robot.run(every(1 / rate_hz, 5), 5)
    assert set(levels[20:]) == {DiagnosticStatus.WARN}
    levels = robot.run(every(0.1, 60), 60)
    assert levels[-30:] == [DiagnosticStatus.OK] * 30


def test_last_warning_says_how_long_ago_it_was() -> None:
    last, warning = Lasting(), (DiagnosticStatus.WARN, 'slow')
    assert last('budget', 50.0, None, 0.0) is None
    assert last('budget', 50.0, warning, 1.0) == warning
    assert last('temperature', 85.0, None, 4.0) is None
    assert last('budget', 50.0, None, 4.0) == (DiagnosticStatus.WARN, 'slow (3 s ago)')
    assert last('budget', 50.0, None, 11.0) is None
    assert last('budget', 50.0, None, 4.0) is None  # and does not come back
    assert last('budget', 50.0, warning, 20.0) == warning
    assert last('budget', 60.0, None, 21.0) is None  # another limit, another question


def test_stamps_that_jump_are_no_interval(monitor: CameraMonitor) -> None:
    jumps = [0, 3600 * SECOND, 10 * SECOND, -5 * SECOND]  # a clock that is set, a looped bag
    for number, jump in enumerate(jumps):
        for index in range(10):
            time_s = number + index / 10
            monitor.note(time_s, jump + round(time_s * SECOND), 0, 'bgr8')
    status = monitor.status(Counts(40, 40, 0, 0, 0), 4.0)
    told = values(status)
    assert status.level == DiagnosticStatus.OK
    assert (told['frame_rate_node'], told['frame_rate_msg']) == ('10.000', '10.000')
    assert told['num_non_increasing_msg'] == '2'


def test_a_recording_that_begins_again_keeps_its_rate(monitor: CameraMonitor) -> None:
    for index in range(20):
        monitor.note(index / 10, (index % 10) * SECOND // 5, 0, 'bgr8')
    told = values(monitor.status(Counts(20, 20, 0, 0, 0), 2.0))
    assert (told['frame_rate_node'], told['frame_rate_msg']) == ('10.000', '5.000')
    assert told['num_non_increasing_msg'] == '1'


@pytest.mark.parametrize(
    'stamps', [(-(2**31) * SECOND, 2**31 * SECOND), (5, 5), (9 * SECOND, 1 * SECOND)]
)
def test_absurd_stamps_are_only_told(monitor: CameraMonitor, stamps: tuple[int, int]) -> None:
    for arrival, stamp in enumerate(stamps):
        monitor.note(arrival, stamp, 1_700_000_000 * SECOND, 'bgr8')
    told = values(monitor.status(Counts(2, 2, 0, 0, 0), 2.0))
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
        'detail_share',
    ]


def test_a_stage_that_nobody_has_heard_of_is_told_in_its_place() -> None:
    stages = StageWindows()
    stages.add_cloud(5.0)
    stages.add({'convert': 1.0, 'publish': 1.0, 'total': 2.0}, latency_ms=3.0)
    stages.add({'convert': 1.0, 'unheard of': 7.0, 'publish': 1.0, 'total': 9.0}, latency_ms=9.0)
    told = stages.values()
    assert told['unheard of_p50_ms'] == '7.000'
    assert list(stage_percentiles(told)) == [
        'convert',
        'unheard of',
        'publish',
        'total',
        'cloud',
        'latency',
    ]


def test_node_status_sums_the_cameras() -> None:
    counts = [Counts(5, 3, 1, 1, 0), Counts(2, 1, 0, 0, 1)]
    status = node_status('/segmentation', 'active', counts, {'backend': 'onnxruntime'})
    assert (status.name, status.level) == ('/segmentation: segmentation', DiagnosticStatus.OK)
    told = values(status)
    assert [told[f'frames_{name}'] for name in Counts._fields] == ['7', '4', '1', '1', '1', '0']
    assert told['backend'] == 'onnxruntime'
    broken = node_status('/segmentation', 'unconfigured', [], {}, check_failure('no bundle'))
    assert (broken.level, broken.message) == (DiagnosticStatus.ERROR, 'no bundle')


def test_the_worst_problem_comes_first() -> None:
    warning = (DiagnosticStatus.WARN, 'slow')
    assert worst(None, warning, check_failure('broken')) == (
        DiagnosticStatus.ERROR,
        'broken; slow',
    )
    assert worst(None, check_fallback(''), check_failure(''), otherwise='active') == (
        DiagnosticStatus.OK,
        'active',
    )
    assert check_fallback('no GPU') == (DiagnosticStatus.WARN, 'no GPU')


def test_budget() -> None:
    latencies = [100.0] * 95 + [300.0] * 5
    assert check_latency(latencies, 200.0) is None
    level, text = check_latency([*latencies, 310.0], 200.0)
    assert level == DiagnosticStatus.WARN
    assert text == ('6 of 101 frames took longer than latency.budget_ms 200, the longest 310 ms')
    assert check_latency(latencies, 0.0) is None
    assert check_latency([], 200.0) is None


def test_refinement_that_is_cut_short() -> None:
    assert check_refinement_budget([], 50.0) is None
    assert check_refinement_budget([None, None, 1.0], 50.0) is None
    level, text = check_refinement_budget([1.0, 0.75, None, 0.4], 50.0)
    assert level == DiagnosticStatus.WARN
    assert text == (
        'refine_budget_ms 50 ended before the boundaries of 2 of 4 frames, of one after 40%: the '
        'rest is as the network gave it'
    )


def test_hot_gpu() -> None:
    assert check_temperature(84.9, 85.0) is None
    assert check_temperature(None, 85.0) is None
    assert check_temperature(120.0, 0.0) is None
    level, text = check_temperature(91.0, 85.0)
    assert level == DiagnosticStatus.WARN
    assert text.startswith('GPU at 91 degrees C, diagnostics.gpu_temperature_limit is 85')


def test_latencies_are_taken_once() -> None:
    stages = StageWindows()
    stages.add({}, 5.0)
    stages.add({}, 6.0, 0.5)
    assert stages.take_recent() == [Recent(5.0), Recent(6.0, refined_share=0.5)]
    assert stages.take_recent() == []


@pytest.mark.parametrize('count', [1, 11, 18, 60])
def test_dashboard_has_room_for_every_stage(count: int) -> None:
    stages = StageWindows()
    stages.add({f'stage {index}': 100.0 for index in range(count)}, latency_ms=100.0)
    picture = draw_dashboard([node_status('/segmentation', 'active', [], stages.values())])
    bars = (picture == P50_COLOR).all(axis=2).any(axis=1)
    drawn = int(bars[0]) + int(np.count_nonzero(np.diff(bars.astype(int)) == 1))
    most = (HEIGHT - 96) // 14
    assert drawn == (count + 1 if count + 1 <= most else most - 1)
    assert not bars[-1]  # the last one is whole


def test_dashboard_shows_the_camera_that_is_worse_than_the_node(monitor: CameraMonitor) -> None:
    node = node_status('/segmentation', 'active', [], {})
    camera = monitor.status(Counts(0, 0, 0, 0, 0), 5.0)
    pictures = [draw_dashboard(statuses) for statuses in ([node], [camera, node])]
    top = [tuple(picture[0, 0]) for picture in pictures]
    assert top[0] != top[1]
    camera.message = node.message = 'x' * 100_000
    assert draw_dashboard([camera, node]).shape == (HEIGHT, WIDTH, 3)


def test_dashboard_breaks_a_long_message() -> None:
    """In two lines of about one size, each as tall as a short one, and nothing is covered."""
    status = node_status('/segmentation', 'active', [], {})
    short = draw_dashboard([status])
    status.message = 'the camera sends frames that are no images: ' * 3
    long = draw_dashboard([status])
    bar = (short == short[0, 0]).all(axis=2).any(axis=1).sum()
    row = 24
    assert (long[: bar + row] == short[0, 0]).all(axis=2).any(axis=1).all()
    np.testing.assert_array_equal(long[bar + row :], short[bar:-row])


def test_dashboard_draws_what_the_status_says() -> None:
    stages = StageWindows()
    stages.add({'semantic': 25.0, 'detail': 100.0}, latency_ms=100.0)
    counts = [Counts(5, 3, 1, 1, 0)]
    status = node_status('/segmentation', 'active', counts, stages.values())
    picture = draw_dashboard([status])
    assert picture.shape == (HEIGHT, WIDTH, 3)
    problem = check_failure('no bundle\nline two')
    broken = node_status('/segmentation', 'unconfigured', [], {}, problem)
    assert (draw_dashboard([broken])[0, 0] != picture[0, 0]).any()
    bars = (picture == P50_COLOR).all(axis=2).sum(axis=1)
    lengths = sorted(set(bars[bars > 0]))
    assert lengths[-1] == pytest.approx(4 * lengths[0], rel=0.02)
