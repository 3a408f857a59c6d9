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
"""The filter over time: flicker goes, motion and jumps begin anew, and off it costs nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_bundle import paint

from uhr_seg_ros.core.visualization import OverlayOptions
from uhr_seg_ros.pipelines import smoothing
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.pipelines.smoothing import MaskSmoother, MAX_FRAMES
from uhr_seg_ros.synthetic.flight import cut_frame, Pose
from uhr_seg_ros.synthetic.scenes import generate_scene

SECOND = 10**9


@pytest.fixture(autouse=True)
def _several_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smoothing, '_STRIP', 500)


def noisy(mask: np.ndarray, generator: np.random.Generator, share: float = 0.01) -> np.ndarray:
    """Give a share of the pixels another class."""
    changed = generator.random(mask.shape) < share
    return np.where(changed, (mask + 1) % 5, mask).astype(mask.dtype)


def debounced(masks: list[np.ndarray], frames: int) -> list[np.ndarray]:
    """Return what is shown, pixel by pixel, by the definition."""
    shown = [masks[0]]
    for index in range(1, len(masks)):
        recent = masks[max(0, index - frames + 1) : index + 1]
        agree = np.all([each == masks[index] for each in recent], axis=0) & (index + 1 >= frames)
        shown.append(np.where(agree, masks[index], shown[-1]))
    return shown


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
@pytest.mark.parametrize('frames', [2, 3, 5])
def test_classes_change_when_frames_agree(frames: int, dtype: type) -> None:
    generator = np.random.default_rng(frames)
    states = [generator.integers(0, 2, (40, 60)) for _ in range(3)]
    # Classes that come and stay, come and go, at few enough pixels at a time.
    masks = [np.zeros((40, 60), dtype)]
    for index in range(1, 14):
        changing = generator.random((40, 60)) < 0.04
        masks.append(np.where(changing, states[index % 3], masks[-1]).astype(dtype))
    smoother = MaskSmoother(frames)
    found = [smoother(mask.copy(), index * SECOND) for index, mask in enumerate(masks)]
    for shown, wanted in zip(found, debounced(masks, frames), strict=True):
        np.testing.assert_array_equal(shown, wanted)
        assert shown.dtype == dtype
    assert any((shown != mask).any() for shown, mask in zip(found, masks, strict=True))


def test_flicker_of_a_still_recording_goes() -> None:
    still, generator = generate_scene(3, 120, 160)[1], np.random.default_rng(0)
    smoother = MaskSmoother(3)
    assert (smoother(still.copy()) == still).all()
    plain, shown = [noisy(still, generator) for _ in range(20)], []
    for mask in plain:
        shown.append(smoother(mask.copy()).copy())
    flicker = [
        np.mean([(a != b).mean() for a, b in zip(masks, masks[1:], strict=False)])
        for masks in (plain, shown)
    ]
    assert flicker[1] < 0.01 * flicker[0]


def test_a_camera_that_moves_is_followed() -> None:
    labels = generate_scene(3, 300, 400)[1]

    def view(x: float) -> np.ndarray:
        return cut_frame(labels[..., None].repeat(3, 2), Pose(x, 150.0, 0.0), (160, 200))[..., 0]

    smoother = MaskSmoother(4)
    for x in (150, 190, 230):
        mask = view(x)
        np.testing.assert_array_equal(smoother(mask.copy()), mask)
    other = mask.copy()
    other[:4, :4] += 1
    np.testing.assert_array_equal(smoother(other.copy()), mask)  # it stands still again


@pytest.mark.parametrize(
    ('last_ns', 'begins_anew'),
    [(3 * SECOND, False), (2 * SECOND, False), (1 * SECOND, True), (30 * SECOND, True)],
)
def test_jumps_of_stamps(last_ns: int, begins_anew: bool) -> None:
    mask = np.zeros((32, 32), np.uint8)
    other = mask.copy()
    other[0, 0] = 1
    smoother = MaskSmoother(3)
    for stamp_ns in (SECOND, 2 * SECOND):
        smoother(mask.copy(), stamp_ns)
    shown = smoother(other.copy(), last_ns)
    assert shown[0, 0] == begins_anew


def test_another_size_begins_anew() -> None:
    smoother = MaskSmoother(3)
    for size in ((8, 8), (16, 8), (8, 8)):
        mask = np.full(size, size[0] % 3, np.uint8)
        np.testing.assert_array_equal(smoother(mask.copy()), mask)


def test_a_class_that_was_there_for_long_goes_as_fast_as_any() -> None:
    smoother, mask = MaskSmoother(2), np.zeros((10, 10), np.uint8)
    other = mask.copy()
    other[0, 0] = 1
    for _ in range(300):  # more than a byte counts
        smoother(mask.copy())
    assert [int(smoother(other.copy())[0, 0]) for _ in range(2)] == [0, 1]
    assert MAX_FRAMES < 255


def test_the_segmenter_paints_what_it_returns(tiny_bundle: Path) -> None:
    still = np.zeros((128, 128), np.uint8)
    other = still.copy()
    other[:16, :16] = 2
    colors = OverlayOptions(color_mask=True, scale=1.0)
    with Segmenter(tiny_bundle) as segmenter:
        smoother = MaskSmoother(2)
        first, second, third = (
            segmenter(paint(mask), overlay=colors, smoothing=smoother)
            for mask in (still, other, other)
        )
        plain = segmenter(paint(other), overlay=colors)
    np.testing.assert_array_equal(second.mask, first.mask)
    np.testing.assert_array_equal(second.color_mask, first.color_mask)
    np.testing.assert_array_equal(third.mask, plain.mask)
    np.testing.assert_array_equal(third.color_mask, plain.color_mask)
    assert list(third.stage_times)[-2:] == ['smooth', 'overlay']
    assert 'smooth' not in plain.stage_times
