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

"""Bundles: what is written is read back, and damage is named."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path
import shutil

import pytest
from tiny_bundle import edited_model, make_tiny_bundle, TINY_CLASSES

from uhr_seg_ros.core.bundle import find_bundle, load_bundle
from uhr_seg_ros.core.bundle_kinds import BUNDLE_KINDS, BundleKind
from uhr_seg_ros.core.errors import BundleError
from uhr_seg_ros.core.timing import NODE_STAGES
from uhr_seg_ros.export.bundle_writing import add_precision, write_bundle


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """Return a copy of the tiny bundle that a test may damage."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / 'bundle'))


def edit(bundle: Path, key: str, value: object) -> None:
    """Set one field of model.yaml by dotted key; None removes it."""
    *parents, last = key.split('.')
    with edited_model(bundle) as place:
        for part in parents:
            place = place[part]
        if value is None:
            del place[last]
        else:
            place[last] = value


def test_reads_back_what_was_written(tiny_bundle: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    assert (bundle.name, bundle.network, bundle.kind.name) == ('tiny', 'tiny', 'two_branch')
    assert bundle.classes == TINY_CLASSES
    assert bundle.mean == (123.675, 116.28, 103.53)
    assert (bundle.multiple, bundle.low_res_factor) == (16, 4)
    assert bundle.detail_bytes_per_pixel == 40.0
    assert bundle.provenance == {'weights': 'by hand'}
    assert set(bundle.graphs) == set(bundle.kind.graphs) - set(bundle.kind.optional)
    assert bundle.graphs['fusion'].outputs == ('mask',)


def test_memory_and_provenance_may_be_absent(bundle: Path) -> None:
    edit(bundle, 'memory', None)
    edit(bundle, 'provenance', None)
    loaded = load_bundle(bundle)
    assert loaded.detail_bytes_per_pixel is None
    assert loaded.provenance == {}


def test_provenance_becomes_plain_values(tmp_path: Path) -> None:
    directory = make_tiny_bundle(tmp_path / 'bundle')
    bundle = write_bundle(
        directory,
        name='tiny',
        network='tiny',
        kind='two_branch',
        classes=TINY_CLASSES,
        provenance={'checkpoint': Path('a.pth'), 'size': (1, 2)},
    )
    assert bundle.provenance == {'checkpoint': 'a.pth', 'size': [1, 2]}
    assert not list(directory.glob('.model.yaml*'))


def test_write_needs_every_graph(bundle: Path) -> None:
    (bundle / 'scores.onnx').unlink()
    with pytest.raises(BundleError, match=r'scores\.onnx is missing'):
        write_bundle(bundle, name='x', network='x', kind='two_branch', classes=TINY_CLASSES)


def test_finds_installed_model_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = make_tiny_bundle(tmp_path / 'share/uhr_seg_ros/models/tiny_by_name')
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'/nowhere:{tmp_path}')
    assert find_bundle('tiny_by_name') == expected
    with pytest.raises(BundleError, match=r"'other'.*installed models \(.*tiny_by_name"):
        find_bundle('other')


def test_an_unrelated_folder_does_not_hide_an_installed_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = make_tiny_bundle(tmp_path / 'share/uhr_seg_ros/models/tiny_by_name')
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))
    (tmp_path / 'tiny_by_name').mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_bundle('tiny_by_name') == expected


def test_folder_without_model_file(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r'has no model\.yaml'):
        load_bundle(tmp_path)


@pytest.mark.parametrize('content', ['a: [1', '- 1', '', '\x00'])
def test_unreadable_yaml(bundle: Path, content: str) -> None:
    (bundle / 'model.yaml').write_text(content)
    with pytest.raises(BundleError, match=r'model\.yaml') as caught:
        load_bundle(bundle)
    assert '\n' not in str(caught.value)


def test_yaml_in_another_encoding(bundle: Path) -> None:
    (bundle / 'model.yaml').write_bytes(b'\xff\xfe\xfa')
    with pytest.raises(BundleError, match='cannot be read'):
        load_bundle(bundle)


@pytest.mark.parametrize(
    ('key', 'value', 'text'),
    [
        ('format', 2, 'format 2 is unknown'),
        ('format', None, 'field format is missing'),
        ('kind', 'three_branch', "kind 'three_branch' is unknown, known: two_branch"),
        ('name', 7, 'field name is 7, expected a text'),
        ('classes', [], '1 to 65535 classes, not 0'),
        ('classes', [{'name': 'a'}], 'field classes needs entries such as'),
        ('classes', [{'name': 'a', 'color': [0, 0, 300]}], r'colour \(0, 0, 300\)'),
        ('input.mean', [1, 2], r'input\.mean is \[1, 2\], expected 3 numbers'),
        ('input.std', [0, 1, 1], r'input\.std is .* expected 0\.001 to 255'),
        ('input.multiple', 0, r'input\.multiple is 0, expected a number above zero'),
        ('input.low_res_factor', True, r'input\.low_res_factor is True'),
        ('graphs.detail', None, r'graphs\.detail\.file is missing'),
        ('graphs.detail.file', '../detail.onnx', 'expected a file name in the bundle'),
        ('graphs.detail.outputs', ['affinity'], r'graphs\.detail\.outputs lacks local'),
        ('memory.detail_bytes_per_pixel', -1, 'expected a number above zero'),
    ],
)
def test_wrong_field_is_named(bundle: Path, key: str, value: object, text: str) -> None:
    edit(bundle, key, value)
    with pytest.raises(BundleError, match=text) as caught:
        load_bundle(bundle)
    assert str(bundle / 'model.yaml') in str(caught.value)


