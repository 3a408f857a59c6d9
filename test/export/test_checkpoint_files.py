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

"""Files that are no checkpoints: each is named for what it is, at once, with the way out."""

from __future__ import annotations

from collections.abc import Callable
import io
import os
from pathlib import Path
import tarfile
import zipfile

import pytest

torch = pytest.importorskip('torch', reason='checkpoints are read by torch')

from uhr_seg_ros.core.errors import CheckpointError
from uhr_seg_ros.export.checkpoint_files import load_plain


def _safetensors(path: Path) -> None:
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    path.write_bytes(len(header).to_bytes(8, 'little') + header + bytes(4))


def _torchscript(path: Path) -> None:
    torch.jit.script(torch.nn.Linear(1, 1)).save(str(path))


def _tar(path: Path) -> None:
    with tarfile.open(path, 'w') as archive:
        archive.addfile(tarfile.TarInfo('storages'), io.BytesIO())


def _zip_of_arrays(path: Path) -> None:
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('weights.npy', b'\x93NUMPY')


def _bomb(path: Path) -> None:
    """Pack 4 MB of zeros into a few kB, as a tensor."""
    torch.save({'a': torch.zeros(1)}, path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, bytes(1 << 22) if name.endswith('data/0') else data)


def _loop(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize(
    ('make', 'text'),
    [
        (Path.mkdir, 'is a folder: give the file in it'),
        (os.mkfifo, 'is a pipe or a device'),
        (_loop, 'cannot be read: '),
        (Path.touch, 'is empty'),
        (_safetensors, r'is a safetensors file: .*torch\.save'),
        (_torchscript, r'is TorchScript: .*state_dict\(\)'),
        (_tar, 'is a tar archive: unpack it'),
        (_zip_of_arrays, r'is an archive without weights \(weights\.npy\)'),
        (_bomb, r'its parts have 419\d+ bytes in a file of \d{4}'),
        (lambda path: path.write_bytes(b'\x08\x08\x12\x07pytorch'), 'looks like an ONNX graph'),
        (lambda path: path.write_bytes(b'<!DOCTYPE html><html>'), 'looks like a web page'),
        (lambda path: path.write_bytes(b'version https://git-lfs.github.com'), 'git lfs pull'),
        (lambda path: path.write_bytes(b'\x1f\x8b\x08' + bytes(20)), 'gzip: unpack it'),
        (lambda path: path.write_bytes(b'\x89HDF\r\n\x1a\n'), 'is HDF5'),
        (
            lambda path: path.write_bytes(b'PK\x03\x04' + bytes(90)),
            'or not a PyTorch file',
        ),
    ],
)
def test_what_is_no_checkpoint(make: Callable[[Path], object], text: str, tmp_path: Path) -> None:
    path = tmp_path / 'weights.pth'
    make(path)
    with pytest.raises(CheckpointError, match=text) as error:
        load_plain(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize('name', ['none.pth', 'a\0b.pth', 'x' * 300])
def test_no_such_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        load_plain(tmp_path / name)


def test_no_permission(tmp_path: Path) -> None:
    path, user = tmp_path / 'secret.pth', os.geteuid()
    torch.save({'a': torch.zeros(1)}, path)
    path.chmod(0)
    if user == 0:  # who may read everything
        os.seteuid(65534)
    try:
        with pytest.raises(CheckpointError, match='cannot be read: Permission denied'):
            load_plain(path)
    finally:
        os.seteuid(user)


def test_the_older_format_of_torch_is_read(tmp_path: Path) -> None:
    path = tmp_path / 'legacy.pth'
    torch.save({'a': torch.arange(3)}, path, _use_new_zipfile_serialization=False)
    assert load_plain(path)['a'].tolist() == [0, 1, 2]
