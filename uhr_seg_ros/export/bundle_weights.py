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


"""
Weights in a bundle, for a training that starts from it: a safetensors file beside the graphs.

Most of what a network has learned is in the graphs already: as it is, or with a batch norm folded
in, which multiplies each row of a kernel by a number. Such a tensor is not stored twice: the file
has the numbers that lead from the rows in the graph back to those of the network, and its header
says in which graph which tensor they are. What is in no graph, such as batch norms and layers that
only training has, is stored as it is. Runtimes never read the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import hashlib
import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import numpy_helper
from safetensors import SafetensorError
from safetensors.torch import load, save
import torch

from uhr_seg_ros.core.atomic_io import write_bytes
from uhr_seg_ros.core.bundle import Bundle, load_bundle
from uhr_seg_ros.core.errors import CheckpointError
from uhr_seg_ros.core.graph_files import REEXPORT_HINT
from uhr_seg_ros.core.regular_files import FileFault, read_regular
from uhr_seg_ros.export.bundle_writing import name_weights
from uhr_seg_ros.export.checkpoints import Checkpoint
from uhr_seg_ros.export.description import Description, KEY
from uhr_seg_ros.export.state_dicts import plain_tensors
from uhr_seg_ros.image_io.raster_bands import BandRules
from uhr_seg_ros.networks.presets import options_of

logger = logging.getLogger(__name__)

WEIGHTS_FILE = 'weights.safetensors'
#: Key of the header that says what is read back from graphs.
FROM_GRAPHS = 'from_graphs'
#: Values of a smaller tensor are stored: their entry in the header would be as long.
FEWEST = 64
#: How far a value that is read back may be from the stored one, of itself: four roundings.
ROUNDING = 5e-7
MAX_BYTES = 1 << 34


class Source(NamedTuple):
    """Where a tensor of a network is: which graph, which tensor of it, and whether turned."""

    graph: str
    tensor: str
    turned: bool


def write_weights(
    bundle: Bundle,
    tensors: Mapping[str, torch.Tensor],
    network: str,
    options: Mapping[str, Any],
    directory: Path,
) -> Path:
    """
    Write the weights of a network beside its graphs.

    Args:
        bundle: Whose graphs were made of the network.
        tensors: Of its state dict; those that only training has may be missing.
        network: As of ``find_preset``.
        options: All of them, as of ``options_of``.
        directory: Where the file appears.

    Returns:
        The file, ``WEIGHTS_FILE``.
    """
    graphs = _tensors_by_size(bundle)
    stored: dict[str, torch.Tensor] = {}
    sources: dict[str, Source] = {}
    for name, tensor in tensors.items():
        value = tensor.detach().cpu().contiguous()
        found = _find(value.numpy(), graphs.get(value.numel(), ())) if _is_long(value) else None
        if found is None:
            stored[name] = value.clone()
        else:
            sources[name], rows = found
            stored[name] = torch.from_numpy(rows)
    header = {
        'format': 1,
        'network': network,
        'options': dict(options),
        'graphs': {each.graph: bundle.graphs[each.graph].sha256 for each in sources.values()},
        FROM_GRAPHS: sources,
    }
    path = directory / WEIGHTS_FILE
    write_bytes(path, save(stored, {KEY: json.dumps(header)}))
    return path


def add_weights(
    directory: Path, tensors: Mapping[str, torch.Tensor], options: Mapping[str, Any]
) -> Bundle:
    """Write weights into a bundle that has none, as ``write_weights``, and name them there."""
    bundle = load_bundle(directory)
    options = options_of(bundle.network, options)
    path = write_weights(bundle, tensors, bundle.network, options, bundle.path)
    return name_weights(directory, path.name)


def read_weights(bundle: Bundle) -> Checkpoint:
    """
    Read the weights of a bundle, as a checkpoint of its network with its classes.

    Raises:
        CheckpointError: The bundle has none; the file is missing, damaged or another one; or it
            belongs to other graphs.
    """
    if bundle.weights is None:
        msg = (
            f'bundle {bundle.path} has no weights to start from, it was exported before bundles '
            'had them: give the checkpoint of its training, or export it from that again'
        )
        raise CheckpointError(msg)
    path = bundle.weights.path
    try:
        content = read_regular(path, MAX_BYTES)
    except FileFault as err:
        msg = f'weights {err}: {REEXPORT_HINT}'
        raise CheckpointError(msg) from err
    if (found := hashlib.sha256(content).hexdigest()) != bundle.weights.sha256:
        msg = f'weights {path} have sha256 {found}, model.yaml expects {bundle.weights.sha256}'
        raise CheckpointError(f'{msg}: {REEXPORT_HINT}')
    try:
        tensors = load(content)
        header = _header(content)
        description = Description(
            header['network'], dict(header['options']), bundle.classes, bundle.domain
        )
        tensors |= _from_graphs(bundle, header, tensors)
    except (SafetensorError, KeyError, TypeError, ValueError) as err:
        msg = f'weights {path} cannot be read ({err!r}): {REEXPORT_HINT}'
        raise CheckpointError(msg) from err
    bands = BandRules.of(bundle.provenance).fields()
    decisive = {f'data.{name}': value for name, value in bands.items()}
    return Checkpoint(path, plain_tensors(tensors, path), description, decisive)


def _header(content: bytes) -> dict[str, Any]:
    length = int.from_bytes(content[:8], 'little')
    header: dict[str, Any] = json.loads(json.loads(content[8 : 8 + length])['__metadata__'][KEY])
    return header


def _from_graphs(
    bundle: Bundle, header: Mapping[str, Any], rows: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Read back what is in the graphs that the file belongs to."""
    graphs = {}
    for name, sha256 in header['graphs'].items():
        if name not in bundle.graphs or bundle.graphs[name].sha256 != sha256:
            msg = f'weights of {bundle.path} belong to another graph {name}: {REEXPORT_HINT}'
            raise CheckpointError(msg)
        graphs[name] = dict(_tensors_of(bundle, name))
    found = {}
    for name, entry in header[FROM_GRAPHS].items():
        source = Source(*entry)
        value = graphs[source.graph][source.tensor]
        value = value.T if source.turned else value
        found[name] = torch.from_numpy(_times(value, rows[name].numpy()))
    return found


