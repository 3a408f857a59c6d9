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

"""The graph `novelty`: learned of ground, put into a bundle, and told of frames."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('onnx', reason='the tiny bundle is made with onnx')

from tiny_bundle import make_tiny_bundle

from uhr_seg_ros import FrameBudget, Segmenter
from uhr_seg_ros.cli.main import main
from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.core.errors import BundleError, ConfigError
from uhr_seg_ros.export import novelty
from uhr_seg_ros.export.bundle_writing import add_graph
from uhr_seg_ros.export.novelty import fit_known, FrameFeatures, Known, write_known


def ground(seed: int, shift: float = 0.0) -> np.ndarray:
    """Return features (40, 5) of one picture, of which one never changes."""
    generator = np.random.default_rng(seed)
    found = generator.normal(shift, [1.0, 0.1, 10.0, 1.0, 0.0], (40, 5))
    found[:, 3] += found[:, 0]  # they depend on each other
    return found.astype(np.float32)


def test_other_ground_is_farther_than_its_own() -> None:
    known = fit_known([ground(seed) for seed in range(8)])
    own, other = ground(9), ground(9, 6.0)
    assert np.median(known.novelty(own)) < 0.8
    assert 0.8 < (known.novelty(own) < 1).mean() < 1.0 + 1e-9
    # Far in every direction, also in one that the sizes of the features alone do not show.
    assert known.novelty(other).min() > 1
    crossed = own.copy()
    crossed[:, 3] -= 6 * own[:, 0]
    assert known.novelty(crossed).mean() > 1 > known.novelty(own).mean()


def test_held_out_ground_sets_the_limit() -> None:
    parts, held_out = [ground(0)], ground(1, 2.0)
    known = fit_known(parts, held_out)
    assert (known.novelty(held_out) <= 1).mean() == pytest.approx(0.95, abs=0.03)
    with pytest.raises(ConfigError, match='one picture tells nothing of how others differ'):
        fit_known(parts)
    with pytest.raises(ConfigError, match='all frames look alike'):
        fit_known([np.ones((4, 3), np.float32)] * 2)


def test_what_is_kept_is_bounded_and_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(novelty, 'MAX_KNOWN', 9)
    features = ground(3)
    features[17] += 100.0
    known = fit_known([features], features)
    assert len(known.frames) == 9
    assert known.novelty(features[17:18])[0] == pytest.approx(0.0, abs=1e-3)


def test_the_graph_says_what_was_learned_of_any_frame(tmp_path: Path) -> None:
    folder = make_tiny_bundle(tmp_path / 'tiny')
    bundle = load_bundle(folder)
    image = np.random.default_rng(0).integers(0, 255, (80, 112, 3), np.uint8)
    features = FrameFeatures(bundle)
    seen = features(image)
    features.close()
    generator = np.random.default_rng(1)
    count = len(seen)
    whitening, frames = generator.normal(size=(count, count)), generator.normal(size=(6, count))
    known = Known(generator.normal(size=count), whitening, frames, 0.5)
    write_known(known, tmp_path / 'known.onnx')
    expected = known.novelty(seen[None])[0]
    with Segmenter(bundle, 'onnxruntime') as segmenter:
        assert segmenter(image, novelty=True).novelty is None  # it cannot tell
    told = add_graph(folder, 'novelty', tmp_path / 'known.onnx', {'by': 'hand'})
    with Segmenter(told, 'onnxruntime') as segmenter:
        assert segmenter(image).novelty is None
        found = segmenter(image, novelty=True, confidence=True)
        assert found.novelty == pytest.approx(expected, rel=1e-4)
        assert found.confidence is not None
        within = segmenter(image, novelty=True, budget=FrameBudget(1000.0))
        assert within.novelty == pytest.approx(expected, rel=1e-4)


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = make_tiny_bundle(tmp_path / 'tiny')
    for name, color in (('fields', (40, 120, 60)), ('snow', (250, 250, 250))):
        (tmp_path / name).mkdir()
        for index in range(3):
            noise = np.random.default_rng(index).normal(color, 12 + index, (96, 128, 3))
            picture = np.clip(noise, 0, 255).astype(np.uint8)
            cv2.imwrite(str(tmp_path / name / f'{index}.png'), picture)
    to, fields = ['--bundle', str(bundle)], ['--frames', str(tmp_path / 'fields')]
    with pytest.raises(BundleError, match='does not know which frames it knows'):
        raise_of(['novelty', 'check', *to, *fields], capsys)
    assert main(['novelty', 'fit', *to, *fields, '--parts', '3']) == 0
    made = load_bundle(bundle).provenance['novelty']
    assert (made['frames'], made['pictures'], made['kept']) == ('fields', 3, 24)
    capsys.readouterr()
    assert main(['novelty', 'check', *to, *fields]) == 0
    assert '3 frames' in (said := capsys.readouterr().out)
    assert '; 0% are above 1' in said
    assert main(['novelty', 'check', *to, '--frames', str(tmp_path / 'snow')]) == 0
    assert '; 100% are above 1' in capsys.readouterr().out
    for name, is_told in (('fields', False), ('snow', True)):
        pictures = sorted(map(str, (tmp_path / name).glob('*.png')))
        assert main(['segment', *pictures, *to, '--output', str(tmp_path / 'out' / name)]) == 0
        told = 'uhr_seg: the frames are unlike those that bundle tiny knows'
        assert (told in capsys.readouterr().err) == is_told


def raise_of(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Raise what a command says when it ends with an error."""
    assert main(words) == 2
    raise BundleError(capsys.readouterr().err)
