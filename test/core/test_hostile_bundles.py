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

"""Bundles that somebody damaged or prepared: an error of ours at once, in one short line."""

from __future__ import annotations

from collections.abc import Iterator
import copy
import hashlib
import os
from pathlib import Path
import shutil
from typing import Any

import numpy as np
import pytest
from tiny_bundle import edited_model, TINY_CLASSES
import yaml

pytest.importorskip('hypothesis', reason='hypothesis makes the input')
onnx = pytest.importorskip('onnx', reason='the bundles are made with onnx')
from hypothesis import given, settings, strategies

from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.core.errors import BundleError
from uhr_seg_ros.core.work_folders import draft_folder
from uhr_seg_ros.export.bundle_writing import add_precision, write_bundle
from uhr_seg_ros.onnx_graphs.external_data import embed_external_data
from uhr_seg_ros.pipelines.segmenter import Segmenter

#: What may stand in the place of any value, as YAML.
HOSTILE = [
    '2024-99-99',
    '2024-01-01',
    '9' * 5000,
    '-1',
    '0',
    '1',
    '12.7',
    '.inf',
    '-.inf',
    '.nan',
    '1:30',
    '010',
    '99999999999999999999',
    '1.0e+400',
    'true',
    'no',
    '~',
    "''",
    "' '",
    "'.'",
    "'..'",
    '/etc/passwd',
    '"a\\0b"',
    '"a\\ud800b"',
    '"\\e[31m"',
    '"two\\nlines"',
    'x' * 100_000,
    '[' * 20_000 + ']' * 20_000,
    '[]',
    '{}',
    '[1, 2, 3]',
    '{a: 1, a: 2}',
    '{1: 2}',
    '{~: 2}',
    '{<<: {a: 1}, <<: {b: 2}}',
    '&c [*c]',
    '!!python/object/apply:os.getcwd []',
    '!!binary aGVsbG8=',
    '!!set {a}',
    '!own x',
    '[[[[[[[[deep]]]]]]]]',
    'model.yaml',
    '*',
    '[&p [x,x,x,x,x,x,x,x,x,x], &q [*p,*p,*p,*p,*p,*p,*p,*p,*p], &r [*q,*q,*q,*q,*q,*q,*q,*q],'
    ' &s [*r,*r,*r,*r,*r,*r,*r,*r], &t [*s,*s,*s,*s,*s,*s,*s,*s], [*t,*t,*t,*t,*t,*t,*t,*t]]',
]

PLACEHOLDER = 'PLACEHOLDER'

