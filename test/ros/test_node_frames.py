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

"""A frame comes in, masks and pictures go out."""

from __future__ import annotations

from collections.abc import Callable
import json
from pathlib import Path
from typing import Any

import cv2
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
import numpy as np
import pytest
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage
from stage import BEST_EFFORT, example_mask, frame, LATCHED, pixels, Stage, wait_until
from std_msgs.msg import Header, String
from tiny_bundle import paint, TINY_CLASSES

from uhr_seg_ros.benchmark.figures import stage_percentiles
from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.core.visualization import colorize, OverlayPainter
from uhr_seg_ros.pipelines.refinement.refine import refine, Refinement
from uhr_seg_ros.pipelines.relabeling import Relabeling
from uhr_seg_ros.pipelines.segmenter import Segmentation, Segmenter
from uhr_seg_ros.ros.messages.camera_info import CameraInfoCache
from uhr_seg_ros.ros.outputs import CameraOutput, FrameResult
from uhr_seg_ros.ros.parameters.node_parameters import Parameters

MakeStage = Callable[..., Stage]


def test_mask_is_the_one_that_was_painted(make_stage: MakeStage) -> None:
    stage = make_stage()
    camera = stage.camera()
    (masks,) = stage.outputs('mask')
    mask = example_mask()
    camera.publish(frame(paint(mask), stamp=12.5))
    message = wait_until(lambda: masks, 'a mask')[0]
    assert (message.encoding, message.step) == ('mono8', mask.shape[1])
    np.testing.assert_array_equal(pixels(message), mask)
    assert message.header.frame_id == 'camera'
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (12, 500_000_000)


def test_size_off_the_stride_is_kept(make_stage: MakeStage) -> None:
    stage = make_stage()
    camera = stage.camera()
    (masks,) = stage.outputs('mask')
    for count, size in enumerate([(97, 161), (48, 64), (3, 5), (1, 1), (320, 480)], 1):
        mask = example_mask(*size)
        camera.publish(frame(paint(mask), stamp=count))
        wait_until(lambda count=count: len(masks) == count, f'mask {count}')
        np.testing.assert_array_equal(pixels(masks[-1]), mask)


@pytest.mark.parametrize('encoding', ['rgb8', 'mono8', 'bgra8'])
def test_encoding_makes_no_difference_to_the_segmenter(
    make_stage: MakeStage, tiny_bundle: Path, encoding: str
) -> None:
    stage = make_stage()
    camera = stage.camera()
    (masks,) = stage.outputs('mask')
    image = paint(example_mask())
    code = {'rgb8': cv2.COLOR_BGR2RGB, 'mono8': cv2.COLOR_BGR2GRAY, 'bgra8': cv2.COLOR_BGR2BGRA}
    camera.publish(frame(cv2.cvtColor(image, code[encoding]), encoding=encoding))
    if encoding == 'mono8':
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    wait_until(lambda: masks, 'a mask')
    with Segmenter(tiny_bundle) as segmenter:
        np.testing.assert_array_equal(pixels(masks[0]), segmenter(image).mask)
    assert stage.wait_for_count(processed=1)['encoding'] == encoding


def test_compressed_transport(make_stage: MakeStage) -> None:
    stage = make_stage(autostart=False)
    assert stage.set_parameter('image_transport', 'compressed').successful
    assert stage.change('configure')
    refused = stage.set_parameter('image_transport', 'raw')
    assert 'can change only while the node is unconfigured' in refused.reason
    assert stage.change('activate')
    camera = stage.camera('image_raw/compressed', CompressedImage)
    (masks,) = stage.outputs('mask')
    mask = example_mask()
    message = CompressedImage(format='bgr8; png compressed bgr8')
    message.header.frame_id = 'camera'
    message.data = cv2.imencode('.png', paint(mask))[1].tobytes()
    camera.publish(message)
    wait_until(lambda: masks, 'a mask')
    np.testing.assert_array_equal(pixels(masks[0]), mask)
    assert masks[0].header == message.header
    values = stage.wait_for_count('/image_raw/compressed', processed=1)
    assert values['encoding'] == message.format


