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

"""Embedding the tensors of an ONNX file that lie in files beside it."""

from __future__ import annotations

from pathlib import Path

from uhr_seg_ros.core.atomic_io import write_bytes
from uhr_seg_ros.core.errors import BundleError
from uhr_seg_ros.core.graph_files import describe, first_outside, MAX_BYTES, NoGraphError, Outside
from uhr_seg_ros.core.regular_files import read_regular
from uhr_seg_ros.core.text import one_line


def embed_external_data(path: Path) -> bool:
    """
    Rewrite an ONNX file with the tensors that it keeps in other files; that needs `onnx`.

    The file appears complete or stays as it was. The other files stay, too.

    Args:
        path: ONNX file.

    Returns:
        Whether there was something to embed.

    Raises:
        BundleError: a tensor cannot be read, or the file would be larger than 2 GB.

    """
    try:
        outside = first_outside(read_regular(path, MAX_BYTES))
    except NoGraphError:  # which `hash_graph` tells about
        return False
    if outside is None:
        return False
    write_bytes(path, embedded(path, outside))
    return True


def embedded(path: Path, outside: Outside) -> bytes:
    """
    Return an ONNX file with the tensors that it keeps in other files.

    Args:
        path: ONNX file.
        outside: the first such tensor, as `first_outside` finds it.

    Raises:
        BundleError: as `embed_external_data`.

    """
    where = f'graph file {path}: {describe(outside)}'
    try:
        import onnx
    except ImportError as err:
        msg = f'{where}: to bring it inside, pip install onnx'
        raise BundleError(msg) from err
    try:
        model = onnx.load(path)
        size = model.ByteSize()
        content = model.SerializeToString() if size <= MAX_BYTES else b''
    except Exception as err:  # of onnx, of protobuf, or a file that is missing
        msg = f'{where}, which cannot be brought inside: {one_line(err, 300)}'
        raise BundleError(msg) from err
    if not content:
        msg = (
            f'{where}: with all tensors inside it would have {size} bytes, an ONNX file has at '
            f'most {MAX_BYTES} (2 GB): choose a smaller network, or float16 weights'
        )
        raise BundleError(msg)
    return content
