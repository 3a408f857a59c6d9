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

"""What is published of a frame: a row of `OUTPUTS` is a topic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
import numpy as np
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.lifecycle import LifecycleNode
from rclpy.lifecycle import Publisher as LifecyclePublisher
from rclpy.publisher import Publisher
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from uhr_seg_ros.pipelines.relabeling import Relabeling
from uhr_seg_ros.pipelines.segmenter import Segmentation
from uhr_seg_ros.ros.labels import LabelTopic
from uhr_seg_ros.ros.messages.camera_info import CameraInfoCache, fit_camera_info
from uhr_seg_ros.ros.messages.compressing import encode_jpeg, encode_png
from uhr_seg_ros.ros.messages.images import encode_image
from uhr_seg_ros.ros.messages.objects import Detection2DArray, encode_objects
from uhr_seg_ros.ros.parameters.settings import Settings
from uhr_seg_ros.ros.topics.closing import close_all, withdraw
from uhr_seg_ros.ros.topics.latest_jobs import LatestJobs
from uhr_seg_ros.ros.topics.qos import output_overrides, output_qos
from uhr_seg_ros.ros.topics.status import make_status

M = TypeVar('M')


@dataclass(frozen=True)
class FrameResult:
    """
    What a frame became, for the rows of `OUTPUTS`.

    Attributes:
        header: of the frame.
        result: of the segmenter.
        asked: what was asked for, see `OutputSpec.needs`.
        sampling: paints where the frame was sampled, (h, w, 3) uint8 BGR.
        settings: that the frame is published with.
        times_ms: what the frame took, by stage; empty until it is published.

    """

    header: Header
    result: Segmentation
    asked: frozenset[str] = frozenset()
    sampling: Callable[[], np.ndarray] | None = None
    settings: Settings = field(default_factory=Settings)
    times_ms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class OutputSpec(Generic[M]):
    """
    One output topic.

    Attributes:
        name: of the topic, below the camera's.
        type: of the messages.
        needs: what has to be asked for where somebody subscribes: `confidence`, `overlay` or
            `color_mask` of the segmenter; `objects`, which have a confidence; `sampling` where
            bundles choose where they sample, and the topic is announced for those only;
            `times_ms` for what is known at last.
        encode: makes the message; None for none.
        is_enabled: whether the parameters let it be asked for.
        may_lag: whether it is made beside the worker, and skipped where a newer one is due: what
            takes long to encode holds up no mask.

    """

    name: str
    type: type[M]
    needs: str
    encode: Callable[[CameraOutput, FrameResult], M | None]
    is_enabled: Callable[[Settings], bool] = lambda settings: True
    may_lag: bool = False


def _picture(name: str, encoding: str) -> Callable[[CameraOutput, FrameResult], Image]:
    """Return what encodes an array of the segmenter's result."""
    return lambda output, frame: encode_image(getattr(frame.result, name), encoding, frame.header)


def _jpeg(name: str) -> Callable[[CameraOutput, FrameResult], CompressedImage]:
    """Return what compresses a picture of the segmenter's result."""
    return lambda output, frame: encode_jpeg(
        getattr(frame.result, name), frame.settings.jpeg_quality, frame.header
    )


def _mask(output: CameraOutput, frame: FrameResult) -> Image:
    return encode_image(frame.result.mask, _mask_encoding(frame), frame.header)


def _mask_png(output: CameraOutput, frame: FrameResult) -> CompressedImage:
    return encode_png(frame.result.mask, _mask_encoding(frame), frame.header)


def _mask_encoding(frame: FrameResult) -> str:
    return 'mono8' if frame.result.mask.dtype == np.uint8 else 'mono16'


def _calibration(output: CameraOutput, frame: FrameResult) -> CameraInfo | None:
    info = output.calibrations.find(frame.header)
    height, width = frame.result.mask.shape
    return None if info is None else fit_camera_info(info, frame.header, height, width)


def _sampling(output: CameraOutput, frame: FrameResult) -> Image | None:
    picture = frame.sampling and frame.sampling()
    return None if picture is None else encode_image(picture, 'bgr8', frame.header)


def _objects(output: CameraOutput, frame: FrameResult) -> Any:
    return encode_objects(frame.result, frame.settings.objects_min_area, frame.header)


def _times(output: CameraOutput, frame: FrameResult) -> DiagnosticArray:
    values = {f'{stage}_ms': f'{value:.3f}' for stage, value in frame.times_ms.items()}
    values['detail_share'] = f'{frame.result.detail_share:.4f}'
    topic, node = output.topic_name('latency'), output.node.get_fully_qualified_name()
    status = make_status(topic, DiagnosticStatus.OK, '', node, values)
    return DiagnosticArray(header=frame.header, status=[status])