def test_compressed_topic_follows_the_remapped_base(make_stage: MakeStage) -> None:
    arguments = ['--ros-args', '-r', 'image_raw:=/roof/image']
    stage = make_stage(_cli_args=arguments, image_transport='compressed')
    stage.camera('/roof/image/compressed', CompressedImage)


def test_pictures_are_painted_for_subscribers_only(make_stage: MakeStage) -> None:
    stage = make_stage(overlay__scale=0.5, overlay__alpha=0.25)
    camera = stage.camera()
    (masks,) = stage.outputs('mask')
    mask = example_mask()
    image = paint(mask)
    camera.publish(frame(image))
    stage.wait_for_count(processed=1)
    values = wait_until(
        lambda: 'total_p50_ms' in (v := stage.values('/segmentation: segmentation')) and v,
        'stage times',
    )
    assert 'overlay_p50_ms' not in values

    overlays, color_masks = stage.outputs('overlay', 'color_mask')
    camera.publish(frame(image, stamp=2.0))
    wait_until(lambda: overlays and color_masks, 'pictures')
    wait_until(
        lambda: 'overlay_p50_ms' in stage.values('/segmentation: segmentation'), 'overlay time'
    )
    painter = OverlayPainter(TINY_CLASSES, 0.25, 0.5)
    np.testing.assert_array_equal(pixels(overlays[0]), painter.paint(image, mask))
    np.testing.assert_array_equal(pixels(color_masks[0]), colorize(mask, TINY_CLASSES, 0.5))
    assert overlays[0].encoding == color_masks[0].encoding == 'bgr8'
    assert overlays[0].header == masks[-1].header


def test_style_changes_live(make_stage: MakeStage) -> None:
    stage = make_stage()
    camera = stage.camera()
    (overlays,) = stage.outputs('overlay')
    image = paint(example_mask())
    for count, scale in enumerate((0.5, 1.0, 0.25), 1):
        assert stage.set_parameter('overlay.scale', scale).successful
        camera.publish(frame(image, stamp=count))
        wait_until(lambda count=count: len(overlays) == count, 'an overlay')
        assert overlays[-1].width == 160 * scale
    refused = stage.set_parameter('overlay.scale', 7.0)
    assert not refused.successful
    assert 'overlay.scale' in refused.reason


def test_confidence_is_for_whoever_subscribes_unless_forbidden(
    make_stage: MakeStage, tiny_bundle: Path
) -> None:
    stage = make_stage(confidence__enabled=False)
    camera = stage.camera()
    masks, confidences = stage.outputs('mask', 'confidence')
    image = paint(example_mask())
    camera.publish(frame(image))
    wait_until(lambda: masks, 'a mask')
    assert stage.set_parameter('confidence.enabled', True).successful
    camera.publish(frame(image, stamp=2.0))
    wait_until(lambda: confidences, 'a confidence')
    assert [message.header.stamp.sec for message in confidences] == [2]
    with Segmenter(tiny_bundle) as segmenter:
        expected = segmenter(image, confidence=True).confidence
    np.testing.assert_array_equal(pixels(confidences[0]), expected)


def test_camera_info_is_matched_to_the_mask(make_stage: MakeStage) -> None:
    stage = make_stage()
    camera = stage.camera()
    infos_out = stage.outputs('camera_info', message_type=CameraInfo)[0]
    (masks,) = stage.outputs('mask')
    camera.publish(frame(paint(example_mask()), stamp=1.0))
    wait_until(lambda: masks, 'a mask, without waiting for calibration')
    stage.wait_for_count(processed=1)
    calibrations = stage.camera('camera_info', CameraInfo)
    info = CameraInfo(width=320, height=192, distortion_model='plumb_bob')
    info.k[0] = info.k[4] = 400.0
    calibrations.publish(info)

    def pair() -> CameraInfo | None:
        camera.publish(frame(paint(example_mask()), stamp=2.0))
        return infos_out[0] if infos_out else None

    matched = wait_until(pair, 'a camera_info')
    assert (matched.width, matched.height, matched.k[0]) == (160, 96, 200.0)
    assert (matched.header.stamp.sec, matched.header.frame_id) == (2, 'camera')
    assert matched.distortion_model == 'plumb_bob'


