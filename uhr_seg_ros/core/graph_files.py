# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""The graph files of a bundle: what is opened is what was hashed, and nothing beside it."""

from __future__ import annotations

from dataclasses import dataclass, replace
import hashlib
from pathlib import Path

from uhr_seg_ros.core.errors import BundleError
from uhr_seg_ros.core.onnx_scan import describe, first_outside, MAX_BYTES, NoGraphError
from uhr_seg_ros.core.regular_files import FileFault, read_regular

MODEL_FILE = 'model.yaml'

#: How to get out of every fault of a bundle.
REEXPORT_HINT = 'export or convert the model again, or fetch the bundle again'

#: Hashes of graphs that were found to be whole in themselves.
_whole: set[str] = set()


@dataclass(frozen=True)
class Graph:
    """One ONNX file of a bundle and the names of its tensors."""

    name: str
    path: Path
    sha256: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def read(self) -> bytes:
        """
        Return the content of the file, which has the recorded sha256 and no tensor outside of it.

        Whatever runs is opened from these bytes: a file can be replaced after it was verified.

        Raises:
            BundleError: the file cannot be read, or is another one by now.

        """
        content = _content(self.path)
        found = hashlib.sha256(content).hexdigest()
        if found != self.sha256:
            msg = (
                f'graph file {self.path} has sha256 {found}, {MODEL_FILE} expects '
                f'{self.sha256}: {REEXPORT_HINT}'
            )
            raise BundleError(msg)
        _check_whole(self.path, content, found)
        return content

    def with_file(self, path: Path) -> Graph:
        """Return the same graph with another file as it is now, such as that of a draft."""
        return replace(self, path=path, sha256=hash_graph(path))


def hash_graph(path: Path) -> str:
    """
    Return the sha256 of a graph file that may be part of a bundle.

    Raises:
        BundleError: it cannot be read, is no ONNX file, or keeps tensors in other files.

    """
    content = _content(path)
    sha256 = hashlib.sha256(content).hexdigest()
    _check_whole(path, content, sha256)
    return sha256


def _content(path: Path) -> bytes:
    try:
        return read_regular(path, MAX_BYTES)
    except FileFault as err:
        msg = f'graph file {err}: {REEXPORT_HINT}'
        raise BundleError(msg) from err


def _check_whole(path: Path, content: bytes, sha256: str) -> None:
    if sha256 in _whole:
        return
    try:
        outside = first_outside(content)
    except NoGraphError as err:
        msg = f'graph file {path} is no ONNX graph ({err}): {REEXPORT_HINT}'
        raise BundleError(msg) from err
    if outside:
        msg = (
            f'graph file {path}: {describe(outside)}, which no hash covers: bring all tensors '
            "inside with the package onnx, onnx.save(onnx.load('old.onnx'), 'new.onnx'), and "
            'write the bundle again'
        )
        raise BundleError(msg)
    _whole.add(sha256)
