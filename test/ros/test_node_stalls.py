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

"""What the node says of itself while no masks come, and of time that jumps."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Event, Thread

from diagnostic_msgs.msg import DiagnosticStatus
from gate import Gate
import pytest
from rclpy.publisher import Publisher
from rosgraph_msgs.msg import Clock
from stage import example_mask, frame, RELIABLE, Stage, wait_until
from tiny_bundle import paint

from uhr_seg_ros.ros import stalls
from uhr_seg_ros.ros.frame_rates import Pace
from uhr_seg_ros.ros.stalls import MIN_S, pace_limits, Sign, stalled, UNKNOWN_S

MakeStage = Callable[..., Stage]
OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
STALE = DiagnosticStatus.STALE
NODE = '/segmentation: segmentation'


class Film:
    """Publishes frames for as long as a test lasts."""

    def __init__(
        self, camera: Publisher, period_s: float = 0.1, clock: Publisher | None = None
    ) -> None:
        self._starts = deque([1.0])
        self._camera = camera
        self._period_s = period_s
        self._clock = clock
        self._ended = Event()
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        image, stamp = paint(example_mask()), 0.0
        while not self._ended.wait(self._period_s):
            stamp = self._starts.popleft() if self._starts else stamp + self._period_s
            message = frame(image, stamp)
            if self._clock is not None:
                self._clock.publish(Clock(clock=message.header.stamp))
            self._camera.publish(message)

    def begin_again(self, stamp: float) -> None:
        """Let the stamps go on from here, s."""
        self._starts.append(stamp)

    def __enter__(self) -> Film:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


def levels(stage: Stage, *names: str) -> list[bytes]:
    return [stage.status(name).level for name in names]


def pace(*seconds: float, size: tuple[int, int] = (4, 4)) -> Pace:
    pace = Pace()
    pace.begin(size)
    for each in (100.0, *seconds):  # the first one of its size does not count
        pace.add(size, each)
    return pace


@pytest.mark.parametrize(
    ('usual', 'warning', 'error'),
    [
        ([], *UNKNOWN_S),
        ([0.02] * 9, *MIN_S),
        ([0.02, 0.02, 0.02, 9.0, 0.02], *MIN_S),  # one was slow
        ([5.0], 15.0, 50.0),
        ([5.0, 6.0] * 4, 18.0, 60.0),  # 8K on a CPU
    ],
)
def test_what_is_slow_depends_on_what_is_usual(
    usual: list[float], warning: float, error: float
) -> None:
    def level(seconds: float) -> bytes:
        problem = stalled(pace(*usual), 1000.0, 1000.0 + seconds, '/image_raw')
        return problem[0] if problem else OK

    assert [level(warning - 0.1), level(warning), level(error - 0.1), level(error)] == [
        OK,
        WARN,
        WARN,
        ERROR,
    ]


def test_a_new_size_may_take_longer() -> None:
    usual = pace(*[0.02] * 9)
    usual.begin((4320, 7680))
    assert pace_limits(usual) == UNKNOWN_S
    usual.add((4320, 7680), 90.0)
    assert pace_limits(usual) == UNKNOWN_S
    usual.begin((4320, 7680))
    usual.add((4320, 7680), 5.0)
    assert pace_limits(usual) == (15.0, 50.0)
    usual.begin((4, 4))  # both are known now, whatever the order
    assert pace_limits(usual) == MIN_S
    usual.begin((4320, 7680))
    assert pace_limits(usual) == (15.0, 50.0)
    usual.forget()
    assert pace_limits(usual) == UNKNOWN_S
    for side in range(100):
        usual.begin((side, side))
        usual.add((side, side), 1.0)
    assert len(usual._times) <= 8


def test_a_build_that_goes_on_is_no_error() -> None:
    usual = pace()
    for seconds in range(0, 1200, 10):
        sign = Sign('building engine detail: 3 of 90', 990.0 + seconds, builds=True)
        level, text = stalled(usual, 1000.0, 1020.0 + seconds, '/image_raw', sign) or (OK, '')
        assert level == WARN
        assert ('building engine detail' in text) == (seconds >= 10)
    last = Sign('building engine detail: 90 of 90', 2000.0, builds=True)
    assert stalled(usual, 1000.0, 2000.0 + 1801.0, '/image_raw', last)[0] == ERROR
    # A frame of 10^9 px on the CPU tells how far it is.
    rows = Sign('5 of 20 rows of patches', 1100.0, builds=False)
    assert stalled(usual, 1000.0, 1130.0, '/image_raw', rows)[0] == WARN
    assert stalled(usual, 1000.0, 1161.0, '/image_raw', rows)[0] == ERROR


def test_an_engine_that_hangs_is_told_by_every_status(
    make_stage: MakeStage, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ('MIN_S', 'UNKNOWN_S'):
        monkeypatch.setattr(stalls, name, (1.0, 5.0))
    for module in ('camera_monitor', 'reporting'):  # a busy machine may have dropped frames
        monkeypatch.setattr(f'uhr_seg_ros.ros.{module}.HOLD_S', 0.5)
    stage = make_stage(cameras=['front', 'left'], max_rate_hz=100.0)
    names = '/front/image_raw', '/left/image_raw', NODE
    with Film(stage.camera('front/image_raw')), Film(stage.camera('left/image_raw')):
        wait_until(lambda: set(levels(stage, *names)) == {OK}, 'all is well')
        before = len(stage.diagnostics)
        gate.close()
        wait_until(lambda: set(levels(stage, *names)) == {ERROR}, 'all are errors')
        texts = [stage.status(name).message for name in names]
        seen = [
            tuple(status.level for status in array.status) for array in stage.diagnostics[before:]
        ]
        # From OK by WARN to ERROR, never back, and all of them at once.
        assert all(column == tuple(sorted(column)) for column in zip(*seen, strict=True)), seen
        assert (WARN,) * 3 in seen
        assert next(each for each in seen if ERROR in each) == (ERROR,) * 3
        for text in texts:
            assert 'the node is inside one frame of /' in text
            assert 'max_rate_hz' not in text and 'no frame' not in text
        assert float(stage.values(names[0])['output_age_s']) >= 5.0
        wait_until(lambda: stage.values(names[0])['output_frequency'] == '0.000', 'no output')
        gate.open()
        wait_until(lambda: ERROR not in levels(stage, *names), 'it works again')
        wait_until(lambda: stage.values(names[0])['output_frequency'] != '0.000', 'output')
    assert not any('Check the topic' in line for line in stage.log_lines())


def test_frames_that_wait_for_something_else_are_told(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stalls, 'UNKNOWN_S', (0.5, 2.0))
    stage, release = make_stage(), Event()
    camera = stage.camera()
    stage.node._worker.call(lambda: release.wait(60.0), 'a job of a test')
    try:
        with Film(camera):
            for level in (WARN, ERROR):
                wait_until(lambda level=level: stage.status('/image_raw').level == level, 'it')
            text = stage.status('/image_raw').message
            assert text.startswith('no mask of /image_raw for ')
            assert 'though frames come: the node is inside a job of a test for ' in text
            assert stage.status(NODE).level == ERROR
            assert stage.change('deactivate')
            wait_until(lambda: levels(stage, '/image_raw', NODE) == [STALE, OK], 'nothing waits')
            assert stage.status('/image_raw').message.startswith('not subscribed')
    finally:
        release.set()


def test_two_nodes_on_one_camera_have_statuses_of_their_own(make_stage: MakeStage) -> None:
    stage = make_stage()
    make_stage(_cli_args=['--ros-args', '-r', '__ns:=/other', '-r', 'image_raw:=/image_raw'])

    def seen() -> dict[str, str]:
        statuses = [status for array in stage.diagnostics for status in array.status]
        return {status.name: status.hardware_id for status in statuses}

    wait_until(lambda: len(seen()) >= 4, 'four statuses')
    assert seen() == {
        f'{node}: {what}': node
        for node in ('/segmentation', '/other/segmentation')
        for what in ('/image_raw', 'segmentation')
    }


@pytest.mark.parametrize('use_sim_time', [True, False])
def test_levels_and_rates_outlive_a_jump_of_time(
    make_stage: MakeStage, use_sim_time: bool
) -> None:
    """A looped recording: its stamps begin again, with a `/clock` or without."""
    stage = make_stage(use_sim_time=use_sim_time)
    clock = stage.watcher.create_publisher(Clock, '/clock', RELIABLE)
    with Film(stage.camera(), clock=clock if use_sim_time else None) as film:
        for start in (5000.0, 1000.0, 9000.0):
            before = stage.received()
            film.begin_again(start)

            def is_well(before: int = before) -> bool:
                values = stage.values('/image_raw')
                rates = ('frame_rate_node', 'frame_rate_msg', 'output_frequency')
                return (
                    stage.received() > before + 3
                    and levels(stage, '/image_raw', NODE) == [OK, OK]
                    and all(0.5 < float(values[rate]) < 15.0 for rate in rates)
                )

            wait_until(is_well, 'all is well', last=lambda: stage.values('/image_raw'))
        values = stage.values('/image_raw')
        if use_sim_time:
            assert abs(float(values['current_delay_from_realtime_ms'])) < 10_000.0
        assert values['num_non_increasing_msg'] == '1'
