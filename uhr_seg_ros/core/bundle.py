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

"""The model bundle: a folder with model.yaml and one ONNX graph per branch; reading it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
import hashlib
import os
from pathlib import Path
import re
from typing import Any

from uhr_seg_ros.core.bundle_kinds import BUNDLE_KINDS, BundleKind, GraphTensors
from uhr_seg_ros.core.classes import ClassSet, read_classes
from uhr_seg_ros.core.config_reader import (
    Fields,
    is_finite,
    is_number,
    parse_mapping,
    quoting_hint,
    read_content,
    read_mapping,
)
from uhr_seg_ros.core.domain import Domain, read_domain
from uhr_seg_ros.core.errors import BundleError
from uhr_seg_ros.core.graph_files import Graph, MODEL_FILE, REEXPORT_HINT
from uhr_seg_ros.core.regular_files import file_sha256  # noqa: F401 - where it was before
from uhr_seg_ros.core.resources import share_folders
from uhr_seg_ros.core.text import listed, printable, shortened, shown

#: The only version of model.yaml so far.
FORMAT = 1

#: Mean and standard deviation of ImageNet, RGB, 0..255.
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)

#: So far around it, in quarter-resolution px, the fusion may look before it upsamples.
FUSION_REACH = 7

#: Precisions that a bundle may hold graphs for ONNX Runtime in, beside float32.
CPU_PRECISIONS = ('fp32', 'int8')

#: Upper bounds of `input.multiple`, px, and of `input.low_res_factor` and `patches.side`, px: what
#: is larger would pad, reduce or cut every frame beyond use.
MAX_MULTIPLE, MAX_FACTOR, MAX_SIDE = 4096, 256, 16384

#: What engines may run in, and `agreement` may name.
_PRECISIONS = ('fp32', 'fp16', 'int8')

_SHA256 = re.compile('[0-9a-f]{64}')

#: For the detail branch: room for a 4K frame as a whole in hlrc_s; an 8K frame then works in
#: tiles and the process stays below 2 GB.
DEFAULT_MEMORY_LIMIT_MB = 768


@dataclass(frozen=True)
class GraphSet:
    """
    Graphs of a bundle in another precision; those that it lacks stay float32.

    Attributes:
        graphs: graph name -> graph.
        provenance: how they were made and what they cost, free form.

    """

    graphs: dict[str, Graph]
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class WeightsFile:
    """Weights to start a training from; robots never open them, and may leave them out."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class Patches:
    """
    How a bundle of kind `patches` sees a frame.

    Attributes:
        side: of a patch, and of what a context is reduced to, px.
        contexts: name -> field of view over that of the patch, or `whole` for the whole frame.

    """

    side: int
    contexts: dict[str, float | str]


