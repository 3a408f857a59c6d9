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

"""Exported bundles compute what torch computes, at any size, without torch."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
import shutil
import subprocess
import sys

from built_once import built_once
import numpy as np
import onnx
from parity import DATA, Fixture
import pytest

torch = pytest.importorskip('torch', reason='the networks need torch')

from uhr_seg_ros.core.bundle import Bundle, load_bundle
from uhr_seg_ros.core.classes import CLASS_SETS, ClassSet
from uhr_seg_ros.core.errors import BundleError
from uhr_seg_ros.export.export import compare, export_bundle
from uhr_seg_ros.networks.hlrc.network import HLRC
from uhr_seg_ros.networks.presets import build_network
from uhr_seg_ros.pipelines.segmenter import Segmenter

FORBIDDEN = {'If', 'Loop', 'Scan', 'NonZero'}


def lively(name: str, classes: int | None = None, side: int = 320) -> HLRC:
    """Random weights that use every part: normalised activations, varied routing and logits."""
    torch.manual_seed(0)
    network = build_network(name, classes)
    torch.nn.init.normal_(network.decoder.classify.weight)
    experts = network.region.experts
    for layer in (experts.first, experts.second, experts.last):
        torch.nn.init.normal_(layer, std=0.2)
    torch.nn.init.normal_(network.region.affinity_head.out.weight, std=0.3)
    # A gate that looks at differences between channels, so that images are routed differently.
    torch.nn.init.normal_(experts.gate.weight)
    experts.gate.weight.data -= experts.gate.weight.mean(1, keepdim=True)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the plain mean over the calls
    with torch.no_grad():
        for _ in range(3):
            # Images that differ as wholes too: norms after a global mean see nothing else.
            network.train()(torch.randn(2, 3, side, side) + torch.randn(2, 3, 1, 1))
        # Logits as of a trained network: of hundreds, rounding alone would change the answer.
        image = torch.randn(2, 3, side, side)
        experts.gate.weight.mul_(3 / network.eval().region(image)[1].std())
        classifier = network.decoder.classify
        classifier.bias.zero_()
        classifier.weight.mul_(3 / network(image).std())
    return network


@pytest.fixture(scope='module')
def small() -> HLRC:
    return lively('hlrc_s')


@pytest.fixture(scope='module')
def bundle(small: HLRC, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    def build(folder: Path) -> None:
        fields = {'name': 'small', 'preset': 'hlrc_s', 'classes': CLASS_SETS['aerial']}
        export_bundle(small, folder, **fields)

    return load_bundle(built_once(tmp_path_factory, 'hlrc_s', build))


def test_bundle_reads_back(bundle: Bundle) -> None:
    again = load_bundle(bundle.path)
    assert again == bundle
    assert (again.network, again.multiple, again.low_res_factor) == ('hlrc_s', 16, 4)
    assert again.provenance['opset'] == 17


def test_files(bundle: Bundle) -> None:
    assert sorted(path.name for path in bundle.path.iterdir()) == [
        'detail.onnx',
        'detail_cpu.onnx',
        'fusion.onnx',
        'model.yaml',
        'quarter.onnx',
        'quarter_cpu.onnx',
        'scores.onnx',
        'semantic.onnx',
        'weights.safetensors',
    ]


def test_graphs_are_opset_17_without_control_flow(bundle: Bundle) -> None:
    for graph in bundle.graphs.values():
        model = onnx.load(graph.path)
        onnx.checker.check_model(model)
        assert [entry.version for entry in model.opset_import if not entry.domain] == [17]
        assert not FORBIDDEN & {node.op_type for node in model.graph.node}


@pytest.mark.parametrize('size', [(16, 16), (48, 16), (1, 1), (100, 75), (336, 592)])
def test_same_as_torch_at_other_sizes(small: HLRC, bundle: Bundle, size: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    rows, columns = (-side % 16 for side in size)
    padded = np.pad(image, ((0, rows), (0, columns), (0, 0)), 'edge')
    rgb = torch.from_numpy(padded[:, :, ::-1].astype(np.float32))
    normalized = (rgb - torch.tensor(bundle.mean)) / torch.tensor(bundle.std)
    with torch.no_grad():
        expected = small(normalized.permute(2, 0, 1)[None])[0].numpy()
    expected = expected[:, : size[0], : size[1]]
    with Segmenter(bundle) as segmenter:
        found = segmenter(image, logits=True, confidence=True)
    assert found.mask.shape == size
    assert np.abs(found.logits - expected).max() <= 1e-3 * np.abs(expected).max()
    assert (found.mask == expected.argmax(0)).mean() >= 0.9999
    exponentials = np.exp(expected - expected.max(0))
    confidence = 255 / exponentials.sum(0)
    assert np.abs(found.confidence - confidence).max() <= 1.0


def test_routing_is_not_frozen_to_the_traced_image(small: HLRC, bundle: Bundle) -> None:
    def chosen(image: np.ndarray) -> list[list[int]]:
        tensor = torch.from_numpy(image.astype(np.float32) / 60 - 2).permute(2, 0, 1)[None]
        with torch.no_grad():
            gate = small.region(tensor)[1]
        return gate.topk(2, -1).indices.reshape(-1, 2).tolist()

    rng = np.random.default_rng(3)
    noise = rng.integers(0, 256, (128, 128, 3), np.uint8)
    flat = np.full((128, 128, 3), 40, np.uint8)
    moved = np.not_equal(chosen(noise), chosen(flat)).any(1).mean()
    assert moved > 0.1
    for image in (noise, flat):
        _compare_mask(small, bundle, image)


def _compare_mask(network: HLRC, bundle: Bundle, image: np.ndarray) -> None:
    rgb = torch.from_numpy(image[:, :, ::-1].astype(np.float32))
    normalized = (rgb - torch.tensor(bundle.mean)) / torch.tensor(bundle.std)
    with torch.no_grad():
        expected = network(normalized.permute(2, 0, 1)[None])[0].argmax(0).numpy()
    with Segmenter(bundle) as segmenter:
        assert (segmenter(image).mask == expected).mean() >= 0.9999


def test_a_mismatch_is_an_error(small: HLRC, bundle: Bundle) -> None:
    with torch.no_grad(), pytest.raises(BundleError, match='disagrees with torch'):
        compare(deepcopy(small).apply(_disturb), bundle, (64, 64))


def test_a_mismatch_leaves_what_was_there(
    small: HLRC, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        msg = 'disagrees'
        raise BundleError(msg)

    def write(network: HLRC, folder: Path) -> None:
        for graph in bundle.graphs.values():
            shutil.copy(graph.path, folder)

    monkeypatch.setitem(export_bundle.__globals__, 'compare', refuse)
    monkeypatch.setitem(export_bundle.__globals__, 'write_graphs', write)
    folder = tmp_path / 'out'
    folder.mkdir()
    (folder / 'model.yaml').write_text('the older one')
    with pytest.raises(BundleError, match='disagrees'):
        export_bundle(small, folder, name='s', preset='hlrc_s', classes=CLASS_SETS['aerial'])
    assert [file.name for file in tmp_path.rglob('*')] == ['out', 'model.yaml']
    assert (folder / 'model.yaml').read_text() == 'the older one'


def test_a_killed_export_leaves_nothing_that_loads(
    small: HLRC, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = b''

    def write(network: HLRC, folder: Path) -> None:
        for graph in bundle.graphs.values():
            (folder / graph.path.name).write_bytes(graph.read() + note)

    for name in ('compare', 'detail_bytes_per_pixel'):
        monkeypatch.setitem(export_bundle.__globals__, name, lambda *_: None)
    monkeypatch.setitem(export_bundle.__globals__, 'write_graphs', write)
    fields = {'preset': 'hlrc_s', 'classes': CLASS_SETS['aerial']}
    export_bundle(small, tmp_path, name='old', **fields)
    (tmp_path / '.export_killed').mkdir()
    note = b'\x32\x03new'  # the description of a model, field 6
    moved: list[str] = []
    real = Path.replace

    def replace(source: Path, target: Path) -> Path:
        if target.parent == tmp_path:
            if len(moved) == 2:
                raise KeyboardInterrupt
            moved.append(target.name)
        return real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, 'replace', replace)
        with pytest.raises(KeyboardInterrupt):
            export_bundle(small, tmp_path, name='new', **fields)
    assert len(moved) == 2 and 'model.yaml' not in moved
    assert not [path for path in tmp_path.iterdir() if path.name.startswith('.')]
    with pytest.raises(BundleError, match='has sha256'):
        load_bundle(tmp_path)
    again = export_bundle(small, tmp_path, name='new', **fields)
    assert load_bundle(tmp_path) == again
    assert again.name == 'new' and again.graphs['detail'].sha256 != bundle.graphs['detail'].sha256


def _disturb(module: torch.nn.Module) -> None:
    if isinstance(module, torch.nn.BatchNorm2d):
        module.running_mean += 0.5


def test_class_count_must_match(small: HLRC, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match='2 class names for a network with 5'):
        export_bundle(small, tmp_path, name='x', preset='hlrc_s', classes=CLASS_SETS['inria'])


def test_more_classes_than_a_byte_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(export_bundle.__globals__, 'compare', lambda *_: None)
    count = 300
    names = tuple(f'class {index}' for index in range(count))
    colors = tuple((index % 256, index // 256, 0) for index in range(count))
    bundle = export_bundle(
        lively('hlrc_s', count, side=64),
        tmp_path,
        name='many',
        preset='hlrc_s',
        classes=ClassSet(names, colors),
    )
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    with Segmenter(bundle) as segmenter:
        alone, scored = segmenter(image), segmenter(image, logits=True)
    for mask in (alone.mask, scored.mask):
        assert mask.dtype == np.uint16
        assert mask.max() > 255
        assert np.array_equal(mask, scored.logits.argmax(0))


def test_a_script_without_guard_can_measure_memory(bundle: Bundle, tmp_path: Path) -> None:
    """What an export measures in new processes does not run the script again."""
    script = tmp_path / 'script.py'
    script.write_text(
        'from uhr_seg_ros.backends.memory_profile import detail_bytes_per_pixel\n'
        'from uhr_seg_ros.core.bundle import load_bundle\n'
        f'print("bytes", detail_bytes_per_pixel(load_bundle({str(bundle.path)!r})))\n'
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # 12 of them are the image, which has to lie in the memory as that of a camera does.
    assert 52 < float(done.stdout.removeprefix('bytes ')) < 80


@pytest.mark.slow
def test_published_network_as_bundle(tmp_path: Path) -> None:
    """The paper network, its official numbers, and no torch on the way from image to mask."""
    from test_parity import network_of  # noqa: PLC0415

    preset = 'hlrc_cityscapes'
    fixture = Fixture(DATA / 'hlrc_cityscapes_128x256.npz')
    classes = CLASS_SETS['cityscapes']
    exported = export_bundle(
        network_of(preset), tmp_path, name='city', preset=preset, classes=classes
    )
    image = np.ascontiguousarray(fixture.arrays['image_u8'][:, :, ::-1])
    with Segmenter(exported) as segmenter:
        found = segmenter(image, logits=True)
    assert fixture.error('final', found.logits[None]) <= 1e-3
    assert (found.mask == fixture.arrays['argmax_u8']).mean() >= 0.9999


def test_the_small_network_is_small() -> None:
    from torch.utils.flop_counter import FlopCounterMode  # noqa: PLC0415

    small = build_network('hlrc_s').eval()
    assert sum(parameter.numel() for parameter in small.parameters()) <= 4e6
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        small(torch.zeros(1, 3, 128, 256))
    # The published network takes 444.45 GFLOP at 64 times as many pixels.
    assert 64 * counter.get_total_flops() <= 444.45e9 / 20