#: The faster one, where PyYAML was built with libyaml.
DUMPER = getattr(yaml, 'CSafeDumper', yaml.SafeDumper)


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """Return a copy of the tiny bundle that a test may damage."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / 'bundle'))


def places(content: Any, path: tuple = ()) -> Iterator[tuple]:
    """Return the path of every value."""
    inner = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in inner:
        yield (*path, key)
        if isinstance(value, (dict, list)):
            yield from places(value, (*path, key))


@pytest.fixture(scope='module')
def many_fields(
    tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """Return a bundle that uses every field, and the content of its model.yaml."""
    folder = Path(shutil.copytree(tiny_bundle, tmp_path_factory.mktemp('many') / 'bundle'))
    shutil.copy(folder / 'detail.onnx', folder / 'detail_int8.onnx')
    add_precision(folder, 'int8', {'detail': 'detail_int8.onnx'}, {'a': [1]}, default=True)
    with edited_model(folder) as content:
        content['agreement'] = {'fp16': 0.998}
    return folder, yaml.safe_load((folder / 'model.yaml').read_text())


@settings(max_examples=150)
@given(data=strategies.data())
def test_any_damage_is_told_in_one_line(
    many_fields: tuple[Path, dict[str, Any]], data: strategies.DataObject
) -> None:
    folder, original = many_fields
    content = copy.deepcopy(original)
    *parents, last = data.draw(strategies.sampled_from(list(places(content))))
    action = data.draw(strategies.sampled_from(['drop', 'replace', 'replace', 'key', 'twice']))
    value = data.draw(strategies.sampled_from(HOSTILE))
    place: Any = content
    for key in parents:
        place = place[key]
    if action == 'drop':
        del place[last]
    elif action == 'key' and isinstance(place, dict):
        place[PLACEHOLDER] = place.pop(last)
    else:
        place[last] = PLACEHOLDER
    text = yaml.dump(content, Dumper=DUMPER, default_flow_style=True, width=10**6)
    text = text.replace(PLACEHOLDER, f'{value} ')
    if action == 'twice':
        text = text.replace('{', '{' + f'name: {value} , ', 1)
    (folder / 'model.yaml').write_text(text)
    try:
        load_bundle(folder)
    except BundleError as err:
        assert str(err).isprintable() and len(str(err)) < 2000
        assert str(folder) in str(err)


def with_value(bundle: Path, old: str, new: str) -> None:
    """Change the text of model.yaml."""
    path = bundle / 'model.yaml'
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ('old', 'new', 'text'),
    [
        ('name: red', 'name: no', 'class name False is no text: put yes, no.* in quotes'),
        ('name: red', "name: ''", 'expected a text that is not empty'),
        ('name: red', 'name: "a\\nb"', 'expected a text without control characters'),
        ('name: red', 'name: 7', 'class name 7 is no text: put it in quotes'),
        ('name: red', 'name: blue', 'class names appear more than once: blue'),
        ('[255, 0, 0]', '[12.7, 0, 0]', r"class 'red': colour \(12.7, 0, 0\) is not three whole"),
        ('[255, 0, 0]', '[.inf, 0, 0]', r'colour \(inf, 0, 0\)'),
        ('[255, 0, 0]', '[true, 0, 0]', r'colour \(True, 0, 0\)'),
        ('[255, 0, 0]', 'red', 'field classes needs entries such as'),
        ('name: tiny', 'name: "\\e[31mred"', 'expected a text without control characters'),
        ('multiple: 16', 'multiple: 9999', r'input\.multiple is 9999, expected at most 4096'),
        ('low_res_factor: 4', 'low_res_factor: 1000', 'expected at most 256'),
        ('low_res_factor: 4', 'low_res_factor: 4.0', 'expected a whole number'),
        ('file: detail.onnx', "file: ''", 'expected a file name in the bundle'),
        ('file: detail.onnx', 'file: ..', 'expected a file name in the bundle'),
        ('file: detail.onnx', 'file: /etc/passwd', 'expected a file name in the bundle'),
        ('file: detail.onnx', 'file: model.yaml', 'expected a file name in the bundle'),
        ('sha256: ', 'sha256: 12 #', 'sha256 is 12, expected a text: put it in quotes'),
        ('format: 1', 'format: 1\nname: x', "line 2: .*|'name' is there twice"),
        ('kind: two', 'agreement: {fp16: 1.5}\nkind: two', r'agreement\.fp16 is 1\.5, expected'),
        ('kind: two', 'agreement: {fp16: -0.1}\nkind: two', r'agreement\.fp16 is -0\.1, expected'),
        ('kind: two', 'agreement: {fp16: true}\nkind: two', r'agreement\.fp16 is True'),
        ('kind: two', 'agreement: {fp16: .nan}\nkind: two', r'agreement\.fp16 is nan'),
        ('kind: two', 'agreement: {fp16: high}\nkind: two', r"agreement\.fp16 is 'high'"),
        ('kind: two', 'agreement: {half: 1}\nkind: two', "agreement has 'half', known: fp32"),
    ],
)
def test_values_that_mean_nothing(bundle: Path, old: str, new: str, text: str) -> None:
    with_value(bundle, old, new)
    with pytest.raises(BundleError, match=text):
        load_bundle(bundle)


@pytest.mark.parametrize('name', ['model.yaml', 'detail.onnx'])
def test_what_is_no_regular_file(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    os.mkfifo(bundle / name)
    with pytest.raises(BundleError, match=rf'{name} cannot be read \(it is a named pipe'):
        load_bundle(bundle)
    (bundle / name).unlink()
    (bundle / name).symlink_to('/dev/zero')
    with pytest.raises(BundleError, match=r'it is a device, expected a regular file'):
        load_bundle(bundle)
    (bundle / name).unlink()
    (bundle / name).mkdir()
    with pytest.raises(BundleError, match='it is a folder, expected a regular file'):
        load_bundle(bundle)


@pytest.mark.parametrize('name', ['a\0b', 'a\ud800b', '~nobody_of_this_name/x', 'x' * 5000])
def test_names_that_no_bundle_has(name: str) -> None:
    with pytest.raises(BundleError, match='no bundle') as caught:
        load_bundle(name)
    assert str(caught.value).isprintable()


def scatter(bundle: Path, name: str = 'detail') -> Path:
    """Move the weights of a graph into a file beside it."""
    path = bundle / f'{name}.onnx'
    onnx.save(
        onnx.load(path), path, save_as_external_data=True, location='weights.bin', size_threshold=0
    )
    return path


def test_weights_in_another_file_are_refused(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = scatter(bundle)
    with edited_model(bundle) as content:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        content['graphs']['detail']['sha256'] = sha256
    # From bytes, ONNX Runtime looks in the present folder.
    monkeypatch.chdir(bundle)
    expected = r"detail\.onnx: tensor '.*' lies in another file, 'weights\.bin', .*onnx\.save"
    for call in (load_bundle, Segmenter):
        with pytest.raises(BundleError, match=expected):
            call(bundle)


def test_weights_in_another_file_are_brought_inside(bundle: Path, tmp_path: Path) -> None:
    image = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    with Segmenter(bundle, 'onnxruntime') as segmenter:
        expected = segmenter(image, logits=True).logits
    path = scatter(bundle)
    fields = {'name': 'x', 'network': 'x', 'kind': 'two_branch', 'classes': TINY_CLASSES}
    write_bundle(bundle, **fields)
    (bundle / 'weights.bin').unlink()
    with Segmenter(bundle, 'onnxruntime') as segmenter:
        np.testing.assert_array_equal(segmenter(image, logits=True).logits, expected)
    assert not embed_external_data(path)
    scatter(bundle)
    (bundle / 'weights.bin').unlink()
    before = path.read_bytes(), (bundle / 'model.yaml').read_bytes()
    with pytest.raises(BundleError, match=r'detail\.onnx: tensor .*cannot be brought inside'):
        write_bundle(bundle, **fields)
    assert (path.read_bytes(), (bundle / 'model.yaml').read_bytes()) == before
    assert not [each for each in bundle.iterdir() if each.name.startswith('.')]


def test_weights_that_do_not_fit_into_one_file(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bundle / 'detail.onnx'
    model = onnx.load(path)
    many = np.zeros(10_000, np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(many, 'many'))
    onnx.save(model, path)
    scatter(bundle)
    monkeypatch.setattr('uhr_seg_ros.onnx_graphs.external_data.MAX_BYTES', 30_000)
    with pytest.raises(BundleError, match=r'it would have \d+ bytes, an ONNX file has at most'):
        embed_external_data(path)


def test_what_is_refused_leaves_a_bundle_as_it_was(bundle: Path) -> None:
    before = (bundle / 'model.yaml').read_bytes()
    fields = {'network': 'x', 'kind': 'two_branch', 'classes': TINY_CLASSES}
    with pytest.raises(BundleError, match='field name'):
        write_bundle(bundle, name='', **fields)
    with pytest.raises(BundleError, match='holds a NUL'):
        write_bundle(bundle, name='x', **fields, provenance={'note': 'a\0b'})
    with pytest.raises(BundleError, match=r'none\.onnx cannot be read'):
        add_precision(bundle, 'int8', {'detail': 'none.onnx'}, {})
    (bundle / 'text.onnx').write_text('no graph')
    with pytest.raises(BundleError, match=r'text\.onnx is no ONNX graph'):
        add_precision(bundle, 'int8', {'detail': 'text.onnx'}, {})
    assert (bundle / 'model.yaml').read_bytes() == before
    assert load_bundle(bundle).name == 'tiny'


def test_drafts_of_killed_processes_are_removed(tmp_path: Path) -> None:
    (tmp_path / '.export_killed').mkdir()
    (tmp_path / '.export_killed/detail.onnx').write_bytes(b'half')
    (tmp_path / '.export_file').touch()
    (tmp_path / 'mine').mkdir()
    with draft_folder(tmp_path, '.export_') as first:
        assert not (tmp_path / '.export_killed').exists()
        with draft_folder(tmp_path, '.export_') as second:
            assert first.is_dir() and second.is_dir()
    assert sorted(path.name for path in tmp_path.iterdir()) == ['.export_file', 'mine']