@dataclass(frozen=True)
class Bundle:
    """
    What a model is and where its graphs lie.

    Attributes:
        path: the folder.
        name: name of the model, such as `hlrc_s_aerial`.
        network: preset that it was built from, such as `hlrc_s`.
        kind: how the graphs make a mask.
        classes: names and colours.
        mean: RGB mean that the input is normalised with, in 0..255.
        std: RGB standard deviation, in 0..255.
        multiple: height and width of the network input are multiples of this, px.
        low_res_factor: the semantic branch sees the image reduced by this factor.
        graphs: graph name -> graph.
        input_size: height and width of all that the network takes, px, for kind `single`; None
            for any size.
        detail_bytes_per_pixel: peak memory of the detail branch per input pixel, if measured.
        domain: what frames the model is for; empty where model.yaml does not say it.
        provenance: where the weights come from, free form.
        agreement: precision -> smallest share of pixels on which an engine has to give the same
            class as ONNX Runtime, where the model needs another one than usual.
        precisions: precision -> graphs that ONNX Runtime takes for it on a CPU, of
            `CPU_PRECISIONS`; those in fp32 are `graphs` rewritten, with the same results.
        cpu_precision: what ONNX Runtime takes when nobody asks for something else.
        patches: how frames are cut, for kind `patches`.
        weights: what a training may start from, if the bundle names it; not verified by loading.
        sha256: of model.yaml, as it was read.

    """

    path: Path
    name: str
    network: str
    kind: BundleKind
    classes: ClassSet
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    multiple: int
    low_res_factor: int
    graphs: dict[str, Graph]
    input_size: tuple[int, int] | None = None
    detail_bytes_per_pixel: float | None = None
    domain: Domain = Domain()  # noqa: RUF009 - it cannot change
    provenance: dict[str, Any] = field(default_factory=dict)
    agreement: dict[str, float] = field(default_factory=dict)
    precisions: dict[str, GraphSet] = field(default_factory=dict)
    cpu_precision: str = 'fp32'
    patches: Patches | None = None
    weights: WeightsFile | None = None
    sha256: str = ''

    @property
    def domain_line(self) -> str:
        """What the model is for, with its name, in one line for people."""
        return f'{self.name} is for: {self.domain}'

    def graphs_in(self, precision: str) -> dict[str, Graph]:
        """Return every graph as ONNX Runtime runs it on a CPU, in a precision if it has one."""
        sets = [
            self.precisions[name].graphs for name in ('fp32', precision) if name in self.precisions
        ]
        return {name: graph for graphs in (self.graphs, *sets) for name, graph in graphs.items()}


def load_bundle(path_or_name: str | Path) -> Bundle:
    """
    Read a bundle and verify every field, every file and every hash.

    Args:
        path_or_name: folder of the bundle, or its name (see `find_bundle`).

    Returns:
        The bundle; its graphs exist and have the recorded sha256.

    Raises:
        BundleError: says which file or field, what was found and what was expected.

    """
    path = find_bundle(path_or_name)
    return read_bundle(path, read_content(path / MODEL_FILE, BundleError, REEXPORT_HINT))


def read_bundle(path: Path, content: bytes) -> Bundle:
    """
    Verify a bundle as `load_bundle` does.

    Args:
        path: the folder, with the graphs in it.
        content: of its model.yaml.

    Raises:
        BundleError: as `load_bundle`.

    """
    file = path / MODEL_FILE
    fields = Fields(file, parse_mapping(content, file, BundleError, REEXPORT_HINT), BundleError)
    if (version := fields.get('format', int)) != FORMAT:
        text = f'format {shown(version)} is unknown, this version reads format {FORMAT}'
        raise fields.error(text)
    if (name := fields.get('kind', str)) not in BUNDLE_KINDS:
        raise fields.error(f'kind {shown(name)} is unknown, known: {", ".join(BUNDLE_KINDS)}')
    kind = BUNDLE_KINDS[name]
    memory = 'memory.detail_bytes_per_pixel'
    patches = _read_patches(fields, kind) if kind.has_patches else None
    graphs = {
        name: tensors
        for name, tensors in graphs_of(kind, patches).items()
        if name not in kind.optional or fields.has(f'graphs.{name}')
    }
    precisions = _read_precisions(fields, graphs)
    return Bundle(
        path=path,
        name=fields.name('name'),
        network=fields.name('network'),
        kind=kind,
        classes=read_classes(fields),
        mean=_read_rgb(fields, 'input.mean', lowest=0.0),
        std=_read_rgb(fields, 'input.std', lowest=1e-3),
        multiple=fields.positive_int('input.multiple', MAX_MULTIPLE),
        low_res_factor=fields.positive_int('input.low_res_factor', MAX_FACTOR),
        graphs={name: _read_graph(fields, name, *names) for name, names in graphs.items()},
        input_size=_read_input_size(fields, kind),
        detail_bytes_per_pixel=fields.positive_number(memory) if fields.has(memory) else None,
        domain=read_domain(fields),
        provenance=fields.get('provenance', dict) if fields.has('provenance') else {},
        agreement=_read_agreement(fields),
        precisions=precisions,
        cpu_precision=_read_cpu_precision(fields, precisions),
        patches=patches,
        weights=WeightsFile(*_file_named(fields, 'weights')) if fields.has('weights') else None,
        sha256=hashlib.sha256(content).hexdigest(),
    )