def test_missing_graph(bundle: Path) -> None:
    (bundle / 'detail.onnx').unlink()
    with pytest.raises(BundleError, match=r'detail\.onnx cannot be read .*fetch the bundle again'):
        load_bundle(bundle)


def test_changed_graph(bundle: Path) -> None:
    recorded = load_bundle(bundle).graphs['detail'].sha256
    with (bundle / 'detail.onnx').open('ab') as file:
        file.write(b'x')
    with pytest.raises(BundleError, match=rf'detail\.onnx has sha256 .* expects {recorded}'):
        load_bundle(bundle)


@pytest.fixture
def with_int8(bundle: Path) -> Path:
    """Return a bundle that has its detail graph a second time, as if in int8."""
    shutil.copy(bundle / 'detail.onnx', bundle / 'detail_int8.onnx')
    add_precision(bundle, 'int8', {'detail': 'detail_int8.onnx'}, {'frames': Path('a/b')})
    return bundle


def test_bundles_without_precisions_are_fp32(tiny_bundle: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    assert bundle.precisions == {}
    assert bundle.cpu_precision == 'fp32'
    assert bundle.graphs_in('fp32') == bundle.graphs_in('int8') == bundle.graphs


def test_a_second_set_of_graphs(with_int8: Path) -> None:
    bundle = load_bundle(with_int8)
    assert bundle.cpu_precision == 'fp32'
    assert bundle.precisions['int8'].provenance == {'frames': 'a/b'}
    graphs = bundle.graphs_in('int8')
    assert graphs['detail'].path.name == 'detail_int8.onnx'
    assert graphs['detail'].outputs == ('affinity', 'local')
    assert graphs['semantic'] == bundle.graphs['semantic']
    assert bundle.graphs['detail'].path.name == 'detail.onnx'


def test_graphs_in_float32_for_a_cpu(with_int8: Path) -> None:
    """In int8 they stand in for what int8 does not have; other back ends never see them."""
    for name in ('detail', 'quarter'):
        shutil.copy(with_int8 / f'{name}.onnx', with_int8 / f'{name}_cpu.onnx')
    files = {'detail': 'detail_cpu.onnx', 'quarter': 'quarter_cpu.onnx'}
    bundle = add_precision(with_int8, 'fp32', files, {})
    assert bundle.cpu_precision == 'fp32'
    named = [
        {name: graph.path.name for name, graph in graphs.items() if name in files}
        for graphs in (bundle.graphs, bundle.graphs_in('fp32'), bundle.graphs_in('int8'))
    ]
    assert named == [
        {'detail': 'detail.onnx', 'quarter': 'quarter.onnx'},
        files,
        {'detail': 'detail_int8.onnx', 'quarter': 'quarter_cpu.onnx'},
    ]


def test_the_default_stays_until_another_one_is_asked_for(with_int8: Path) -> None:
    files = {'detail': 'detail_int8.onnx'}
    assert add_precision(with_int8, 'int8', files, {}, default=True).cpu_precision == 'int8'
    assert add_precision(with_int8, 'int8', files, {}).cpu_precision == 'int8'


def test_changed_int8_graph(with_int8: Path) -> None:
    with (with_int8 / 'detail_int8.onnx').open('ab') as file:
        file.write(b'x')
    with pytest.raises(BundleError, match=r'detail_int8\.onnx has sha256 .* expects '):
        load_bundle(with_int8)


@pytest.mark.parametrize(
    ('key', 'value', 'text'),
    [
        ('precisions', [], r'field precisions is \[\], expected a mapping'),
        ('precisions', {'int4': {}}, "field precisions has 'int4', known: fp32, int8"),
        ('precisions.int8.graphs', None, r'field precisions\.int8\.graphs is missing'),
        ('precisions.int8.graphs', {'depth': {}}, "graphs has 'depth', a graph is one of sem"),
        ('precisions.int8.graphs.detail.file', '../x.onnx', 'expected a file name in the bundle'),
        ('precisions.int8.graphs.detail.sha256', None, r'detail\.sha256 is missing'),
        ('cpu_precision', 'fp16', "cpu_precision is 'fp16', the bundle has fp32, int8"),
    ],
)
def test_wrong_precision_field_is_named(
    with_int8: Path, key: str, value: object, text: str
) -> None:
    edit(with_int8, key, value)
    with pytest.raises(BundleError, match=text) as caught:
        load_bundle(with_int8)
    assert str(with_int8 / 'model.yaml') in str(caught.value)


@pytest.mark.parametrize('kind', BUNDLE_KINDS.values(), ids=str)
def test_what_a_kind_names_is_there(kind: BundleKind) -> None:
    """Pipelines are named, not imported: a wrong name would show on the machine that needs it."""
    for entry in kind.pipelines.values():
        module, _, name = entry.target.partition(':')
        source = Path(find_spec(module).origin).read_text(encoding='utf-8')
        classes = [each.name for each in ast.parse(source).body if isinstance(each, ast.ClassDef)]
        assert name in classes
        assert entry.stages and len(set(entry.stages)) == len(entry.stages)
        # The node converts frames, too; all other stages of its own have other names.
        assert set(entry.stages) & set(NODE_STAGES) <= {'convert'}
    tensors = {name for graph in kind.graphs.values() for name in (*graph.inputs, *graph.outputs)}
    assert set(kind.dynamic_axes) - {'place', 'residuals'} <= tensors
    assert 'onnxruntime' in kind.pipelines
    first, second = kind.compare_sizes(96, 128)
    assert first != second and (96, 128) not in (first, second)
