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
"""The public test recording: the same for everybody, with labels that fit its frames."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from rosbags.typesys import get_typestore, Stores

from uhr_seg_ros.benchmark.label_accuracy import label_accuracy
from uhr_seg_ros.benchmark.labeled_flight import (
    camera_pose,
    CLASSES,
    FlightOptions,
    LABEL_TOPIC,
    record_labeled_flight,
)
from uhr_seg_ros.cli.main import main
from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.geometry.transform import Transform
from uhr_seg_ros.pipelines.mask_size import nearest
from uhr_seg_ros.replay.bags import read_all, read_frame, stamp_ns
from uhr_seg_ros.replay.mask_collector import mask_file
from uhr_seg_ros.replay.topics import choose_topic
from uhr_seg_ros.synthetic.flight import frame_to_mosaic, Pose
from uhr_seg_ros.synthetic.flight_cloud import ALTITUDE, flight_camera

SIZE = (72, 128)
FRAMES = 4
OPTIONS = ['--size', '128x72', '--rate', '10', '--duration', '0.4']
Messages = dict[str, list[tuple[int, str, bytes]]]


def made(folder: Path, *more: str) -> Messages:
    assert main(['benchmark', 'make-bag', '--output', str(folder), *OPTIONS, *more]) == 0
    found: Messages = {}
    for connection, time_ns, data in read_all(folder):
        found.setdefault(connection.topic, []).append((time_ns, connection.msgtype, bytes(data)))
    return found


@pytest.fixture(scope='module')
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('flights') / 'flight'
    made(folder)
    return folder


def truths(folder: Path) -> list[np.ndarray]:
    return [
        read_frame(data, connection.msgtype)[1].data.copy()
        for connection, _, data in read_all(folder)
        if connection.topic == LABEL_TOPIC
    ]


def test_the_same_seed_gives_the_same_messages(tmp_path: Path) -> None:
    first, second, other = (
        made(tmp_path / name, '--seed', seed)
        for name, seed in (('a', '0'), ('b', '0'), ('c', '1'))
    )
    assert first == second
    assert {name for name, messages in first.items() if messages != other[name]} >= {
        '/image_raw',
        LABEL_TOPIC,
    }
    counts = {name: len(messages) for name, messages in first.items()}
    each = dict.fromkeys(('/image_raw', LABEL_TOPIC, '/camera_info', '/tf'), FRAMES)
    assert counts == {**each, '/ground_truth/label_info_json': 1}
    assert [time_ns for time_ns, *_ in first['/image_raw']] == [
        10**9 + index * 10**8 for index in range(FRAMES)
    ]
    stamps = [[stamp_ns(data) for *_, data in first[name]] for name in ('/image_raw', LABEL_TOPIC)]
    assert stamps[0] == stamps[1]


def test_labels_fit_the_frames(bag: Path) -> None:
    frames = [
        read_frame(data, connection.msgtype)[1].bgr.astype(np.float64)
        for connection, _, data in read_all(bag)
        if connection.topic == '/image_raw'
    ]
    labels = truths(bag)
    assert all(each.shape == SIZE and each.max() < len(CLASSES) for each in labels)
    # The colors of a class lie together, but not where the labels are turned around.
    within = [spread_within(frame, truth) for frame, truth in zip(frames, labels, strict=True)]
    turned = [
        spread_within(frame, truth[::-1, ::-1])
        for frame, truth in zip(frames, labels, strict=True)
    ]
    assert max(within) < 0.8 * min(turned)
    assert (frames[0] != frames[1]).any() and (labels[0] != labels[-1]).any()


def spread_within(frame: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean variance of the colors of a class, weighted by its pixels."""
    parts = [frame[labels == index] for index in np.unique(labels)]
    return sum(len(part) * part.var(0).sum() for part in parts) / labels.size