OUTPUTS: tuple[OutputSpec[Any], ...] = (
    OutputSpec('mask', Image, '', _mask),
    OutputSpec(
        'confidence',
        Image,
        'confidence',
        _picture('confidence', 'mono8'),
        lambda settings: settings.confidence_enabled,
    ),
    OutputSpec('overlay', Image, 'overlay', _picture('overlay', 'bgr8')),
    OutputSpec('color_mask', Image, 'color_mask', _picture('color_mask', 'bgr8')),
    OutputSpec('camera_info', CameraInfo, '', _calibration),
    OutputSpec('sampling', Image, 'sampling', _sampling),
    OutputSpec('latency', DiagnosticArray, 'times_ms', _times),
    OutputSpec('mask/compressed', CompressedImage, '', _mask_png, may_lag=True),
    OutputSpec('overlay/compressed', CompressedImage, 'overlay', _jpeg('overlay'), may_lag=True),
    OutputSpec(
        'color_mask/compressed', CompressedImage, 'color_mask', _jpeg('color_mask'), may_lag=True
    ),
)
if Detection2DArray is not None:
    OUTPUTS += (
        OutputSpec(
            'objects',
            Detection2DArray,
            'objects',
            _objects,
            lambda settings: settings.objects_enabled,
            may_lag=True,
        ),
    )
"""Every topic of a camera that has a message for each frame."""


class CameraOutput:
    """
    The publications of one camera, each with messages for a subscriber only.

    Args:
        node: owner of the publishers.
        prefix: `front/` for the camera `front`, empty for the one without a name.
        labels: what the mask's ids mean at first.
        calibrations: where the mask's camera_info comes from.
        on_error: gets why an output that may lag could not be made.
        samples: whether to announce pictures of where frames are sampled, too.

    Attributes:
        node: as given.
        calibrations: as given.

    """

    def __init__(
        self,
        node: LifecycleNode,
        prefix: str,
        labels: Relabeling,
        calibrations: CameraInfoCache,
        on_error: Callable[[Exception], None],
        *,
        samples: bool = False,
    ) -> None:
        self.node, self.calibrations = node, calibrations
        self._prefix = f'~/{prefix}'
        self._encoding = LatestJobs('encoding', on_error)
        # Goes with the publishers; the node's own group would keep a reference to each for ever.
        self._group = MutuallyExclusiveCallbackGroup()
        self._open: list[Publisher[Any]] = []
        self._topics: list[tuple[OutputSpec[Any], LifecyclePublisher[Any]]] = []
        try:
            for spec in OUTPUTS:
                if samples or spec.needs != 'sampling':
                    self._announce(spec)
            self._labels = LabelTopic(node, f'~/{prefix}', self._group)
            self._open.append(self._labels.publisher)
            self._labels.publish(labels.classes, labels.threshold)
        except Exception:  # such as an override of a QoS that does not exist
            self.close()
            raise

    def topic_name(self, name: str) -> str:
        """Return the resolved topic of an output."""
        return next(topic.topic_name for spec, topic in self._topics if spec.name == name)

    def adopt(self, labels: Relabeling, *, samples: bool) -> None:
        """Go on with the masks of another bundle; for the worker, which publishes."""
        self.publish_labels(labels)
        for spec in OUTPUTS if samples else ():
            if spec.needs == 'sampling' and not any(spec is each for each, _ in self._topics):
                is_active = self._topics[0][1].is_activated
                self._announce(spec)
                if is_active:  # it came too late for the transition
                    state: Any = None  # which is not looked at
                    self._topics[-1][1].on_activate(state)
        for spec, publisher in () if samples else tuple(self._topics):
            if spec.needs == 'sampling':
                self._topics.remove((spec, publisher))
                self._open.remove(publisher)
                withdraw(self.node, publisher)

    def publish_labels(self, labels: Relabeling) -> None:
        """Publish what the ids of the masks from now on mean."""
        self._labels.publish(labels.classes, labels.threshold)

    def wanted(self, settings: Settings) -> frozenset[str]:
        """Return what to ask for, as somebody subscribes to it; see `OutputSpec.needs`."""
        return frozenset(
            spec.needs
            for spec, publisher in self._topics
            if spec.needs and spec.is_enabled(settings) and publisher.get_subscription_count()
        )

    def publish(self, frame: FrameResult) -> None:
        """Publish what became of a frame, all of it under its own header."""
        for spec, publisher in self._topics:
            is_there = not spec.needs or spec.needs in frame.asked
            if not is_there or spec.needs == 'times_ms' or not publisher.get_subscription_count():
                continue
            send = partial(self._send, spec, publisher, frame)
            if spec.may_lag:
                self._encoding.put(spec.name, send)
            else:
                send()

    def publish_times(self, frame: FrameResult) -> None:
        """Publish what a frame took, in ms per stage, under the frame's own header."""
        for spec, publisher in self._topics:
            if spec.needs == 'times_ms' and publisher.get_subscription_count():
                self._send(spec, publisher, frame)

    def close(self) -> None:
        """Withdraw the topics; what fails at that is tried again by the next call."""
        self._encoding.close()
        close_all(self._open, partial(withdraw, self.node))

    def _send(
        self, spec: OutputSpec[M], publisher: LifecyclePublisher[Any], frame: FrameResult
    ) -> None:
        message = spec.encode(self, frame)
        if message is not None:
            publisher.publish(message)

    def _announce(self, spec: OutputSpec[Any]) -> None:
        self._topics.append((spec, self._publisher(spec, self._prefix + spec.name)))

    def _publisher(self, spec: OutputSpec[Any], topic: str) -> LifecyclePublisher[Any]:
        publisher: LifecyclePublisher[Any] = self.node.create_lifecycle_publisher(
            spec.type,
            topic,
            output_qos(),
            callback_group=self._group,
            qos_overriding_options=output_overrides(),
        )
        self._open.append(publisher)
        return publisher