def graphs_of(kind: BundleKind, patches: Patches | None = None) -> dict[str, GraphTensors]:
    """Return the graphs that a bundle may have, without those of contexts that it has not."""
    return kind.graphs_with(patches.contexts) if patches else dict(kind.graphs)


def find_bundle(path_or_name: str | Path) -> Path:
    """
    Find the folder of a bundle.

    A folder with a model.yaml is taken as it is. A bare name is else looked up in models/ of
    every folder that `share_folders` lists.

    Raises:
        BundleError: nothing there; the text lists the names that exist.

    """
    try:
        return _find_bundle(Path(path_or_name).expanduser())
    except (OSError, ValueError, RuntimeError) as err:  # too long; a NUL; the home of nobody
        msg = f'no bundle {shown(str(path_or_name))}: no folder can have this name'
        raise BundleError(msg) from err


def installed_bundles() -> dict[str, Path]:
    """Return the folders of the installed models by name, in the order of the names."""
    found: dict[str, Path] = {}
    for share in share_folders():
        for file in share.glob(f'models/*/{MODEL_FILE}'):
            found.setdefault(file.parent.name, file.parent)
    return dict(sorted(found.items()))


def peek_domain(path: Path) -> Domain:
    """
    Read the domain of a bundle and verify nothing else, such as to list bundles.

    Args:
        path: the folder.

    Raises:
        BundleError: model.yaml cannot be read, or its domain is wrong.

    """
    file = path / MODEL_FILE
    return read_domain(Fields(file, read_mapping(file, BundleError, REEXPORT_HINT), BundleError))


def _find_bundle(path: Path) -> Path:
    # Whatever it is: what is no regular file is refused with its name.
    if os.path.lexists(path / MODEL_FILE):
        return path
    installed = installed_bundles()
    if len(path.parts) == 1 and str(path) in installed:
        return installed[str(path)]
    if path.is_dir():
        msg = f'bundle {shortened(printable(str(path)))} has no {MODEL_FILE}: {REEXPORT_HINT}'
        raise BundleError(msg)
    msg = f'no bundle {shown(str(path), 300)}: neither a folder nor one of the installed models '
    raise BundleError(msg + f'({listed(installed) or "none installed"})')


def _read_rgb(fields: Fields, key: str, lowest: float) -> tuple[float, float, float]:
    red, green, blue = fields.numbers(key, 3)
    if not all(lowest <= value <= 255.0 for value in (red, green, blue)):
        raise fields.error(f'field {key} is {[red, green, blue]}, expected {lowest} to 255')
    return red, green, blue


def _read_input_size(fields: Fields, kind: BundleKind) -> tuple[int, int] | None:
    key = 'input.size'
    if not kind.may_have_one_size or not fields.has(key):
        return None
    multiple, factor = fields.get('input.multiple', int), fields.get('input.low_res_factor', int)
    sides = fields.get(key, list)
    whole = all(isinstance(side, int) and not isinstance(side, bool) for side in sides)
    if not whole or len(sides) != 2 or not all(1 <= side <= MAX_SIDE for side in sides):
        text = f'field {key} is {shown(sides)}, expected height and width, 1 to {MAX_SIDE} px'
        raise fields.error(text)
    if factor != 1 or any(side % multiple for side in sides):
        text = (
            f'field {key} is {shown(sides)}, expected multiples of input.multiple {multiple}, '
            f'and an input.low_res_factor of 1 instead of {factor}'
        )
        raise fields.error(text)
    return sides[0], sides[1]


def _read_agreement(fields: Fields) -> dict[str, float]:
    shares = fields.get('agreement', dict) if fields.has('agreement') else {}
    for precision, share in shares.items():
        if precision not in _PRECISIONS:
            text = f'field agreement has {shown(precision)}, known: {", ".join(_PRECISIONS)}'
            raise fields.error(text)
        if not is_number(share) or not 0.0 <= share <= 1.0:
            text = f'field agreement.{precision} is {shown(share)}, expected a share, 0 to 1'
            raise fields.error(text)
    return {precision: float(share) for precision, share in shares.items()}


