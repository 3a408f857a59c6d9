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
What a network of our own would be in a node that shrinks frames: one ONNX graph of one size.

    python -m tools.shrunk_network --output shrunk.onnx [--bundle NAME] [--part semantic|whole]
        [--size 512x512]

`semantic` is the semantic branch alone, which was trained on frames reduced by four: here it gets
whatever the frame is shrunk to. `whole` is all of the network, as if the shrunk frame were the
camera's: its semantic branch sees a quarter of that. The weights are those of the bundle, its
graphs in fp32. `uhr_seg wrap` makes a bundle of the file.
"""

from __future__ import annotations

import argparse
from pathlib import Path
import sys

import onnx
from onnx import compose, helper

from uhr_seg_ros.cli.arguments import DEFAULT_BUNDLE, parse_size
from uhr_seg_ros.core.atomic_io import write_bytes
from uhr_seg_ros.core.bundle import Bundle, load_bundle
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.program import guarded
from uhr_seg_ros.onnx_graphs.folding import fix_shapes
from uhr_seg_ros.onnx_graphs.network_adaptation import with_outputs

#: Height and width of the shrunk frame, px, as nodes of others have it.
SIZE = (512, 512)


def semantic_network(bundle: Bundle, size: tuple[int, int] = SIZE) -> onnx.ModelProto:
    """Return the semantic branch for shrunk frames of a height and width, px."""
    path = bundle.graphs['semantic'].path
    model = fix_shapes(path.read_bytes(), {'low_res': (1, 3, *size)}, path)
    return with_outputs(model, ['semantic_logits'])


def whole_network(bundle: Bundle, size: tuple[int, int] = SIZE) -> onnx.ModelProto:
    """Return both branches and their fusion for shrunk frames of a height and width, px."""
    parts = [
        compose.add_prefix(
            onnx.load(bundle.graphs[name].path),
            f'{name}/',
            rename_inputs=False,
            rename_outputs=False,
        )
        for name in ('semantic', 'detail', 'scores')
    ]
    # The mean of blocks is the same of normalized pixels as of bytes.
    sides = [bundle.low_res_factor] * 2
    nodes = [
        helper.make_node('AveragePool', ['image'], ['low_res'], kernel_shape=sides, strides=sides)
    ]
    for part in parts:
        nodes += part.graph.node
    image = helper.make_tensor_value_info('image', onnx.TensorProto.FLOAT, [1, 3, *size])
    logits = next(each for each in parts[-1].graph.output if each.name == 'logits')
    constants = [each for part in parts for each in part.graph.initializer]
    model = helper.make_model(
        helper.make_graph(nodes, 'whole', [image], [logits], constants),
        opset_imports=parts[-1].opset_import,
        ir_version=max(part.ir_version for part in parts),
    )
    return fix_shapes(model.SerializeToString(), {'image': (1, 3, *size)}, 'whole')


PARTS = {'semantic': semantic_network, 'whole': whole_network}


def main() -> int:
    """Write the graph."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--bundle', default=DEFAULT_BUNDLE, help='of two branches')
    parser.add_argument('--part', choices=PARTS, default='semantic')
    parser.add_argument('--size', type=parse_size, default=SIZE, metavar='WxH')
    parser.add_argument('--output', type=Path, required=True, metavar='FILE', help='ONNX file')
    arguments = parser.parse_args()
    return guarded(lambda: _write(arguments), 'shrunk_network')


def _write(arguments: argparse.Namespace) -> int:
    bundle = load_bundle(arguments.bundle)
    if bundle.kind.name != 'two_branch':
        msg = f'{bundle.name} is of kind {bundle.kind.name}: expected one of two branches'
        raise ConfigError(msg)
    model = PARTS[arguments.part](bundle, arguments.size)
    write_bytes(arguments.output, model.SerializeToString())
    return 0


if __name__ == '__main__':
    sys.exit(main())
