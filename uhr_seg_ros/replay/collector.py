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

"""Gather what the node publishes: masks, overlays and clouds as files, times, its counters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, PointCloud2

from uhr_seg_ros.replay.mask_collector import MaskCollector, stamp_of
from uhr_seg_ros.replay.node_client import describe_dds, NodeClient
from uhr_seg_ros.replay.ply import vertices_of
from uhr_seg_ros.ros.messages.images import view_image

_DEPTH = 2

#: How `Path.glob` finds the stamp that begins the name of every file.
STAMP_PATTERN = f'[-0-9]{"[0-9]" * 9}.{"[0-9]" * 9}'


@dataclass(frozen=True)
class NodeReport:
    """
    The node's newest diagnostics.

    Attributes:
        number: counts them.
        is_error: whether the node says that it has failed.
        message: what it says in a line.
        values: of the node.
        inputs: topic of a camera -> the values of that camera.

    """

    number: int = 0
    is_error: bool = False
    message: str = ''
    values: Mapping[str, str] | None = None
    inputs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def value(self, key: str) -> str:
        """Return a value, or an empty string."""
        return (self.values or {}).get(key, '')

    def count(self, key: str) -> int:
        """Return one of the frame counters, such as `processed`; 0 while there is none."""
        return int(self.value(f'frames_{key}') or 0)


class Collector(MaskCollector):
    """
    Subscribes to a segmentation node of ours, on a thread of its own.

    Args:
        node_name: fully qualified name of the node.
        output: folder for `masks/` and `overlays/`; None: take the times, save nothing, and do
            not subscribe to the overlay, which would cost the node work.
        name: of its own node.
        clouds: whether to save labeled points too, in `clouds/`.

    Attributes:
        client: the services of the node.

    """

    def __init__(
        self,
        node_name: str = '/segmentation',
        output: Path | None = None,
        name: str = 'collector',
        clouds: bool = False,
    ) -> None:
        self._node_name = node_name
        self._report = NodeReport()
        self._stages: dict[int, dict[str, float]] = {}
        self._with_clouds = clouds
        super().__init__(name, output)
        self.client = NodeClient(self._node, node_name)

    def _subscribe(self) -> None:
        """Subscribe to what the node publishes."""
        node_name, output = self._node_name, self._output
        profile = QoSProfile(depth=_DEPTH, reliability=ReliabilityPolicy.RELIABLE)
        self._node.create_subscription(Image, f'{node_name}/mask', self._on_mask, profile)
        self._node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)
        self._node.create_subscription(
            DiagnosticArray, f'{node_name}/latency', self._on_latency, 10
        )
        if output:
            (output / 'overlays').mkdir(exist_ok=True)
            topic = f'{node_name}/overlay'
            self._node.create_subscription(Image, topic, self._on_overlay, profile)
        if output and self._with_clouds:
            (output / 'clouds').mkdir(exist_ok=True)
            topic = f'{node_name}/points'
            self._node.create_subscription(PointCloud2, topic, self._on_points, profile)

    def take_stages(self) -> dict[int, dict[str, float]]:
        """Return the ms per stage of the frames since the last call, by their stamps."""
        with self._lock:
            stages, self._stages = self._stages, {}
        return stages

    def describe_dds(self, transport: str) -> dict[str, Any]:
        """Return how frames and masks travel; see `node_client.describe_dds`."""
        image_topic = 'image_raw/compressed' if transport == 'compressed' else 'image_raw'
        return describe_dds(
            self._node, self._node.resolve_topic_name(image_topic), f'{self._node_name}/mask'
        )

    @property
    def report(self) -> NodeReport:
        """What the node said about itself last."""
        with self._lock:
            return self._report

    def _on_overlay(self, message: Image) -> None:
        self._save('overlays', f'{_stem(message)}_overlay.jpg', view_image(message).bgr)

    def _on_points(self, message: PointCloud2) -> None:
        self._save('clouds', f'{_stem(message)}_points.ply', vertices_of(message))

    def _on_diagnostics(self, array: DiagnosticArray) -> None:
        ours = {each.name: each for each in array.status if each.hardware_id == self._node_name}
        values = {
            name: {each.key: each.value for each in status.values} for name, status in ours.items()
        }
        for name, status in ours.items():
            if name == f'{self._node_name}: segmentation':
                prefix = f'{self._node_name}: '
                report = NodeReport(
                    number=self._report.number + 1,
                    is_error=status.level == DiagnosticStatus.ERROR,
                    message=status.message,
                    values=values.pop(name),
                    inputs={each.removeprefix(prefix): found for each, found in values.items()},
                )
                with self._lock:
                    self._report = report
                return

    def _on_latency(self, array: DiagnosticArray) -> None:
        values = array.status[0].values
        times = {
            each.key.removesuffix('_ms'): float(each.value)
            for each in values
            if each.key.endswith('_ms')
        }
        with self._lock:
            self._stages[stamp_of(array)] = times


def _stem(message: Image | PointCloud2) -> str:
    stamp = message.header.stamp
    return f'{stamp.sec:010d}.{stamp.nanosec:09d}'