def _times(value: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Multiply each row of a kernel by a number; an empty list leaves it as it is."""
    if not rows.size:
        return np.array(value, order='C')
    return np.ascontiguousarray(value * rows.reshape(-1, *[1] * (value.ndim - 1)))


def _is_long(value: torch.Tensor) -> bool:
    return value.dtype == torch.float32 and value.ndim > 1 and value.numel() >= FEWEST


def _tensors_of(bundle: Bundle, graph: str) -> Iterator[tuple[str, np.ndarray]]:
    model = onnx.load_from_string(bundle.graphs[graph].read())
    for tensor in model.graph.initializer:
        yield tensor.name, numpy_helper.to_array(tensor)


def _tensors_by_size(bundle: Bundle) -> dict[int, list[tuple[Source, np.ndarray]]]:
    """Return the long tensors of all graphs, those of matrix products turned, by their size."""
    found: dict[int, list[tuple[Source, np.ndarray]]] = {}
    for graph in bundle.graphs:
        for name, value in _tensors_of(bundle, graph):
            if value.dtype != np.float32 or value.ndim < 2:
                continue
            same = found.setdefault(value.size, [])
            same.append((Source(graph, name, turned=False), value))
            if value.ndim == 2:
                same.append((Source(graph, name, turned=True), value.T))
    return found


def _find(
    tensor: np.ndarray, candidates: Iterator[Any] | tuple[Any, ...] | list[Any]
) -> tuple[Source, np.ndarray] | None:
    """Find a tensor in graphs, as it is or with its rows multiplied, and the way back."""
    same = [(source, value) for source, value in candidates if value.shape == tensor.shape]
    for source, value in same:
        if np.array_equal(value, tensor):
            return source, np.empty(0, np.float32)
    for source, value in same:
        rows = _rows(value, tensor)
        if np.all(np.abs(_times(value, rows) - tensor) <= ROUNDING * np.abs(tensor)):
            return source, rows
    return None


def _rows(value: np.ndarray, tensor: np.ndarray) -> np.ndarray:
    """Return the numbers (rows,) by which the rows of one tensor come closest to another's."""
    one, other = (each.reshape(len(each), -1).astype(np.float64) for each in (value, tensor))
    square = (one * one).sum(1)
    shares = (one * other).sum(1) / np.where(square > 0, square, 1)
    return shares.astype(np.float32)
