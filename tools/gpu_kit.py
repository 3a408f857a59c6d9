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
What the GPU acceptance takes along: all that is slow to make and needs no GPU.

`scripts/gpu_acceptance prepare` makes this folder where there is time; the machine with the GPU
reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
import json
from pathlib import Path
import shutil
from time import perf_counter
from typing import Any
import zipfile

import numpy as np
import onnx

from tools.gpu_cases import BUNDLE, PAPER, Scale
from tools.gpu_traffic import traffic
from uhr_seg_ros.backends.options import EngineOptions, WIDTHS
from uhr_seg_ros.backends.registry import as_reference
from uhr_seg_ros.backends.tensorrt.cache import EngineCache
from uhr_seg_ros.backends.tensorrt.compiling import compile_kernels, source_sha256
from uhr_seg_ros.backends.tensorrt.specialized_graphs import SpecializedGraphs
from uhr_seg_ros.core.atomic_io import write_bytes, write_json
from uhr_seg_ros.core.bundle import Bundle, Graph, load_bundle
from uhr_seg_ros.core.classes import CLASS_SETS
from uhr_seg_ros.core.image_writing import write_image
from uhr_seg_ros.core.raw_frame import RawFrame
from uhr_seg_ros.core.timing import StageClock
from uhr_seg_ros.image_io.files import read_ids, read_image
from uhr_seg_ros.pipelines.pipeline import OutputRequest, Results, TilingOptions
from uhr_seg_ros.pipelines.tiling import padded_size
from uhr_seg_ros.pipelines.two_branch import TwoBranch
from uhr_seg_ros.pipelines.verification import mirrored, verification_frame

#: Logits of a reference take this many values per row and column at most; larger maps are sampled.
_LOGIT_SIDE = 480

Shapes = Mapping[str, tuple[int, ...]]
Say = Callable[[str], None]