def test_labels_reach_a_late_subscriber(make_stage: MakeStage) -> None:
    stage = make_stage()
    stage.wait_for_state('active')
    try:
        from vision_msgs.msg import LabelInfo
    except ImportError:
        found = stage.collect(String, '/segmentation/label_info_json', LATCHED)
        wait_until(lambda: found, 'labels')
        labels = json.loads(found[0].data)
        assert set(labels) == {'header', 'class_map', 'threshold'}
        names = {entry['class_id']: entry['class_name'] for entry in labels['class_map']}
        stage.wait_for_log('vision_msgs is not installed', '/segmentation/label_info_json')
    else:
        found = stage.collect(LabelInfo, '/segmentation/label_info', LATCHED)
        wait_until(lambda: found, 'labels')
        names = {entry.class_id: entry.class_name for entry in found[0].class_map}
    assert names == {0: 'red', 1: 'green', 2: 'blue'}


def test_two_cameras_have_topics_of_their_own(make_stage: MakeStage) -> None:
    cameras = 'front', 'robot/left'
    stage = make_stage(cameras=list(cameras))
    assert stage.node.has_parameter('roi.robot/left.rectangles')
    outputs = dict(zip(cameras, stage.outputs(*(f'{name}/mask' for name in cameras)), strict=True))
    for seed, (name, masks) in enumerate(outputs.items()):
        mask = example_mask(seed=seed)
        stage.camera(f'{name}/image_raw').publish(frame(paint(mask)))
        wait_until(lambda masks=masks: masks, f'a mask of {name}')
        np.testing.assert_array_equal(pixels(masks[0]), mask)
        stage.wait_for_count(f'/{name}/image_raw', received=1, processed=1)


def test_namespace_and_name_shape_the_topics(make_stage: MakeStage) -> None:
    arguments = ['--ros-args', '-r', '__ns:=/robot', '-r', '__node:=seg', '-r', 'image_raw:=cam']
    stage = make_stage(_cli_args=arguments)
    stage.camera('/robot/cam')
    names = {publisher.topic_name for publisher in stage.node.publishers}
    assert '/robot/seg/mask' in names
    wait_until(lambda: stage.status('/robot/seg: segmentation'), 'diagnostics of the node')
    wait_until(lambda: stage.status('/robot/cam'), 'diagnostics of the topic')


def test_best_effort_camera(make_stage: MakeStage) -> None:
    stage = make_stage()
    camera = stage.camera(qos=BEST_EFFORT)
    (masks,) = stage.outputs('mask')
    wait_until(camera.get_subscription_count, 'a subscription')
    camera.publish(frame(paint(example_mask())))
    wait_until(lambda: masks, 'a mask')


def test_simulated_time_that_stands_still_stops_nothing(make_stage: MakeStage) -> None:
    stage = make_stage(use_sim_time=True)
    camera = stage.camera()
    (masks,) = stage.outputs('mask')
    stage.watcher.create_publisher(Clock, '/clock', 1).publish(Clock())
    for count, stamp in enumerate((1e9, 5.0, 5.0, 0.0), 1):  # a bag that starts again
        camera.publish(frame(paint(example_mask()), stamp=stamp))
        wait_until(lambda count=count: len(masks) == count, f'mask {count}')
    values = stage.wait_for_count(received=4, processed=4, dropped=0)
    assert values['num_non_increasing_msg'] == '3'


