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

"""Writing model.yaml beside the graphs of a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import json
from pathlib import Path
import shutil
from typing import Any

import yaml

from uhr_seg_ros.core.atomic_io import atomic_write, write_text
from uhr_seg_ros.core.bundle import (
    Bundle,
    FORMAT,
    graphs_of,
    IMAGENET_MEAN,
    IMAGENET_STD,
    MODEL_FILE,
    Patches,
    read_bundle,
    REEXPORT_HINT,
)
from uhr_seg_ros.core.bundle_kinds import BUNDLE_KINDS
from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.core.config_reader import read_mapping
from uhr_seg_ros.core.domain import Domain
from uhr_seg_ros.core.errors import BundleError
from uhr_seg_ros.core.graph_files import hash_graph
from uhr_seg_ros.core.regular_files import file_sha256
from uhr_seg_ros.onnx_graphs.external_data import embed_external_data


def write_bundle(
    directory: str | Path,
    *,
    name: str,
    network: str,
    kind: str,
    classes: ClassSet,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    multiple: int = 16,
    low_res_factor: int = 4,
    input_size: tuple[int, int] | None = None,
    detail_bytes_per_pixel: float | None = None,
    patches: Patches | None = None,
    domain: Domain = Domain(),  # noqa: B008 - it cannot change
    provenance: Mapping[str, Any] | None = None,
    cpu_graphs: Mapping[str, str] | None = None,
) -> Bundle:
    """
    Write model.yaml beside graph files that are already in `directory`.

    The graphs are `<graph name>.onnx` for every graph of `graphs_of`, but for optional ones
    that are not there; their hashes are taken here. Tensors that a graph keeps in other files are
    brought inside. model.yaml appears complete and right or not at all. `cpu_graphs` (graph name
    -> file name) are what ONNX Runtime takes on a CPU instead.

    Returns:
        The bundle as `load_bundle` reads it back.

    Raises:
        BundleError: a graph file is missing or a field is wrong.

    """
    path = Path(directory)
    content: dict[str, Any] = {
        'format': FORMAT,
        'name': name,
        'network': network,
        'kind': kind,
        'classes': [
            {'name': label, 'color': list(color)}
            for label, color in zip(classes.names, classes.colors, strict=True)
        ],
        'input': {
            'mean': [float(value) for value in mean],
            'std': [float(value) for value in std],
            'multiple': multiple,
            'low_res_factor': low_res_factor,
        },
        'graphs': {
            graph: _graph_entry(path, graph, *tensors)
            for graph, tensors in graphs_of(BUNDLE_KINDS[kind], patches).items()
            if graph not in BUNDLE_KINDS[kind].optional or (path / f'{graph}.onnx').is_file()
        },
    }
    if input_size is not None:
        content['input']['size'] = list(input_size)
    if plain := domain.plain():
        content['domain'] = plain
    if patches is not None:
        content['patches'] = {'side': patches.side, 'contexts': dict(patches.contexts)}
    if detail_bytes_per_pixel is not None:
        content['memory'] = {'detail_bytes_per_pixel': float(detail_bytes_per_pixel)}
    if cpu_graphs:
        content['precisions'] = {'fp32': {'graphs': _hashed(path, cpu_graphs)}}
    # Through JSON, so that paths, tuples and the like become what plain YAML can hold.
    content['provenance'] = json.loads(json.dumps(dict(provenance or {}), default=str))
    return _write_model(path, content)


def add_precision(
    directory: str | Path,
    precision: str,
    files: Mapping[str, str],
    provenance: Mapping[str, Any],
    *,
    default: bool = False,
) -> Bundle:
    """
    Tell model.yaml of graphs in another precision, in place of earlier ones.

    Args:
        directory: folder of a bundle, with the new graph files in it.
        precision: of `CPU_PRECISIONS`.
        files: graph name -> file name.
        provenance: how they were made.
        default: whether ONNX Runtime takes them when nobody asks for something else; if not, a
            default that is there stays.

    Returns:
        The bundle as `load_bundle` reads it back.

    Raises:
        BundleError: a file is missing or a field is wrong.

    """
    path = Path(directory)
    content = read_mapping(path / MODEL_FILE, BundleError, REEXPORT_HINT)
    graphs = _hashed(path, files)
    plain = json.loads(json.dumps(dict(provenance), default=str))
    content.setdefault('precisions', {})[precision] = {'graphs': graphs, 'provenance': plain}
    if default:
        content['cpu_precision'] = precision
    return _write_model(path, content)


def raise_memory(directory: str | Path, detail_bytes_per_pixel: float | None) -> Bundle:
    """
    Tell model.yaml what a pixel of the frame costs, unless it says more; None: it is not known.

    Returns:
        The bundle as `load_bundle` reads it back.

    """
    path = Path(directory)
    content = read_mapping(path / MODEL_FILE, BundleError, REEXPORT_HINT)
    if detail_bytes_per_pixel is not None:
        memory = content.setdefault('memory', {})
        said = memory.get('detail_bytes_per_pixel', 0.0)
        memory['detail_bytes_per_pixel'] = max(said, detail_bytes_per_pixel)
    return _write_model(path, content)


def name_weights(directory: str | Path, file: str) -> Bundle:
    """
    Tell model.yaml of weights that a training may start from, in place of earlier ones.

    Args:
        directory: folder of a bundle, with the file in it.
        file: its name.

    Returns:
        The bundle as `load_bundle` reads it back.

    """
    path = Path(directory)
    content = read_mapping(path / MODEL_FILE, BundleError, REEXPORT_HINT)
    content['weights'] = {'file': file, 'sha256': file_sha256(path / file)}
    return _write_model(path, content)


def _hashed(path: Path, files: Mapping[str, str]) -> dict[str, dict[str, str]]:
    return {
        name: {'file': file, 'sha256': hash_graph(path / file)} for name, file in files.items()
    }


def add_graph(
    directory: str | Path, name: str, source: str | Path, provenance: Mapping[str, Any]
) -> Bundle:
    """
    Put an optional graph into a bundle, in place of an earlier one.

    The file is called by its hash, so that model.yaml, which is replaced as a whole, always names
    a file that is there; the earlier one goes last.

    Args:
        directory: folder of a bundle.
        name: of `BundleKind.optional` of its kind.
        source: the graph, `.onnx`; it is copied.
        provenance: how it was made, beside that of the bundle.

    Returns:
        The bundle as `load_bundle` reads it back.

    Raises:
        BundleError: the kind knows no such graph, or the file is no graph.

    """
    path = Path(directory)
    content = read_mapping(path / MODEL_FILE, BundleError, REEXPORT_HINT)
    kind = read_bundle(path, (path / MODEL_FILE).read_bytes()).kind
    if name not in kind.optional:
        known = ', '.join(kind.optional) or 'none'
        msg = f'bundle {path} of kind {kind} takes no graph {name}, only: {known}'
        raise BundleError(msg)
    sha256 = hash_graph(Path(source))
    target = path / f'{name}_{sha256[:8]}.onnx'
    with atomic_write(target) as unfinished:
        shutil.copyfile(source, unfinished)
    earlier = content['graphs'].get(name, {}).get('file')
    inputs, outputs = kind.graphs[name]
    content['graphs'][name] = {
        'file': target.name,
        'sha256': sha256,
        'inputs': list(inputs),
        'outputs': list(outputs),
    }
    content.setdefault('provenance', {})[name] = json.loads(json.dumps(dict(provenance)))
    bundle = _write_model(path, content)
    if earlier and earlier != target.name:
        (path / earlier).unlink(missing_ok=True)
    return bundle


def _write_model(path: Path, content: Mapping[str, Any]) -> Bundle:
    """Write model.yaml, which appears complete and right or not at all."""
    text = yaml.safe_dump(dict(content), sort_keys=False, default_flow_style=None, width=99)
    # Before it takes the place of one that was right.
    bundle = read_bundle(path, text.encode())
    write_text(path / MODEL_FILE, text)
    return bundle


def _graph_entry(
    directory: Path, name: str, inputs: Sequence[str], outputs: Sequence[str]
) -> dict[str, Any]:
    path = directory / f'{name}.onnx'
    if not path.is_file():
        msg = f'graph file {path} is missing: write the graphs before model.yaml'
        raise BundleError(msg)
    embed_external_data(path)
    return {
        'file': path.name,
        'sha256': hash_graph(path),
        'inputs': list(inputs),
        'outputs': list(outputs),
    }
