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

"""Bundles of patches: as torch says, whatever the size of frame and batch."""

from __future__ import annotations

from pathlib import Path
import shutil

import numpy as np
import onnx
import pytest
from shared_sessions import share_sessions
from tiny_bundle import edited_model

torch = pytest.importorskip('torch', reason='the bundles are exported')

from patch_bundles import CONTEXTS, patch_bundle, patch_network, SIDE

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.core.bundle import Bundle, load_bundle
from uhr_seg_ros.core.errors import BundleError, ConfigError, EngineError
from uhr_seg_ros.networks.backbones.normalization import normalized
from uhr_seg_ros.networks.fctl.patch_network import PatchNetwork
from uhr_seg_ros.pipelines import patches
from uhr_seg_ros.pipelines.pipeline import TilingOptions
from uhr_seg_ros.pipelines.segmenter import Segmenter


@pytest.fixture(autouse=True)
def _sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    share_sessions(monkeypatch)


@pytest.fixture(scope='module', params=CONTEXTS)
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[PatchNetwork, Bundle]:
    return patch_network(request.param), patch_bundle(tmp_path_factory, request.param)


def picture(height: int, width: int) -> np.ndarray:
    shape = (-(-height // 8), -(-width // 8), 3)
    cells = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    return np.ascontiguousarray(cells.repeat(8, 0).repeat(8, 1)[:height, :width])


@pytest.mark.parametrize(
    'size',
    [
        (150, 201),
        (33, 100),
        *(pytest.param(it, marks=pytest.mark.slow) for it in ((64, 64), (1, 1))),
    ],
)
def test_bundle_gives_what_the_network_gives(
    made: tuple[PatchNetwork, Bundle], size: tuple[int, int]
) -> None:
    network, bundle = made
    image = picture(*size)
    with torch.no_grad():
        expected = network(normalized(image[None]))[0].numpy()
    with Segmenter(bundle) as segmenter:
        found = segmenter(image, logits=True, confidence=True)
    assert found.mask.shape == size
    assert np.abs(found.logits - expected).max() <= 1e-3 * np.abs(expected).max()
    assert (found.mask == expected.argmax(0)).mean() > 0.99
    assert found.confidence.shape == size and found.confidence.min() >= 255 // 5
    stages = set(found.stage_times)
    assert stages == {'convert', 'reduce', 'contexts', 'patches', 'merge'}
    assert list(found.stage_times) == [name for name in segmenter.stages if name in stages]


def test_contexts_matter(made: tuple[PatchNetwork, Bundle]) -> None:
    """A change beyond a patch changes the patch, where there are contexts, and only there."""
    _, bundle = made
    image = picture(64, 192)
    other = image.copy()
    other[:, 100:] = 255 - other[:, 100:]
    with Segmenter(bundle) as segmenter:
        # The first patch ends at 64 px.
        first, second = (segmenter(each, logits=True).logits[..., :40] for each in (image, other))
    changed = np.abs(first - second).max() / np.abs(first).max()
    assert (changed > 1e-4) == bool(bundle.patches.contexts)


def test_batches_change_nothing(made: tuple[PatchNetwork, Bundle]) -> None:
    _, bundle = made
    image = picture(100, 400)
    one = TilingOptions(memory_limit_mb=1)
    with Segmenter(bundle, tiling=one) as single, Segmenter(bundle) as several:
        alone, together = (each(image, logits=True).logits for each in (single, several))
    assert np.abs(alone - together).max() <= 1e-4 * np.abs(alone).max()


def test_memory_does_not_grow_with_the_height(
    made: tuple[PatchNetwork, Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logits of as many rows as a patch has are kept, and at most a batch of patches runs."""
    _, bundle = made
    bands, batches = [], []
    sums, run = patches.LogitAccumulator, patches.PatchesWithContexts._patches

    class Watched(sums):
        def __init__(self, *args: object) -> None:
            super().__init__(*args)
            bands.append(self._band.shape)

    def watched(self: object, image: np.ndarray, places: list, *rest: object) -> np.ndarray:
        batches.append(len(places))
        return run(self, image, places, *rest)

    monkeypatch.setattr(patches, 'LogitAccumulator', Watched)
    monkeypatch.setattr(patches.PatchesWithContexts, '_patches', watched)
    with Segmenter(bundle) as segmenter:
        segmenter(picture(140, 600))
    (band,) = bands
    assert band[:2] == (5, SIDE)
    assert max(batches) <= patches.MAX_BATCH
    assert sum(batches) >= (140 // SIDE) * (600 // SIDE)


def test_slow_frames_tell_how_far_they_are(
    made: tuple[PatchNetwork, Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, bundle = made
    monkeypatch.setattr(patches, 'SLOW_S', 0.0)
    lines: list[str] = []
    with Segmenter(bundle, options=EngineOptions(report=lines.append)) as segmenter:
        segmenter(picture(200, 80))
    assert len(lines) == 1  # the next one would be seconds later
    assert lines[0].startswith('frame of 80 x 200 px: 1 of 4 rows of patches')
    quick: list[str] = []
    monkeypatch.setattr(patches, 'SLOW_S', 100.0)
    with Segmenter(bundle, options=EngineOptions(report=quick.append)) as segmenter:
        segmenter(picture(200, 80))
    assert not quick


@pytest.fixture
def bundle(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Bundle:
    """Return a bundle that a test may damage."""
    original = patch_bundle(tmp_path_factory, 'numbers')
    return load_bundle(shutil.copytree(original.path, tmp_path / 'p'))


def test_logits_that_are_not_finite(bundle: Bundle) -> None:
    model = onnx.load(bundle.graphs['patch'].path)
    for tensor in model.graph.initializer:
        if tensor.name.endswith('classify.1.bias'):
            values = np.full(tensor.dims, np.nan, np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
            break
    else:
        pytest.fail('the classifier has another name')
    with Segmenter(replaced(bundle, model)) as segmenter:
        with pytest.raises(EngineError, match='graph patch .* logits that are not finite'):
            segmenter(picture(64, 64))


def replaced(bundle: Bundle, model: onnx.ModelProto) -> Bundle:
    """Put another graph of patches into a bundle."""
    from uhr_seg_ros.core.bundle import file_sha256

    path = bundle.graphs['patch'].path
    onnx.save(model, path)
    with edited_model(bundle.path) as content:
        content['graphs']['patch']['sha256'] = file_sha256(path)
    return load_bundle(bundle.path)


def test_another_side_than_the_graphs(bundle: Bundle) -> None:
    with edited_model(bundle.path) as content:
        content['patches']['side'] = 96
    with pytest.raises(EngineError, match='image'), Segmenter(bundle.path) as segmenter:
        segmenter(picture(96, 96))


@pytest.mark.parametrize(
    ('field', 'value', 'text'),
    [
        ('side', 0, r'patches\.side is 0, expected a number above zero'),
        ('contexts', {'huge': 2}, r"patches\.contexts has 'huge': 2, expected one of local"),
        ('contexts', {'medium': [2]}, r"patches\.contexts has 'medium': \[2\]"),
        ('contexts', 3, r'patches\.contexts is 3, expected a mapping'),
    ],
)
def test_damaged_fields(bundle: Bundle, field: str, value: object, text: str) -> None:
    with edited_model(bundle.path) as content:
        content['patches'][field] = value
    with pytest.raises(BundleError, match=text):
        load_bundle(bundle.path)


def test_a_factor_that_cannot_be_cut(bundle: Bundle) -> None:
    with edited_model(bundle.path) as content:
        content['patches']['contexts']['medium'] = 20
    with pytest.raises(ConfigError, match='factor 20 around patches of 64 px'):
        Segmenter(bundle.path)


def test_other_classes_than_the_graph(bundle: Bundle) -> None:
    with edited_model(bundle.path) as content:
        content['classes'].pop()
    text = r'shape \(1, 5, 64, 64\), expected float32 \(1, 4, 64, 64\), as model.yaml'
    with pytest.raises(EngineError, match=text), Segmenter(bundle.path) as segmenter:
        segmenter(picture(64, 64))


def test_tiles_make_no_sense(bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match='a tile of 256 px: patches of p have a size'):
        Segmenter(bundle, 'onnxruntime', TilingOptions(tile=256))


def test_there_is_no_semantic_branch(bundle: Bundle) -> None:
    with Segmenter(bundle) as segmenter, pytest.raises(ConfigError, match='no semantic branch'):
        segmenter.semantic_only(picture(64, 64))