def test_more_than_255_classes_make_mono16(make_stage: MakeStage) -> None:
    count = 300
    colors = tuple((index % 256, index // 256, 0) for index in range(count))
    classes = ClassSet(tuple(f'class {index}' for index in range(count)), colors)
    mask = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30) % count
    stage = make_stage(autostart=False)
    output = CameraOutput(stage.node, 'many/', Relabeling(classes), CameraInfoCache(), print)
    assert stage.change('configure')
    assert stage.change('activate')
    masks, color_masks = stage.outputs('many/mask', 'many/color_mask')
    settings = Parameters(stage.node, lambda: True).settings
    asked = wait_until(lambda: output.wanted(settings), 'a subscriber')
    assert asked == {'color_mask'}
    result = Segmentation(mask, {}, color_mask=colorize(mask, classes, 0.5))
    output.publish(FrameResult(Header(frame_id='camera'), result, asked))
    wait_until(lambda: masks and color_masks, 'a mask and its picture')
    assert (masks[0].encoding, masks[0].step) == ('mono16', 60)
    np.testing.assert_array_equal(np.frombuffer(masks[0].data, np.uint16), mask.ravel())
    assert (color_masks[0].height, color_masks[0].width) == (10, 15)


def test_memory_limit_makes_tiles(make_stage: MakeStage) -> None:
    stage = make_stage(memory_limit_mb=4)
    camera = stage.camera()
    (masks,) = stage.outputs('mask')
    mask = example_mask(320, 480)
    camera.publish(frame(paint(mask)))
    wait_until(lambda: masks, 'a mask')
    np.testing.assert_array_equal(pixels(masks[0]), mask)


def test_diagnostics_tell_what_runs(make_stage: MakeStage) -> None:
    stage = make_stage()
    camera = stage.camera()
    camera.publish(frame(paint(example_mask())))
    stage.wait_for_count(processed=1)

    def told() -> dict[str, Any] | None:
        values = stage.values('/segmentation: segmentation')
        return values if values.get('frames_processed') == '1' else None

    values = wait_until(told, 'the node status')
    stages = ['convert', 'preprocess', 'semantic', 'detail', 'fusion', 'publish', 'total']
    assert list(stage_percentiles(values)) == [*stages, 'latency']
    for stage_name in stages:
        for key in ('p50', 'p95', 'p99'):
            assert float(values[f'{stage_name}_{key}_ms']) >= 0.0
    assert float(values['latency_max_ms']) >= float(values['total_p50_ms'])
    assert (values['state'], values['backend'], values['bundle']) == (
        'active',
        'onnxruntime',
        'tiny',
    )
    assert len(values['bundle_sha256']) == 64
    assert values['engine_sha256'].startswith('semantic ')
    assert stage.status('/segmentation: segmentation').level == DiagnosticStatus.OK


def test_times_of_every_frame_carry_its_header(make_stage: MakeStage) -> None:
    stage = make_stage()
    camera = stage.camera()
    (times,) = stage.outputs('latency', message_type=DiagnosticArray)
    camera.publish(frame(paint(example_mask()), stamp=7.5))
    array = wait_until(lambda: times, 'the times')[0]
    assert (array.header.stamp.sec, array.header.stamp.nanosec) == (7, 500_000_000)
    (status,) = array.status
    assert status.name == '/segmentation/latency'
    values = {each.key: float(each.value) for each in status.values}
    assert values['latency_ms'] == pytest.approx(values['wait_ms'] + values['total_ms'], abs=0.01)
    parts = sum(values[f'{name}_ms'] for name in ('preprocess', 'semantic', 'detail', 'fusion'))
    assert 0 < parts < values['total_ms']


def test_budget_is_watched_live(make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('uhr_seg_ros.ros.reporting.HOLD_S', 0.5)
    stage = make_stage(latency__budget_ms=0.001)
    camera = stage.camera()
    camera.publish(frame(paint(example_mask())))

    def level() -> bytes | None:
        status = stage.status('/segmentation: segmentation')
        return status.level if status else None

    wait_until(lambda: level() == DiagnosticStatus.WARN, 'a warning')
    status = stage.status('/segmentation: segmentation')
    assert '1 of 1 frames took longer' in status.message
    # Nothing is late any more: no frame came; but that is told only after a while.
    wait_until(lambda: level() == DiagnosticStatus.OK, 'no warning')


def test_smoothing_is_switched_live(make_stage: MakeStage) -> None:
    stage = make_stage()
    camera = stage.camera()
    masks, color = stage.outputs('mask', 'color_mask')
    still = np.zeros((128, 128), np.uint8)
    other = still.copy()
    other[:16, :16] = 2  # less than what counts as motion

    def segmented(mask: np.ndarray, stamp: int) -> tuple[np.ndarray, np.ndarray]:
        camera.publish(frame(paint(mask), stamp))
        wait_until(lambda: len(masks) == len(color) == stamp, 'mask and colors')
        return pixels(masks[-1]), pixels(color[-1])

    def shows(found: tuple[np.ndarray, np.ndarray]) -> list[bool]:
        return [bool((each[:8, :8] != each[-1, -1]).all(axis=(0, 1)).any()) for each in found]

    assert stage.set_parameter('smoothing', 2).successful
    seen = [shows(segmented(mask, stamp)) for stamp, mask in enumerate((still, other, other), 1)]
    assert seen == [[False] * 2, [False] * 2, [True] * 2]
    assert stage.set_parameter('smoothing', 0).successful
    assert [shows(segmented(mask, stamp))[0] for stamp, mask in ((4, still), (5, other))] == [
        False,
        True,
    ]


def test_refining_is_switched_live(make_stage: MakeStage) -> None:
    pytest.importorskip('threadpoolctl', reason='boundaries are refined with it')
    stage = make_stage()
    camera = stage.camera()
    masks, color = stage.outputs('mask', 'color_mask')
    image = np.random.default_rng(0).integers(0, 256, (200, 320, 3), np.uint8)

    def segmented(stamp: int) -> np.ndarray:
        camera.publish(frame(image, stamp))
        wait_until(lambda: len(masks) == len(color) == stamp, 'mask and colours')
        return pixels(masks[-1])

    plain = segmented(1)
    assert stage.set_parameter('refine', 'random_walker').successful
    wanted = refine(plain, image, Refinement()).mask
    assert (wanted != plain).any()
    np.testing.assert_array_equal(segmented(2), wanted)
    name = '/segmentation: segmentation'
    wait_until(lambda: float(stage.values(name).get('refine_p50_ms', 0)) > 0, 'the time it takes')
    assert stage.status(name).level == DiagnosticStatus.OK
    assert stage.set_parameter('refine_budget_ms', 0.001).successful
    np.testing.assert_array_equal(segmented(3), plain)
    wait_until(
        lambda: 'refine_budget_ms 0.001 ended before' in stage.status(name).message, 'a warning'
    )
    refused = stage.set_parameter('refine', 'magic')
    assert "refine is 'magic': expected one of none, random_walker" in refused.reason


def test_falling_back_is_a_warning(make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')  # also where there is a GPU
    stage = make_stage(backend='auto')
    name = '/segmentation: segmentation'
    status = wait_until(
        lambda: (status := stage.status(name)) and 'tensorrt' in status.message and status,
        'a warning',
    )
    assert status.level == DiagnosticStatus.WARN
    assert status.message.startswith('tensorrt is not used: ')
    values = stage.values(name)
    assert values['backend'] == 'onnxruntime'
    assert values['fallback'] == status.message
    stage.wait_for_log('tensorrt is not used')
    lines = [line for line in stage.log_lines() if 'tensorrt is not used' in line]
    assert len(lines) == 1


def test_diagnostics_are_a_picture_too(make_stage: MakeStage) -> None:
    stage = make_stage()
    (pictures,) = stage.outputs('diagnostics_image')
    before = wait_until(lambda: pictures, 'a picture')[0]
    assert (before.width, before.height, before.encoding) == (640, 360, 'bgr8')
    camera = stage.camera()
    camera.publish(frame(paint(example_mask())))
    stage.wait_for_count(processed=1)
    wait_until(lambda: pictures[-1].data != before.data, 'another picture')
