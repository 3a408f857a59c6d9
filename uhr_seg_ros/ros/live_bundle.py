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

"""Another bundle, and other classes, while the node is configured."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Lock, Thread
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.lifecycle import LifecycleNode
from rclpy.parameter import Parameter

from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.core.errors import UhrSegError
from uhr_seg_ros.pipelines.choosing import needs_one_thread
from uhr_seg_ros.pipelines.relabeling import Relabeling
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.ros.frame_processor import FrameProcessor
from uhr_seg_ros.ros.parameters.settings import Settings
from uhr_seg_ros.ros.points.ground_classes import ground_values
from uhr_seg_ros.ros.topics.status import Problem
from uhr_seg_ros.ros.transitions import describe
from uhr_seg_ros.ros.worker import Worker

_UNDONE = {
    'bundle': 'bundle',
    'classes.merge': 'classes_merge',
    'classes.hide': 'classes_hide',
    'classes.colors': 'classes_colors',
}
"""Parameters, and their fields, that go back to what runs where a bundle cannot be loaded."""


class LiveBundle:
    """
    Follows the parameters that say what runs.

    Another bundle is loaded beside the one that runs, and takes its place between two frames.
    Where engines belong to the thread that opens them, as those of CUDA do, the worker loads it
    and no frame is processed meanwhile; else that is done on a thread of its own.

    Args:
        node: whose parameters go back where a bundle cannot be loaded.
        processor: runs the bundle.
        worker: on whose thread that is.
        settings: gives the parameters of this moment.
        state: gives the label of the lifecycle state.

    Attributes:
        loading: the bundle that is being loaded; or empty.

    """

    def __init__(
        self,
        node: LifecycleNode,
        processor: FrameProcessor,
        worker: Worker,
        settings: Callable[[], Settings],
        state: Callable[[], str],
    ) -> None:
        self._node, self._processor, self._worker = node, processor, worker
        self._settings, self._state = settings, state
        self._lock = Lock()
        self._ticket = 0  # of the load that counts
        self._turn = Lock()  # one that nobody wants any more ends before the next one begins
        self._threads: list[Thread] = []
        self._failure = ''
        self.loading = ''

    @property
    def is_busy(self) -> bool:
        """Whether a thread is inside loading a bundle, which nothing can end."""
        return any(thread.is_alive() for thread in tuple(self._threads))

    def problem(self) -> Problem | None:
        """Judge whether what is wanted runs, or will."""
        if self.loading:
            runs = self._processor.applied.bundle
            return DiagnosticStatus.OK, f'loading bundle {self.loading}; {runs} runs until then'
        return (DiagnosticStatus.WARN, self._failure) if self._failure else None

    def review(self, new: Settings) -> str:
        """Return why what is wanted cannot run here, by what can be seen at once; or empty."""
        state = self._state()
        if state not in ('active', 'inactive') or not self._processor.is_loaded:
            if state != 'unconfigured' and new.bundle != self._settings().bundle:
                return f'bundle cannot change while the node is {state}: set it again afterwards'
            return ''
        try:
            if new.bundle == self._processor.applied.bundle:
                classes = self._processor.bundle.classes
            else:
                classes = load_bundle(new.bundle).classes
            check_classes(classes, new)
        except UhrSegError as err:
            return str(err)
        return ''

    def follow(self, old: Settings, new: Settings) -> None:
        """Do what a change of the parameters asks for."""
        if not self._processor.is_loaded:
            return
        if new.bundle != self._processor.applied.bundle:
            if new.bundle != old.bundle and self._state() in ('active', 'inactive'):
                self._load(new)
            return
        if self.loading:
            self.cancel()
        before = old.class_edits, old.confidence_threshold
        if before != (new.class_edits, new.confidence_threshold):
            self._worker.call(self._relabel, 'changing classes')

    def cancel(self) -> None:
        """Give up what is being loaded; what failed before is no matter any more."""
        with self._lock:
            self._ticket += 1
            self.loading = self._failure = ''

    def _relabel(self) -> None:
        settings = self._settings()
        if settings.bundle != self._processor.applied.bundle:
            return  # comes with the other bundle
        try:
            self._processor.relabel(settings)
        except UhrSegError as err:  # set while the node was being configured
            self._node.get_logger().error(f'classes stay as they were: {err}')

    def _load(self, settings: Settings) -> None:
        with self._lock:
            self._ticket += 1
            ticket = self._ticket
            self.loading, self._failure = settings.bundle, ''
        runs = self._processor.applied.bundle
        self._node.get_logger().info(f'loading bundle {settings.bundle} beside {runs}')
        load = partial(self._open, ticket, settings, time.monotonic())
        if needs_one_thread(settings.backend):
            self._worker.call(partial(load, _now), f'loading bundle {settings.bundle}')
            return
        run = partial(load, partial(self._worker.call, what='swapping bundles'))
        thread = Thread(target=run, name='bundle_loading', daemon=True)
        self._threads = [each for each in self._threads if each.is_alive()] + [thread]
        thread.start()

    def _open(
        self,
        ticket: int,
        settings: Settings,
        start: float,
        on_worker: Callable[[Callable[[], None]], Any],
    ) -> None:
        with self._turn:
            if ticket != self._ticket:
                return
            try:
                segmenter = self._processor.open(settings)
            except Exception as error:  # whatever it is, the old one runs on
                self._fail(ticket, settings, error)
                return
            on_worker(partial(self._adopt, ticket, segmenter, settings, start))

    def _adopt(self, ticket: int, segmenter: Segmenter, settings: Settings, start: float) -> None:
        now, before = self._settings(), self._processor.applied.bundle
        if ticket != self._ticket or now.bundle != settings.bundle:  # another one is wanted by now
            segmenter.close()
            self._end(ticket)
            return
        try:
            self._processor.adopt(segmenter, now)
        except Exception as error:
            if not self._processor.runs(segmenter):
                segmenter.close()
            self._fail(ticket, settings, error)
            return
        self._end(ticket)
        seconds = time.monotonic() - start
        self._node.get_logger().info(
            f'{self._processor.name} runs in the place of {before}, after {seconds:.1f} s'
        )

    def _end(self, ticket: int) -> None:
        with self._lock:
            self.loading = '' if ticket == self._ticket else self.loading

    def _fail(self, ticket: int, settings: Settings, error: Exception) -> None:
        """Tell why a bundle does not run, and let the parameters say what does."""
        with self._lock:
            if ticket != self._ticket:
                return
            self.loading = ''
            runs = self._processor.applied
            self._failure = (
                f'bundle {settings.bundle} could not be loaded, {runs.bundle} runs on: '
                f'{describe(error)}'
            )
        self._node.get_logger().error(self._failure)
        now = self._settings()
        back = [
            Parameter(name, value=_value(getattr(runs, field)))
            for name, field in _UNDONE.items()
            if getattr(runs, field) != getattr(now, field)
        ]
        result = self._node.set_parameters_atomically(back)
        if not result.successful:
            self._node.get_logger().warning(f'bundle stays {now.bundle}: {result.reason}')


def check_classes(classes: ClassSet, settings: Settings) -> None:
    """
    Check that the classes of a bundle are there which the parameters name.

    Raises:
        ConfigError: one is not.

    """
    shown = Relabeling(classes, settings.class_edits).classes
    if settings.ground_frame:
        ground_values(shown, settings.ground_free, settings.ground_occupied)


def _now(job: Callable[[], None]) -> None:
    job()


def _value(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
