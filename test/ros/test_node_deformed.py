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

"""The node with a bundle of learned downsampling."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from stage import frame, pixels, Stage, wait_until

torch = pytest.importorskip('torch', reason='the bundle is exported')

from deformed_bundles import deformed_bundle

from uhr_seg_ros.core.visualization import draw_density
from uhr_seg_ros.pipelines.segmenter import Segmenter

CELLS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
IMAGE = CELLS.repeat(10, 0).repeat(10, 1)


@pytest.fixture
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return deformed_bundle(tmp_path_factory, 'deformed').path


def test_masks_and_diagnostics(make_stage: Callable[..., Stage], bundle: Path) -> None:
    with Segmenter(bundle, 'onnxruntime') as segmenter:
        expected = segmenter(IMAGE).mask
    assert len(np.unique(expected)) > 1
    stage = make_stage(bundle=str(bundle))
    camera = stage.camera()
    (masks,) = stage.outputs('mask')
    camera.publish(frame(IMAGE, stamp=3.0))
    mask = pixels(wait_until(lambda: masks, 'a mask')[0])
    assert mask.shape == IMAGE.shape[:2]
    np.testing.assert_array_equal(mask, expected)

    def told() -> dict[str, Any] | None:
        values = stage.values('/segmentation: segmentation')
        return values if values.get('frames_processed') == '1' else None

    values = wait_until(told, 'the node status')
    for name in ('reduce', 'saliency', 'sample', 'network', 'enlarge'):
        assert float(values[f'{name}_p50_ms']) > 0.0
    assert 'preprocess_p50_ms' not in values


def test_picture_of_the_sampling(make_stage: Callable[..., Stage], bundle: Path) -> None:
    stage = make_stage(bundle=str(bundle), overlay__scale=0.5)
    camera = stage.camera()
    masks, pictures = stage.outputs('mask', 'sampling')
    camera.publish(frame(IMAGE, stamp=4.0))
    message = wait_until(lambda: masks and pictures, 'mask and picture')[0]
    assert message.header.stamp.sec == 4
    with Segmenter(bundle, 'onnxruntime') as segmenter:
        grid = segmenter.sampling_grid(IMAGE)
    small = cv2.resize(IMAGE, (150, 100), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(pixels(message), draw_density(small, grid))


def test_others_do_not_announce_it(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage()
    stage.wait_for_state('active')
    topics = {publisher.topic_name for publisher in stage.node.publishers}
    assert '/segmentation/mask' in topics
    assert '/segmentation/sampling' not in topics


def test_where_frames_are_sampled_comes_and_goes_with_the_bundle(
    make_stage: Callable[..., Stage], bundle: Path, tiny_bundle: Path
) -> None:
    stage = make_stage()
    stage.wait_for_state('active')
    camera = stage.camera()
    assert stage.set_parameter('bundle', str(bundle)).successful
    stage.wait_for_log('deformed', 'runs in the place of')
    (pictures,) = stage.outputs('sampling')
    camera.publish(frame(IMAGE))
    wait_until(lambda: pictures, 'a picture')
    assert stage.set_parameter('bundle', str(tiny_bundle)).successful
    stage.wait_for_log('tiny on onnxruntime runs in the place of')
    topics = {publisher.topic_name for publisher in stage.node.publishers}
    assert '/segmentation/sampling' not in topics
