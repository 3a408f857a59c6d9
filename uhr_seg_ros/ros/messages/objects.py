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

"""
Objects of a mask as `vision_msgs/Detection2DArray`.

| of a detection | |
|---|---|
| `results[0].hypothesis` | name of the class, and mean confidence of the pixels |
| `bbox` | center and size, px; not rotated |
| `results[0].pose.pose.position` | x, y: the centroid, px; z: the area, px, which has no field |
"""

from __future__ import annotations

from typing import Any

from std_msgs.msg import Header

from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.pipelines.objects import find_objects, MaskObject
from uhr_seg_ros.pipelines.segmenter import Segmentation

try:
    from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose
except ImportError:  # not among the PyPI wheels
    Detection2DArray = None


def check_objects(enabled: object) -> str:
    """Return why objects cannot be published; or an empty string."""
    if not enabled or Detection2DArray is not None:
        return ''
    return (
        'objects.enabled is true, but vision_msgs is not installed: install '
        'ros-$ROS_DISTRO-vision-msgs, or leave it false'
    )


def encode_objects(result: Segmentation, min_area: int, header: Header) -> Any:
    """
    Return the objects of a mask as a message, under the header of its frame.

    Args:
        result: with the mask, and with the confidence if scores are to be known.
        min_area: smaller ones are left out, px.
        header: of the frame.

    """
    assert result.classes is not None  # the segmenter says them
    ids = result.classes.ids.values()
    found = find_objects(result.mask, ids, min_area, result.confidence)
    detections = [_detection(each, result.classes, header) for each in found]
    return Detection2DArray(header=header, detections=detections)


def _detection(found: MaskObject, classes: ClassSet, header: Header) -> Any:
    detection = Detection2D(header=header)
    left, top, width, height = found.box
    detection.bbox.center.position.x = left + width / 2
    detection.bbox.center.position.y = top + height / 2
    detection.bbox.size_x, detection.bbox.size_y = float(width), float(height)
    result = ObjectHypothesisWithPose()
    result.hypothesis.class_id = classes.names[found.class_id]
    result.hypothesis.score = found.score
    position = result.pose.pose.position
    position.x, position.y, position.z = *found.centroid, float(found.area)
    result.pose.pose.orientation.w = 1.0
    detection.results = [result]
    return detection
