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
from queue import Queue
from threading import Condition, Thread
import time
from typing import Any

import cv2
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, PointCloud2

from uhr_seg_ros.core.errors import UhrSegError
from uhr_seg_ros.core.image_writing import write_image
from uhr_seg_ros.replay.node_client import describe_dds, NodeClient
from uhr_seg_ros.replay.ply import vertices_of, write_ply
from uhr_seg_ros.ros.messages.images import view_image

# Pictures that wait to be written; beyond it the subscriptions wait, instead of the memory.
_WAITING_FILES = 4

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


class Collector:
    """
    Subscribes to a segmentation node on a thread of its own.

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
        self._output = output
        self._lock = Condition()
        self._arrivals: list[tuple[int, int]] = []
        self._report = NodeReport()
        self._stages: dict[int, dict[str, float]] = {}
        self._unsaved: list[str] = []
        self._files: Queue[tuple[Path, np.ndarray] | None] = Queue(_WAITING_FILES)
        self._node = rclpy.create_node(name)
        self.client = NodeClient(self._node, node_name)
        profile = QoSProfile(depth=_DEPTH, reliability=ReliabilityPolicy.RELIABLE)
        self._node.create_subscription(Image, f'{node_name}/mask', self._on_mask, profile)
        self._node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)
        self._node.create_subscription(
            DiagnosticArray, f'{node_name}/latency', self._on_latency, 10
        )
        if output:
            (output / 'masks').mkdir(parents=True, exist_ok=True)
            (output / 'overlays').mkdir(exist_ok=True)
            topic = f'{node_name}/overlay'
            self._node.create_subscription(Image, topic, self._on_overlay, profile)
        if output and clouds:
            (output / 'clouds').mkdir(exist_ok=True)
            topic = f'{node_name}/points'
            self._node.create_subscription(PointCloud2, topic, self._on_points, profile)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._threads = [Thread(target=self._spin), Thread(target=self._write)]
        for thread in self._threads:
            thread.start()

    @property
    def arrivals(self) -> list[tuple[int, int]]:
        """Stamp of every mask and when it arrived (`time.monotonic_ns`), ns, in that order."""
        with self._lock:
            return list(self._arrivals)

    @property
    def count(self) -> int:
        """How many masks have arrived."""
        with self._lock:
            return len(self._arrivals)

    def wait_for_mask(self, seen: int, timeout_s: float) -> None:
        """Wait until more than `seen` masks have arrived, or so long."""
        with self._lock:
            self._lock.wait_for(lambda: len(self._arrivals) > seen, timeout_s)

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
    def unsaved(self) -> list[str]:
        """Why files could not be written, a line for each; complete after `close`."""
        with self._lock:
            return list(self._unsaved)

    @property
    def report(self) -> NodeReport:
        """What the node said about itself last."""
        with self._lock:
            return self._report

    def close(self) -> None:
        """Unsubscribe and finish the files."""
        self._executor.shutdown()
        self._threads[0].join()
        self._files.put(None)
        self._threads[1].join()
        self._node.destroy_node()

    def __enter__(self) -> Collector:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _on_mask(self, message: Image) -> None:
        arrival = time.monotonic_ns()
        with self._lock:
            self._arrivals.append((_stamp_ns(message), arrival))
            self._lock.notify_all()
        if self._output is not None:
            pixel = np.uint8 if message.encoding == 'mono8' else np.uint16
            mask = np.frombuffer(message.data, pixel).reshape(message.height, message.width)
            self._files.put((mask_file(self._output, _stamp_ns(message)), mask))

    def _on_overlay(self, message: Image) -> None:
        self._save('overlays', f'{_stem(message)}_overlay.jpg', view_image(message).bgr)

    def _on_points(self, message: PointCloud2) -> None:
        self._save('clouds', f'{_stem(message)}_points.ply', vertices_of(message))

    def _save(self, folder: str, name: str, content: np.ndarray) -> None:
        if self._output is not None:
            self._files.put((self._output / folder / name, content))

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
            self._stages[_stamp_ns(array)] = times

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            pass

    def _write(self) -> None:
        while (item := self._files.get()) is not None:
            try:
                _save(*item)
            except (OSError, UhrSegError) as err:  # the others are taken all the same
                with self._lock:
                    self._unsaved.append(_named(err))


def mask_file(output: Path, stamp_ns: int) -> Path:
    """Return where the mask of a stamp is saved, below the folder of a `Collector`."""
    seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
    return output / 'masks' / f'{seconds:010d}.{nanoseconds:09d}_mask.png'


def _save(path: Path, content: np.ndarray) -> None:
    if path.suffix == '.ply':
        write_ply(path, content)
        return
    # Level 1: a mask shrinks well at any level, and the node needs the processor.
    flags = [cv2.IMWRITE_PNG_COMPRESSION, 1] if path.suffix == '.png' else []
    write_image(path, content, flags, durable=False)


def _named(error: OSError | UhrSegError) -> str:
    return f'{error.filename}: {error.strerror}' if isinstance(error, OSError) else str(error)


def _stamp_ns(message: Image | DiagnosticArray) -> int:
    return message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec


def _stem(message: Image | PointCloud2) -> str:
    stamp = message.header.stamp
    return f'{stamp.sec:010d}.{stamp.nanosec:09d}'
