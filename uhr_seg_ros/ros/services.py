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

"""What the node does on request: `~/enable` and `~/save_sample`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.lifecycle import LifecycleNode

from uhr_seg_ros.core.errors import UhrSegError
from uhr_seg_ros.core.resources import expand_home
from uhr_seg_ros.core.text import listed, one_line
from uhr_seg_ros.ros.diagnostics import IGNORES
from uhr_seg_ros.ros.parameters.settings import Settings
from uhr_seg_ros.ros.samples import SampleRequests, write_samples
from uhr_seg_ros.ros.worker import Worker

try:
    from std_srvs.srv import SetBool, Trigger
except ImportError:  # with wheels a package of its own
    SetBool = Trigger = None

WAIT_S = 10.0
"""So long `~/save_sample` waits for a frame, s, and two turns of `max_rate_hz` more."""


class Services:
    """
    Answers `~/enable` and `~/save_sample`, which are there as long as the node is.

    Args:
        node: owner of the services.
        worker: counts frames as ignored while the node is disabled.
        samples: where frames come from that are to be saved.
        settings: gives the parameters of this moment.
        state: gives the label of the lifecycle state.

    """

    def __init__(
        self,
        node: LifecycleNode,
        worker: Worker,
        samples: SampleRequests,
        settings: Callable[[], Settings],
        state: Callable[[], str],
    ) -> None:
        self._node, self._worker, self._samples = node, worker, samples
        self._settings, self._state = settings, state
        if Trigger is None:
            node.get_logger().warning(
                'std_srvs is not installed: no services ~/enable and ~/save_sample. Install '
                'ros-$ROS_DISTRO-std-srvs, or pip install ros-std-srvs'
            )
            return
        self._serve(SetBool, '~/enable', self._enable)
        self._serve(Trigger, '~/save_sample', self._save_sample)

    def _serve(self, kind: type, name: str, answer: Callable[[Any, Any], Any]) -> None:
        # A group of its own: what one waits for holds up nothing but itself.
        group = MutuallyExclusiveCallbackGroup()
        self._node.create_service(kind, name, answer, callback_group=group)

    def _enable(self, request: Any, response: Any) -> Any:
        self._worker.ignore(not request.data)
        response.success = True
        response.message = 'frames are processed' if request.data else IGNORES
        self._node.get_logger().info(f'~/enable {str(request.data).lower()}: {response.message}')
        if not request.data:
            self._samples.give_up()
        return response

    def _save_sample(self, request: Any, response: Any) -> Any:
        settings = self._settings()
        try:
            response.message = self._save(settings)
        except (UhrSegError, OSError) as err:
            response.message = one_line(err)
            self._node.get_logger().warning(f'~/save_sample: {response.message}')
        else:
            response.success = True
            self._node.get_logger().info(f'~/save_sample: {response.message}')
        return response

    def _save(self, settings: Settings) -> str:
        """Save the next frame of each camera, and return where; or raise why not."""
        self._check(settings)
        timeout = WAIT_S + 2 * settings.min_interval_s
        samples = self._samples.collect(settings.cameras, timeout)
        missing = [each for each in settings.cameras if each not in samples]
        path = None
        if samples:
            folder = expand_home(settings.save_sample_folder).absolute()
            path = write_samples(folder, samples)
        if missing:
            cameras = f' of {listed(missing)}' if any(missing) else ''
            why = self._obstacle() or f'none was processed within {timeout:g} s'
            msg = f'{path} lacks a frame{cameras}: {why}' if path else f'no frame{cameras}: {why}'
            raise UhrSegError(msg)
        return str(path)

    def _check(self, settings: Settings) -> None:
        """Refuse at once what cannot become a sample."""
        if not settings.save_sample_folder:
            msg = 'save_sample.folder is empty: set it to the folder that samples are to lie in'
            raise UhrSegError(msg)
        if obstacle := self._obstacle():
            raise UhrSegError(obstacle)

    def _obstacle(self) -> str:
        """Return why no frame is processed at all; or an empty string."""
        if (state := self._state()) != 'active':
            return f'the node is {state}: activate it first'
        return f'{IGNORES}: call it with true first' if self._worker.ignores else ''
