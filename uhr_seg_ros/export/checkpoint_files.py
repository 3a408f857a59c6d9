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

"""Open a PyTorch file: what is none is named with the way out, and no code in it is ever run."""

from __future__ import annotations

from pathlib import Path
import re
import stat
from typing import Any
import warnings
import zipfile

import torch

from uhr_seg_ros.core.errors import CheckpointError

#: So many bytes show what a file is.
HEAD = 512
#: Beginning of a file -> what it is and what to do.
SIGNS = (
    (b'version https://git-lfs', 'is a pointer of Git LFS: fetch the file itself (git lfs pull)'),
    (b'\x89HDF', 'is HDF5, not PyTorch: load it with the program that wrote it'),
    (b'\x93NUMPY', 'is a NumPy array, not PyTorch: a checkpoint has names for its tensors'),
    (b'\x08', 'looks like an ONNX graph: convert the checkpoint that it was exported from'),
    (b'<', 'looks like a web page: a download failed, get the file again'),
    (b'\x1f\x8b', 'is packed with gzip: unpack it first'),
    (b'\xfd7zXZ', 'is packed with xz: unpack it first'),
    (b'\x28\xb5\x2f\xfd', 'is packed with zstd: unpack it first'),
    (b'7z\xbc\xaf', 'is packed with 7z: unpack it first'),
)
SAFETENSORS = (
    'is a safetensors file: in Python, '
    "torch.save(safetensors.torch.load_file('IN.safetensors'), 'OUT.pth')"
)
TORCHSCRIPT = (
    "is TorchScript: in Python, torch.save(torch.jit.load('IN').state_dict(), 'OUT.pth'), "
    'where you trust the file'
)
TAR = (
    'is a tar archive: unpack it and give the checkpoint in it; PyTorch before 0.2 saved so, too: '
    'save such a file again with the version that wrote it'
)


def load_plain(path: str | Path) -> Any:
    """
    Unpickle tensors and plain values; code inside the file is never run.

    Args:
        path: The file.

    Raises:
        CheckpointError: The file is missing, damaged, of another kind, or holds more than that.
    """
    path = Path(path)
    _check_kind(path)
    try:
        with warnings.catch_warnings():  # of kinds of tensors that are refused afterwards
            warnings.simplefilter('ignore')
            return torch.load(path, map_location='cpu', weights_only=True)
    # A damaged file fails in as many ways as there are steps to read it.
    except Exception as err:
        msg = f'checkpoint {path} cannot be read as plain weights: {_reason(err)}'
        raise CheckpointError(msg) from err


def _check_kind(path: Path) -> None:
    """Refuse what PyTorch would not read, or would wait or run out of memory for."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            msg = f'checkpoint {path} is a folder: give the file in it'
            raise CheckpointError(msg)
        if not stat.S_ISREG(status.st_mode):
            msg = f'checkpoint {path} is a pipe or a device: give a regular file'
            raise CheckpointError(msg)
        with path.open('rb') as file:
            head = file.read(HEAD)
    except FileNotFoundError as err:
        msg = f'checkpoint {path} does not exist'
        raise CheckpointError(msg) from err
    except (OSError, ValueError) as err:  # no permission; a name that no file can have
        msg = f'checkpoint {str(path)!r} cannot be read: {getattr(err, "strerror", None) or err}'
        raise CheckpointError(msg) from err
    if not head:
        msg = f'checkpoint {path} cannot be read: it is empty'
        raise CheckpointError(msg)
    if kind := _other_kind(path, head, status.st_size):
        msg = f'checkpoint {path} {kind}'
        raise CheckpointError(msg)


def _other_kind(path: Path, head: bytes, size: int) -> str | None:
    """Return what a file is instead of a checkpoint, and the way out."""
    if head.startswith(b'PK\x03\x04'):
        return _other_zip(path, size)
    header = int.from_bytes(head[:8], 'little')
    if head[8:9] == b'{' and header <= size - 8:
        return SAFETENSORS
    if head[257:262] == b'ustar':
        return TAR
    return next((kind for sign, kind in SIGNS if head.startswith(sign)), None)


def _other_zip(path: Path, size: int) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except Exception:  # as above
        return 'cannot be read as plain weights: it is damaged or not a PyTorch file'
    names = [entry.filename for entry in entries]
    if any(re.search(r'(^|/)(constants\.pkl|code/)', name) for name in names):
        return TORCHSCRIPT
    if not any(name.endswith('data.pkl') for name in names):
        shown = ', '.join(names[:3])
        return f'is an archive without weights ({shown}): unpack it and give the checkpoint in it'
    if (declared := sum(entry.file_size for entry in entries)) > size:
        return (
            f'cannot be read: its parts have {declared} bytes in a file of {size}; PyTorch does '
            'not compress, so it is damaged or packed again: save it with torch.save'
        )
    return None


def _reason(error: Exception) -> str:
    """Return why a file was not read, without PyTorch's advice to run the code inside it."""
    if found := re.search(r'GLOBAL (\S+)', str(error)):
        return (
            f'it also holds an object of {found[1]}, which would have to be run: save its '
            'state_dict alone, where you trust the file'
        )
    if not isinstance(error, (RuntimeError, OSError)):
        return 'it is damaged or not a PyTorch file'
    return str(error).strip().partition('\n')[0] or repr(error)
