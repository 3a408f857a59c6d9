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

"""The segmentation node: lifecycle and wiring."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
import sys
from threading import Event
import time
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import InvalidHandle
from rclpy.lifecycle import LifecycleNodeMixin, LifecycleState
from rclpy.lifecycle import TransitionCallbackReturn as Return
from rclpy.node import Node

from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.core.cuda_driver import GpuLostError
from uhr_seg_ros.core.memory import trim_heap, tune_malloc
from uhr_seg_ros.image_io.video_decoder import check_decoder
from uhr_seg_ros.ros.camera import Camera
from uhr_seg_ros.ros.frame_processor import FrameProcessor
from uhr_seg_ros.ros.live_bundle import LiveBundle
from uhr_seg_ros.ros.messages.remarks import Throttle
from uhr_seg_ros.ros.parameters.node_parameters import Parameters
from uhr_seg_ros.ros.parameters.settings import Settings
from uhr_seg_ros.ros.parameters.usage import answer
from uhr_seg_ros.ros.points.cloud_labeler import CloudHooks
from uhr_seg_ros.ros.points.transforms import TransformFinder
from uhr_seg_ros.ros.process import RCLError, run, StoppableNode
from uhr_seg_ros.ros.reporting import Reporter
from uhr_seg_ros.ros.segment_requests import SegmentRequests
from uhr_seg_ros.ros.services import Services
from uhr_seg_ros.ros.topics.names import message_class, TRANSPORTS
from uhr_seg_ros.ros.topics.sim_clock import SimClockNode
from uhr_seg_ros.ros.topics.time_jumps import TimeJumps
from uhr_seg_ros.ros.transitions import (
    describe,
    Failures,
    Limit,
    reported,
    run_and_wait,
    WorkerBusyError,
    WorkerTimeoutError,
)
from uhr_seg_ros.ros.watchdog import Watchdog
from uhr_seg_ros.ros.worker import Worker

DIAGNOSTICS_PERIOD_S = 1.0
QOS_PERIOD_S = 0.5


class SegmentationNode(SimClockNode, StoppableNode):
    """
    Turns camera frames into masks.

    One worker owns the engines and publishes. The executor has two threads: one may take a frame
    or wait in a transition for the worker while the other one serves everything else.

    Args:
        node_arguments: passed on to `rclpy.node.Node`, such as `context`.

    Attributes:
        failures: what went wrong in the last transition.
        watchdog: tells whether a frame has been inside for too long.

    """

    def __init__(self, **node_arguments: Any) -> None:
        Node.__init__(self, 'segmentation', **node_arguments)
        # LifecycleNode.__init__ does the same two calls, but cannot pass the group on: with it,
        # the node's state can be asked for while it loads a model.
        self._transitions = ReentrantCallbackGroup()
        LifecycleNodeMixin.__init__(self, callback_group=self._transitions)
        self.failures = Failures(self.get_logger())
        self._is_final = False
        self._stopping = Event()
        self._declared = Parameters(
            self,
            lambda: self._state == 'unconfigured',
            lambda new: self._live.review(new),
            lambda old, new: self._live.follow(old, new),
        )
        settings = self._declared.settings
        self._throttle = Throttle()
        self._jumps = TimeJumps(self)
        self._cameras = {
            name: Camera(
                self,
                name,
                settings.image_transport,
                self._jumps,
                partial(self._warn, name, 'camera_info'),
            )
            for name in settings.cameras
        }
        self._processor = FrameProcessor(
            self._cameras, self._declared, self.get_logger(), self._run_later
        )
        self._transforms: TransformFinder | None = None
        self.watchdog = Watchdog(
            lambda: self._declared.settings.watchdog_timeout,
            lambda: self._processor.engines.last_sign,
        )
        self._worker = Worker(
            settings.cameras,
            self._processor.process,
            self._on_rejected,
            self._processor.min_interval,
            self.watchdog.note,
        )
        about = (lambda: self._declared.settings), (lambda: self._state)
        self._live = LiveBundle(self, self._processor, self._worker, *about)
        self._on_request = Services(self, self._worker, self._processor.samples, *about)
        self._requests = SegmentRequests(
            self, self._processor.segment, self._run_later, self._on_refused
        )
        self._start_timers(settings)

    @property
    def _state(self) -> str:
        """Label of the lifecycle state, as rclpy has it: an own copy could differ."""
        return self._state_machine.current_state[1]

    @reported('cannot be configured')
    def on_configure(self, state: LifecycleState) -> Return:
        """Load the bundle and announce the outputs; a bad bundle leaves it unconfigured."""
        self.failures.clear()
        try:
            self._open(self._declared.settled())
        except Exception as error:
            self.failures.add('cannot be configured', error)
            self._note_loss(error)
            failure = self.failures.text
            self._close(waits=not isinstance(error, WorkerTimeoutError))
            return Return.FAILURE if self.failures.text == failure else Return.ERROR
        return super().on_configure(state)

    @reported('cannot be activated')
    def on_activate(self, state: LifecycleState) -> Return:
        """Publish what is processed, and subscribe."""
        settings = self._declared.settings
        self.failures.clear()
        super().on_activate(state)  # before the inputs: until then, publications are discarded
        self._worker.resume()
        try:
            for camera in self._cameras.values():
                camera.open_input(settings, self._worker)
            self._requests.open_input()
        except Exception as error:  # such as an override of a QoS that does not exist
            self.failures.add('cannot be activated', error)
            failure = self.failures.text
            self._close_inputs()
            super().on_deactivate(state)
            return Return.FAILURE if self.failures.text == failure else Return.ERROR
        return Return.SUCCESS

    @reported('cannot be deactivated')
    def on_deactivate(self, state: LifecycleState) -> Return:
        """Unsubscribe and drop the frames that wait; the models stay loaded."""
        self.failures.clear()
        self._close_inputs()
        result = super().on_deactivate(state)
        return Return.ERROR if self.failures.text else result

    @reported('cannot be cleaned up')
    def on_cleanup(self, state: LifecycleState) -> Return:
        """Withdraw the outputs and unload the models; it stays inactive while they are in use."""
        self.failures.clear()
        try:
            self._close(waits=True)
        except WorkerBusyError as error:
            self.failures.add('cannot be cleaned up', error)
            return Return.FAILURE
        return Return.ERROR if self.failures.text else super().on_cleanup(state)

    @reported('cannot be shut down as it should')
    def on_shutdown(self, state: LifecycleState) -> Return:
        """Do what cleaning up does, from any state and for good."""
        self.failures.clear()
        self._is_final = True
        try:
            self._close(waits=True)
        except WorkerBusyError as error:
            self.failures.add('is shut down, but for the models', error)
            self._close(waits=False)
            return Return.FAILURE  # which makes it finalized, too
        return Return.ERROR if self.failures.text else super().on_shutdown(state)

    @reported('cannot close what an error has left')
    def on_error(self, state: LifecycleState) -> Return:
        """Close what is left, waiting for nothing: then it is unconfigured, or finalized."""
        self._close(waits=False)
        super().on_error(state)
        return Return.FAILURE if self._is_final else Return.SUCCESS

    def stop(self, timeout: float) -> bool:
        """
        Begin nothing more, and wait for the frame in work.

        Args:
            timeout: s.

        Returns:
            Whether the worker has ended; if not, it is inside an engine, or another thread is.

        """
        self._stopping.set()
        worker: Worker | None = getattr(self, '_worker', None)  # none after a refused parameter
        if worker is None:
            return True
        self._processor.samples.give_up()
        self._live.cancel()
        return worker.stop(timeout) and not self._live.is_busy

    def destroy_node(self) -> None:
        """Stop and withdraw everything."""
        self.stop(1.0)
        cameras: dict[str, Camera] = getattr(self, '_cameras', {})
        for camera in cameras.values():
            camera.close_stream()
        transforms: TransformFinder | None = getattr(self, '_transforms', None)
        if transforms is not None:
            transforms.listen(False)
        jumps: TimeJumps | None = getattr(self, '_jumps', None)
        if jumps is not None:
            jumps.close()
        super().destroy_node()

    def _start_timers(self, settings: Settings) -> None:
        reporter = Reporter(self, self._cameras, self._worker, self._processor, self._live)
        # The node's own clock stands still with use_sim_time while no simulation runs.
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(
            DIAGNOSTICS_PERIOD_S,
            lambda: reporter.publish(self._state, self.failures.text, self._declared.settings),
            clock=clock,
        )
        self.create_timer(QOS_PERIOD_S, self._check_publishers, clock=clock)
        if settings.autostart:
            once = MutuallyExclusiveCallbackGroup()
            self._autostart_timer = self.create_timer(
                0.001, self._autostart, callback_group=once, clock=clock
            )

    def _autostart(self) -> None:
        self._autostart_timer.cancel()
        try:
            if self.trigger_configure() == Return.SUCCESS:
                self.trigger_activate()
        except RCLError as error:  # Humble and Jazzy, if somebody else was faster
            self.get_logger().warning(f'autostart left to somebody else: {error}')

    def _open(self, settings: Settings) -> None:
        start = time.monotonic()
        message_class(settings.image_transport)  # or raises, as the next one
        if TRANSPORTS[settings.image_transport].is_stream:
            check_decoder(settings.decoder)
        self.get_logger().info(f'loading bundle {settings.bundle}')
        self._on_worker(
            partial(self._processor.load, settings),
            f'loading bundle {settings.bundle}',
            Limit('configure_timeout', lambda: self._declared.settings.configure_timeout),
        )
        for name, camera in self._cameras.items():
            warn = partial(self._warn, name, 'compressed output')
            camera.choose_transport(settings.image_transport)
            camera.open_output(self._processor.bundle, self._processor.labels, warn)
        self._requests.open_output()
        self._open_transformed(settings, self._processor.labels.classes)
        if self._processor.fallback:
            self.get_logger().warning(self._processor.fallback)
        seconds = time.monotonic() - start
        self.get_logger().info(f'{self._processor.name} is ready after {seconds:.1f} s')

    def _open_transformed(self, settings: Settings, classes: ClassSet) -> None:
        """Announce what needs to know where things are: labeled points, the ground."""
        if not settings.cloud_enabled and not settings.ground_frame:
            return
        self._transforms = self._transforms or TransformFinder(self, self._jumps)
        for name, camera in self._cameras.items():
            hooks = CloudHooks(
                settings=lambda: self._declared.settings,
                call=lambda job: self._worker.call(job, 'labeling points'),
                frames=partial(self._worker.stamps, name),
                jumps=self._jumps,
                remark=camera.remark,
                on_error=partial(self._warn, name, 'cloud'),
                on_time=self._processor.note_cloud,
            )
            if settings.cloud_enabled:
                camera.open_clouds(self._transforms, hooks)
            if settings.ground_frame:
                hooks = hooks._replace(on_error=partial(self._warn, name, 'ground grid'))
                camera.open_ground(classes, self._transforms, hooks)

    def _close_inputs(self) -> None:
        self._worker.pause()
        self._processor.samples.give_up()
        for name, camera in self._cameras.items():
            with self.failures.step(f'closing the inputs{_of(name)}'):
                camera.close_input()

        with self.failures.step('closing the input of requests'):
            self._requests.close_input()

    def _close(self, *, waits: bool) -> None:
        """
        Close what is open; a step that fails is told, and the others are taken all the same.

        Args:
            waits: until the models are unloaded; if not, that is done when the worker is free.

        Raises:
            WorkerBusyError: it is not; the outputs and the models are as they were.

        """
        self._close_inputs()
        self._live.cancel()
        if waits:
            # Behind the frame in work: afterwards nobody publishes.
            with self.failures.step('unloading the models'):
                self._on_worker(self._unload, 'unloading the models')
        else:
            self._worker.call(self._unload, 'unloading the models')
        for name, camera in self._cameras.items():
            with self.failures.step(f'withdrawing the outputs{_of(name)}'):
                camera.close_output()
        with self.failures.step('withdrawing the answers to requests'):
            self._requests.close_output()
        with self.failures.step('giving back memory'):
            trim_heap()

    def _unload(self) -> None:
        try:
            self._processor.unload()
        finally:
            trim_heap()

    def _run_later(self, job: Callable[[], object]) -> object:
        return self._worker.call(job)

    def _on_worker(self, job: Callable[[], Any], what: str, to_go_on: Limit | None = None) -> Any:
        """Run a job on the worker and wait for its result, as long as the parameters say."""
        limit = Limit('transition_timeout', lambda: self._declared.settings.transition_timeout)
        return run_and_wait(
            self._worker,
            job,
            what,
            self._stopping,
            to_begin=limit,
            to_go_on=to_go_on or limit,
            last_sign=lambda: self._processor.engines.last_sign,
        )

    def _note_loss(self, error: Exception) -> None:
        """Let the process end if the GPU is lost and nothing else runs in its place."""
        if not isinstance(error, GpuLostError) or self._processor.survives_loss():
            return
        if not self.fatal:
            self.fatal = f'the GPU is lost: {error}'
            self.failures.add('cannot go on', error)

    def _on_rejected(self, name: str, error: Exception) -> None:
        camera = self._cameras[name]
        self._note_loss(error)
        if self._stopping.is_set() or not self.context.ok():
            return  # the topics went away under the frame in work
        if camera.output is None:  # they did, as a transition did not wait for it
            camera.monitor.note_rejected('the node was closed while the frame was in work')
            return
        camera.monitor.note_rejected(describe(error))
        self._warn(name, 'frame', error)

    def _on_refused(self, error: Exception) -> None:
        self._note_loss(error)
        self._warn('', 'segment request', error)

    def _warn(self, name: str, what: str, error: Exception) -> None:
        """Log what was rejected, now and then."""
        if self._throttle.allows(name, what, error):
            camera = f'camera {name}: ' if name else ''
            self.get_logger().warning(f'{camera}{what} rejected: {describe(error)}')

    def _check_publishers(self) -> None:
        if self._transforms is not None:
            cameras = self._cameras.values()
            self._transforms.listen(any(camera.wants_transforms for camera in cameras))
        warning_s = self._declared.settings.no_frame_warning_s
        for name, camera in self._cameras.items():
            try:
                camera.check_publishers(warning_s)
            except InvalidHandle:  # a transition has closed it meanwhile
                continue
            except Exception as error:  # one of them must not end the node
                self._warn(name, 'following its publishers', error)


def _of(camera: str) -> str:
    return f' of camera {camera}' if camera else ''


def main(args: list[str] | None = None) -> None:
    """Run the executable `segmentation_node`, or say how it is called and exit."""
    if text := answer(sys.argv[1:] if args is None else args):
        print(text)
        return
    tune_malloc()
    sys.exit(run(SegmentationNode, args))


if __name__ == '__main__':
    main()
