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

"""What the node publishes about itself and its cameras: `/diagnostics` and a picture of it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
import time

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from uhr_seg_ros.ros.camera import Camera
from uhr_seg_ros.ros.dashboard import draw_dashboard
from uhr_seg_ros.ros.diagnostics import (
    check_cache,
    check_detail,
    check_domain,
    check_duplicate_name,
    check_enabled,
    check_failure,
    check_fallback,
    check_frame_budget,
    check_latency,
    check_refinement_budget,
    check_temperature,
    node_status,
)
from uhr_seg_ros.ros.frame_processor import FrameProcessor
from uhr_seg_ros.ros.live_bundle import LiveBundle
from uhr_seg_ros.ros.messages.images import encode_image
from uhr_seg_ros.ros.parameters.settings import Settings
from uhr_seg_ros.ros.stalls import find_stalls
from uhr_seg_ros.ros.topics.qos import output_overrides, output_qos
from uhr_seg_ros.ros.topics.status import HOLD_S, Lasting
from uhr_seg_ros.ros.worker import Worker


class Reporter:
    """
    Publishes `/diagnostics` and `~/diagnostics_image`.

    Args:
        node: owner of the topics.
        cameras: name -> camera.
        worker: what it counts and is inside of.
        path: what runs, and how long its stages take.
        live: what is to run instead.

    """

    def __init__(
        self,
        node: Node,
        cameras: Mapping[str, Camera],
        worker: Worker,
        path: FrameProcessor,
        live: LiveBundle,
    ) -> None:
        self._node, self._cameras, self._worker, self._path = node, cameras, worker, path
        self._live = live
        self._lasting = Lasting()
        self._diagnostics = node.create_publisher(
            DiagnosticArray, '/diagnostics', 10, qos_overriding_options=output_overrides()
        )
        self._dashboard = node.create_publisher(
            Image, '~/diagnostics_image', output_qos(), qos_overriding_options=output_overrides()
        )

    def publish(self, state: str, failure: str, settings: Settings) -> None:
        """
        Publish a report.

        Args:
            state: label of the lifecycle state.
            failure: what went wrong in the last transition, or empty.
            settings: the parameters of this moment.

        """
        array = DiagnosticArray()
        array.header.stamp = self._node.get_clock().now().to_msg()
        array.status = self._statuses(state, failure, settings)
        try:
            self._diagnostics.publish(array)
            if self._dashboard.get_subscription_count():
                header = Header(stamp=array.header.stamp)
                picture = draw_dashboard(array.status)
                self._dashboard.publish(encode_image(picture, 'bgr8', header))
        except Exception:
            if self._node.context.ok():
                raise

    def _statuses(self, state: str, failure: str, settings: Settings) -> list[DiagnosticStatus]:
        """Return the status of every camera, then that of the node."""
        now, path, name = time.monotonic(), self._path, self._node.get_fully_qualified_name()
        counts = {camera: self._worker.counts(camera) for camera in self._cameras}
        monitors = {each: camera.monitor for each, camera in self._cameras.items()}
        stalls = find_stalls(self._worker, monitors, now, path.engines.sign, settings.max_rate_hz)
        idle = check_enabled(self._worker.ignores)
        cameras = [
            camera.status(counts[each], now, settings, stalls[each], idle)
            for each, camera in self._cameras.items()
        ]
        values, recent = path.values(), path.take_recent()
        if loading := self._live.loading:
            values['bundle_loading'] = loading
        hold_s = max(HOLD_S, *(each.usual_silence for each in monitors.values()))
        last = partial(self._lasting, now=now, hold_s=hold_s)
        budget_ms, refine_ms = settings.latency_budget_ms, settings.refine_budget_ms
        limit_c = settings.diagnostics_gpu_temperature_limit
        whole = path.why_whole(settings)
        if settings.frame_budget_ms and not whole:
            late = check_frame_budget([each.total_ms for each in recent], budget_ms)
        else:
            late = check_latency([each.latency_ms for each in recent], budget_ms)
        short = check_refinement_budget([each.refined_share for each in recent], refine_ms)
        warm = check_temperature(path.engines.gpu_temperature_c, limit_c)
        node = node_status(
            name,
            state,
            counts.values(),
            values,
            check_failure(failure),
            *dict.fromkeys(stalls.values()),
            check_duplicate_name(name, self._namesakes()),
            last('budget', budget_ms, late),
            last('refining', refine_ms, short),
            last('temperature', limit_c, warm),
            check_fallback(path.fallback),
            check_detail(whole),
            check_cache(path.engines.rebuild_reason),
            check_domain(path.misfit(settings)),
            self._live.problem(),
            idle,
        )
        return [*cameras, node]

    def _namesakes(self) -> int:
        """Return how many nodes have this one's name and namespace, itself included."""
        own = self._node.get_name(), self._node.get_namespace()
        return self._node.get_node_names_and_namespaces().count(own)