def _read_patches(fields: Fields, kind: BundleKind) -> Patches:
    contexts = fields.get('patches.contexts', dict)
    for name, factor in contexts.items():
        if name not in kind.contexts or not (is_finite(factor) or isinstance(factor, str)):
            text = (
                f'field patches.contexts has {shown(name)}: {shown(factor)}, expected one of '
                f'{", ".join(kind.contexts)} with a factor'
            )
            raise fields.error(text)
    return Patches(fields.positive_int('patches.side', MAX_SIDE), dict(contexts))


def _read_precisions(fields: Fields, graphs: Mapping[str, GraphTensors]) -> dict[str, GraphSet]:
    sets = fields.get('precisions', dict) if fields.has('precisions') else {}
    return {precision: _read_graph_set(fields, precision, graphs) for precision in sets}


def _read_graph_set(
    fields: Fields,
    precision: str,
    known: Mapping[str, GraphTensors],
) -> GraphSet:
    if precision not in CPU_PRECISIONS:
        text = f'field precisions has {shown(precision)}, known: {", ".join(CPU_PRECISIONS)}'
        raise fields.error(text)
    key = f'precisions.{precision}'
    graphs = {}
    for name in fields.get(f'{key}.graphs', dict):
        if name not in known:
            text = f'field {key}.graphs has {shown(name)}, a graph is one of {", ".join(known)}'
            raise fields.error(text)
        inputs, outputs = known[name]
        place = f'{key}.graphs.{name}'
        graphs[name] = Graph(name, *_read_file(fields, place), tuple(inputs), tuple(outputs))
    made = f'{key}.provenance'
    return GraphSet(graphs, fields.get(made, dict) if fields.has(made) else {})


def _read_cpu_precision(fields: Fields, precisions: Mapping[str, GraphSet]) -> str:
    known = tuple(dict.fromkeys(('fp32', *precisions)))
    chosen = fields.get('cpu_precision', str) if fields.has('cpu_precision') else 'fp32'
    if chosen not in known:
        text = f'field cpu_precision is {shown(chosen)}, the bundle has {", ".join(known)}'
        raise fields.error(text)
    return chosen


def _read_graph(fields: Fields, name: str, inputs: Sequence[str], outputs: Sequence[str]) -> Graph:
    key = f'graphs.{name}'
    path, sha256 = _read_file(fields, key)
    for part, needed in (('inputs', inputs), ('outputs', outputs)):
        listed = fields.strings(f'{key}.{part}')
        if missing := [tensor for tensor in needed if tensor not in listed]:
            raise fields.error(f'field {key}.{part} lacks {", ".join(missing)}')
    return Graph(name, path, sha256, tuple(inputs), tuple(outputs))


def _read_file(fields: Fields, key: str) -> tuple[Path, str]:
    """Return path and sha256 of a graph file that is there and has it."""
    path, expected = _file_named(fields, key)
    # The names of the tensors do not matter here.
    Graph(path.name, path, expected, (), ()).read()
    return path, expected


def _file_named(fields: Fields, key: str) -> tuple[Path, str]:
    """Return path and sha256 of a file in the bundle, as they are written."""
    file, expected = fields.get(f'{key}.file', str), fields.get(f'{key}.sha256', str)
    other = os.path.basename(file) != file or not file.isprintable()
    if other or file in ('', '.', '..', MODEL_FILE):
        text = f'field {key}.file is {shown(file)}, expected a file name in the bundle'
        raise fields.error(text)
    if not _SHA256.fullmatch(expected):
        text = f'field {key}.sha256 is {shown(expected)}, expected 64 hexadecimal digits'
        raise fields.error(text + quoting_hint(expected))
    return fields.path.parent / file, expected
