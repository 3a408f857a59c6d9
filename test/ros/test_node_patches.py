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

"""The node with a bundle of patches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stage import frame, pixels, Stage, wait_until

pytest.importorskip('torch', reason='the bundle is exported')

from patch_bundles import patch_bundle

from uhr_seg_ros.pipelines import patches
from uhr_seg_ros.pipelines.segmenter import Segmenter


@pytest.fixture
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return patch_bundle(tmp_path_factory, 'numbers').path


def test_masks_and_diagnostics(
    make_stage: Callable[..., Stage], bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patches, 'SLOW_S', 0.0)
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    image = image.repeat(10, 0).repeat(10, 1)
    with Segmenter(bundle, 'onnxruntime') as segmenter:
        expected = segmenter(image).mask
    assert len(np.unique(expected)) > 1
    stage = make_stage(bundle=str(bundle))
    camera = stage.camera()
    (masks,) = stage.outputs('mask')
    camera.publish(frame(image, stamp=3.0))
    np.testing.assert_array_equal(pixels(wait_until(lambda: masks, 'a mask')[0]), expected)

    def told() -> dict[str, Any] | None:
        values = stage.values('/segmentation: segmentation')
        return values if values.get('frames_processed') == '1' else None

    values = wait_until(told, 'the node status')
    for name in ('reduce', 'contexts', 'patches', 'merge'):
        assert float(values[f'{name}_p50_ms']) > 0.0
    assert 'semantic_p50_ms' not in values
    stage.wait_for_log('rows of patches', 's left')