class Kit:
    """
    A prepared folder.

    Args:
        folder: as `prepare` wrote it.

    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.facts: dict[str, Any] = json.loads((folder / 'kit.json').read_text(encoding='utf-8'))

    def cubin(self, capability: tuple[int, int]) -> bytes:
        """Return the kernels; those for another GPU, or of another source, are compiled here."""
        wanted = [list(capability), source_sha256()]
        if [self.facts['capability'], self.facts['kernels']] == wanted:
            return (self.folder / 'kernels.cubin').read_bytes()
        return compile_kernels(capability)

    def graph(self, graph: Graph, shapes: Shapes) -> onnx.ModelProto:
        """Return a graph in half precision; one of other shapes or changed is made here."""
        path = self.folder / 'graphs' / f'{_name(graph, shapes)}.onnx'
        graphs = _specialized()
        if self.facts['graphs'].get(path.name) == graphs.fields(graph, shapes):
            return onnx.load(path)
        return graphs.load(graph, shapes, plain_norms=False)

    def bundle(self, name: str) -> Bundle:
        """
        Read a bundle: that of the paper's network from here, another one as everywhere.

        Raises:
            BundleError: it is not there.

        """
        if name != PAPER:
            return load_bundle(name)
        # Random weights leave many pixels between two classes, which a rounding decides.
        return replace(load_bundle(self.folder / PAPER), agreement=dict.fromkeys(WIDTHS, 0.9))

    def frame(self, size: tuple[int, int]) -> RawFrame:
        """Return the frame of a size that the reference was computed on."""
        return RawFrame.of_bgr(mirrored(read_image(self.folder / 'scene.png'), size))

    def reference(self, bundle: str, size: str) -> tuple[Results, int]:
        """
        Return what ONNX Runtime computes in float32 on the CPU for a bundle and size.

        Returns:
            `mask` and `quarter_logits`, of which every n-th row and column is kept; and n.

        """
        name = f'{bundle}_{size}'
        logits = np.load(self.folder / f'logits_{name}.npy').astype(np.float32)
        mask = read_ids(self.folder / f'mask_{name}.png')
        return {'mask': mask, 'quarter_logits': logits}, self.facts['steps'][name]

    def unpack_wheels(self, folder: Path) -> None:
        """Unpack the wheels into a folder for PYTHONPATH; they need no other installation."""
        for wheel in sorted((self.folder / 'wheels').glob('*.whl')):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder)


def prepare(
    folder: Path,
    wheels: Path | None,
    capability: tuple[int, int],
    scale: Scale,
    say: Say,
    *,
    paper: bool = False,
    compile_cubin: Callable[[tuple[int, int]], bytes] = compile_kernels,
) -> None:
    """
    Make the folder that `Kit` reads; takes minutes.

    Args:
        folder: where to; what was there goes.
        wheels: folder of wheels to take along.
        capability: compute capability of the GPU.
        scale: how much will be measured.
        say: gets a line per step.
        paper: whether to export the paper's network, some 300 MB.
        compile_cubin: gets the capability; another one for a dry run, which loads no cubin.

    """
    shutil.rmtree(folder, ignore_errors=True)
    (folder / 'graphs').mkdir(parents=True)
    (folder / 'wheels').mkdir()
    for wheel in sorted(wheels.glob('*.whl')) if wheels else ():
        shutil.copy(wheel, folder / 'wheels')
    bundle = load_bundle(BUNDLE)
    write_bytes(folder / 'kernels.cubin', compile_cubin(capability))
    write_image(folder / 'scene.png', verification_frame((1024, 1024)))
    facts: dict[str, Any] = {
        'capability': capability,
        'kernels': source_sha256(),
        'graphs': {},
        'sizes': scale.sizes,
        'steps': {},
        'traffic': {},
    }
    opened = _open_reference(bundle)  # once: it takes frames of any size
    for name, size in scale.sizes.items():
        start = perf_counter()
        facts['traffic'][name] = 0
        for graph, shapes, model in half_graphs(bundle, size):
            path = folder / 'graphs' / f'{_name(graph, shapes)}.onnx'
            onnx.save(model, path)
            facts['graphs'][path.name] = _specialized().fields(graph, shapes)
            facts['traffic'][name] += traffic(model)
        frame = f'{BUNDLE}_{name}'
        facts['steps'][frame] = _write_reference(folder, frame, size, opened)
        say(f'{name}: graphs and reference after {perf_counter() - start:.0f} s')
    opened.close()
    if paper:
        opened = _open_reference(_export_paper(folder, scale.network))
        frame = f'{PAPER}_paper'
        step = _write_reference(folder, frame, scale.paper_size, opened)
        facts['steps'][frame] = step
        opened.close()
        say(f'{PAPER}: exported')
    write_json(folder / 'kit.json', facts)
    megabytes = sum(path.stat().st_size for path in folder.rglob('*') if path.is_file()) / 1e6
    say(f'{folder}: {megabytes:.1f} MB')


def half_graphs(
    bundle: Bundle, size: tuple[int, int]
) -> Iterator[tuple[Graph, Shapes, onnx.ModelProto]]:
    """Give the graphs of a two-branch bundle in half precision for untiled frames of a size."""
    height, width = padded_size(size, bundle.multiple)
    factor = bundle.low_res_factor
    known: dict[str, tuple[int, ...]] = {
        'low_res': (1, 3, height // factor, width // factor),
        'image': (1, 3, height, width),
    }
    for name in ('semantic', 'detail', 'quarter'):
        graph = bundle.graphs[name]
        shapes = {tensor: known[tensor] for tensor in graph.inputs}
        model = _specialized().load(graph, shapes, plain_norms=False)
        typed = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        for tensor in typed.graph.output:
            sides = tensor.type.tensor_type.shape.dim
            known[tensor.name] = tuple(side.dim_value for side in sides)
        yield graph, shapes, model


def _open_reference(bundle: Bundle) -> TwoBranch:
    return TwoBranch.open(bundle, TilingOptions(0), as_reference(EngineOptions()))


def _write_reference(folder: Path, name: str, size: tuple[int, int], reference: TwoBranch) -> int:
    frame = RawFrame.of_bgr(mirrored(read_image(folder / 'scene.png'), size))
    request = OutputRequest(('mask', 'quarter_logits'))
    expected = reference.segment(frame, request, StageClock())
    logits = expected['quarter_logits']
    step = -(-max(logits.shape[1:]) // _LOGIT_SIDE)
    write_image(folder / f'mask_{name}.png', expected['mask'])
    np.save(folder / f'logits_{name}.npy', logits[:, ::step, ::step].astype(np.float16))
    return step


def _export_paper(folder: Path, preset: str) -> Bundle:
    import torch

    from uhr_seg_ros.export.export import export_bundle
    from uhr_seg_ros.networks.presets import build_network, find_preset

    torch.manual_seed(0)
    network, classes = build_network(preset).eval(), CLASS_SETS[find_preset(preset).classes]
    export_bundle(network, folder / PAPER, name=PAPER, preset=preset, classes=classes)
    return load_bundle(folder / PAPER)


def _specialized() -> SpecializedGraphs:
    # Only int8 takes something from the cache.
    return SpecializedGraphs(BUNDLE, 'fp16', EngineCache(''))


def _name(graph: Graph, shapes: Shapes) -> str:
    sizes = '_'.join('x'.join(map(str, shape)) for shape in shapes.values())
    return f'{graph.name}-{sizes}'
