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
Count what the kernels read and write that TensorRT for RTX makes of the graphs of a bundle.

It compiles without a GPU and describes the kernels in its log, each with its tensors:

    python -m tools.engine_traffic hlrc_s_aerial --size 3840x2160 --json traffic.json

A kernel that reads a part of a tensor is counted with the whole of it, and weights are left out.
TensorRT may fuse otherwise; `uhr_seg benchmark graphs` has a model of fusion that needs neither.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from importlib import import_module
import math
from pathlib import Path
import re
from typing import Any, NamedTuple

from uhr_seg_ros.backends.tensorrt.formats import set_formats
from uhr_seg_ros.benchmark.graph_traffic import engine_graphs
from uhr_seg_ros.benchmark.host import write_results
from uhr_seg_ros.cli.arguments import DEFAULT_BUNDLE, parse_size
from uhr_seg_ros.core.atomic_io import check_writable
from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.pipelines.two_branch_gpu_engines import IMAGE_FORMAT, MAP_FORMATS

#: Type of a tensor in the log -> its bytes.
ITEMSIZES = {
    'Float': 4,
    'Half': 2,
    'BFloat16': 2,
    'Int64': 8,
    'Int32': 4,
    'Int8': 1,
    'UInt8': 1,
    'Bool': 1,
}

_LAYER = re.compile(r'^Name: (?P<name>.*?), LayerType: (?P<kind>\w+)')
_TENSOR = re.compile(r'Name: \S+?, Dimensions: \[([\d,]*)\].*?Datatype: (\w+)')


class Layer(NamedTuple):
    """A kernel: its name, its kind, the bytes that it reads and those that it writes."""

    name: str
    kind: str
    read: int
    written: int


def compiled_layers(model: bytes, formats: Mapping[str, str]) -> list[Layer]:
    """
    Compile a graph and return its kernels in their order.

    To be called before anything else makes an object of TensorRT in this process: it keeps the
    first logger that it gets.

    Args:
        model: ONNX file of fixed shapes.
        formats: of its inputs and outputs, see `set_formats`.

    """
    trt = import_module('tensorrt_rtx')
    lines: list[str] = []

    class Log(trt.ILogger):  # type: ignore[name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:  # noqa: ARG002 - as TensorRT calls it
            lines.append(msg)

    log = Log()
    builder = trt.Builder(log)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, log)
    if not parser.parse(model):
        msg = f'TensorRT for RTX cannot read the graph: {parser.get_error(0).desc()}'
        raise RuntimeError(msg)
    set_formats(trt, network, formats)
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.clear_flag(trt.BuilderFlag.TF32)
    plan = builder.build_serialized_network(network, config)
    description = next((line for line in lines if line.startswith('Layers:')), None)
    if plan is None or description is None:
        msg = f'TensorRT for RTX did not build or describe the graph: {lines[-1]}'
        raise RuntimeError(msg)
    return read_layers(description)


def read_layers(description: str) -> list[Layer]:
    """Read what the log says about the kernels of an engine."""
    layers = []
    for line in description.partition('\nBindings')[0].splitlines():
        if found := _LAYER.match(line):
            inputs, _, outputs = line.partition(', Outputs: [')
            inputs = inputs.partition(', Constants: [')[0]
            layers.append(Layer(found['name'], found['kind'], _bytes(inputs), _bytes(outputs)))
    return layers


def _bytes(tensors: str) -> int:
    return sum(
        math.prod(int(length) for length in lengths.split(',') if length) * ITEMSIZES[kind]
        for lengths, kind in _TENSOR.findall(tensors)
    )


def main() -> None:
    """Compile the graphs of a bundle, print what their kernels move, and write it to a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('bundle', nargs='?', default=DEFAULT_BUNDLE)
    parser.add_argument('--size', type=parse_size, default=(2160, 3840), metavar='WxH')
    parser.add_argument('--precision', choices=('fp32', 'fp16', 'int8'), default='fp16')
    parser.add_argument(
        '--as-exported', action='store_true', help='without our rewritings and formats'
    )
    parser.add_argument('--json', type=Path, metavar='FILE')
    arguments = parser.parse_args()
    check_writable(arguments.json)
    report = {}
    graphs = engine_graphs(
        load_bundle(arguments.bundle),
        arguments.size,
        arguments.precision,
        rewrites=not arguments.as_exported,
    )
    plain = arguments.as_exported or arguments.precision == 'fp32'
    formats = {} if plain else {**IMAGE_FORMAT, **MAP_FORMATS}
    for name, model in graphs:
        content = model.SerializeToString()
        layers = [each for each in compiled_layers(content, formats) if each.read]
        moved = sum(each.read + each.written for each in layers) / 1e6
        print(f'{name}: {len(layers)} kernels, {moved:.0f} MB')
        report[name] = {
            'mb': round(moved, 1),
            'kernels': [
                {**each._asdict(), 'name': each.name[:120]}
                for each in sorted(layers, key=lambda each: -each.read - each.written)
            ],
        }
    if arguments.json:
        write_results(arguments.json, {'graphs': report})


if __name__ == '__main__':
    main()