def test_compressed_labels_stay_exact(bag: Path, tmp_path: Path) -> None:
    found = made(tmp_path / 'small', '--compressed')
    (topic, *_), types = found, get_typestore(Stores.ROS2_HUMBLE)
    assert topic.startswith('/')
    messages = found[f'{LABEL_TOPIC}/compressed']
    for (_, kind, data), truth in zip(messages, truths(bag), strict=True):
        png = types.deserialize_cdr(data, kind).data
        np.testing.assert_array_equal(cv2.imdecode(png, cv2.IMREAD_UNCHANGED), truth)
    assert choose_topic(tmp_path / 'small').name == '/image_raw/compressed'


def test_the_pose_projects_the_ground_to_its_pixel() -> None:
    pose, camera = Pose(700.0, 300.0, 0.3), flight_camera(SIZE)
    translation, quaternion = camera_pose(pose, SIZE[1])
    camera_in_map = Transform.of_quaternion(translation, quaternion)
    pixel = np.array([20.0, 60.0, 1.0])
    x, y = frame_to_mosaic(pose, SIZE) @ pixel + 0.5
    scale = ALTITUDE / camera.focal[0]
    ground = np.array([[x * scale, -y * scale, 0.0]])
    seen = camera_in_map.inverse().apply(ground).reshape(3)
    assert seen[2] == pytest.approx(ALTITUDE)
    projected = seen[:2] / seen[2] * camera.focal + camera.center
    np.testing.assert_allclose(projected, pixel[:2], atol=1e-3)


def test_accuracy_of_masks(bag: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    topic, labels, stamps = choose_topic(bag), truths(bag), [5 * 10**9, 7 * 10**9]
    wrong = labels[2].copy()
    wrong[:36] = (wrong[:36] + 1) % len(CLASSES)
    (tmp_path / 'masks').mkdir()
    for stamp, mask in zip(stamps, (labels[0], wrong), strict=True):
        cv2.imwrite(str(mask_file(tmp_path, stamp)), mask)
    found = label_accuracy(bag, topic, CLASSES, stamps, 2, tmp_path)
    assert found is not None
    assert found['frames'] == 2
    assert found['accuracy'] == pytest.approx(0.75)
    assert 0 < found['mean_iou'] < 0.75
    # A node with mask.scale and roi: compared by the pixels that its masks have.
    for stamp, mask in zip(stamps, (labels[0], labels[2]), strict=True):
        half = nearest(mask, (mask.shape[0] // 2, mask.shape[1] // 2))
        half[0] = 255
        cv2.imwrite(str(mask_file(tmp_path, stamp)), half)
    found = label_accuracy(bag, topic, CLASSES, stamps, 2, tmp_path)
    assert (found or {})['accuracy'] == 1.0
    # A node of others: its masks count in the size of the frames.
    found = label_accuracy(bag, topic, CLASSES, stamps, 2, tmp_path, at_frame_size=True)
    assert 0.9 < (found or {})['accuracy'] < 1.0
    cv2.imwrite(str(mask_file(tmp_path, stamps[0])), labels[0] + 1)
    assert label_accuracy(bag, topic, CLASSES, stamps, 2, tmp_path) is None
    assert 'masks have the id 5, and the classes are 5' in caplog.text
    others = ClassSet(('a', 'b'), ((0, 0, 0), (1, 1, 1)))
    caplog.clear()
    assert label_accuracy(bag, topic, others, stamps, 2, tmp_path) is None
    assert 'of other classes' in caplog.text


def test_too_many_frames(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='choose fewer seconds'):
        record_labeled_flight(tmp_path / 'bag', FlightOptions(SIZE, 1e6, 1e3))


def test_names_of_the_classes(bag: Path) -> None:
    (text,) = (data for each, _, data in read_all(bag) if 'label_info' in each.topic)
    content = json.loads(bytes(text[8:]).rstrip(b'\0'))
    assert [each['class_name'] for each in content['class_map']] == list(CLASSES.names)
    assert CLASSES.names == ('building', 'land', 'road', 'vegetation', 'water')
