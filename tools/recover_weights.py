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
Weights of a bundle of hlrc_s that was exported before bundles had them, from its graphs.

    python -m tools.recover_weights BUNDLE --frames IMAGE [IMAGE ...]

A graph has batch norms folded into convolutions, so what they were is not known. What they did is:
each gets the mean and variance of what its convolution gives on the frames, and a scale and an
offset that undo them. The network then gives what the graphs give; in training, where batch norm
takes the statistics of the batch, it goes on from there. Layers that only training has (the
auxiliary classifier) are in no graph and are left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
import torch
from torch import nn

from uhr_seg_ros.core.bundle import Bundle, load_bundle
from uhr_seg_ros.export.bundle_weights import add_weights
from uhr_seg_ros.export.export import compare
from uhr_seg_ros.image_io.files import read_image
from uhr_seg_ros.networks.backbones.layers import ConvNorm
from uhr_seg_ros.networks.backbones.normalization import normalized
from uhr_seg_ros.networks.hlrc.network import HLRC
from uhr_seg_ros.networks.presets import build_network

#: Graph -> where its modules are in the network.
PLACES = {'semantic': '', 'detail': '', 'quarter': 'decoder.'}
TRAINING_ONLY = 'auxiliary.'
#: Side of the parts of the frames that are measured, px, and how many of each frame.
SIDE, PARTS = 768, 4
COMPARE_SIZES = ((512, 512), (240, 336))


def main(argv: Sequence[str] | None = None) -> None:
    """Recover the weights, compare masks, and put the weights into the bundle."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n', maxsplit=1)[0])
    parser.add_argument('bundle', type=Path)
    parser.add_argument('--frames', type=Path, nargs='+', required=True)
    args = parser.parse_args(argv)
    bundle = load_bundle(args.bundle)
    options = bundle.provenance.get('options', {})
    network = build_network(bundle.network, len(bundle.classes), **options)
    assert isinstance(network, HLRC)
    network.eval()
    with torch.no_grad():
        load_graphs(network, bundle)
        compare_all(network, bundle)
        measure_norms(network, list(parts_of(args.frames)), bundle)
        compare_all(network, bundle)
    own = {
        name: value
        for name, value in network.state_dict().items()
        if not name.startswith(TRAINING_ONLY)
    }
    written = add_weights(args.bundle, own, options).weights
    assert written is not None
    print(f'{written.path}: {written.path.stat().st_size} bytes')


def load_graphs(network: HLRC, bundle: Bundle) -> None:
    """Put the weights of the graphs into a network; each batch norm only adds the bias."""
    state = network.state_dict()
    projections: dict[str, np.ndarray] = {}
    for graph, place in PLACES.items():
        model = onnx.load_from_string(bundle.graphs[graph].read())
        values = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
        for name, value in values.items():
            if place + name in state:
                state[place + name].copy_(torch.from_numpy(value.copy()))
        projections |= {name: values[name] for name in ('project', 'weight') if name in values}
        for node in model.graph.node:
            _load_node(network, node, values, place)
            if graph == 'detail' and node.op_type == 'Add' and node.name.count('/') == 1:
                for name in (name for name in node.input if name in values):
                    projections['bias'] = values[name]
    fuse = network.decoder.fuse
    kernel = np.concatenate([projections['project'], projections['weight']], 1)
    _set_folded(fuse, kernel, projections['bias'].reshape(-1))


def _load_node(
    network: HLRC, node: onnx.NodeProto, values: Mapping[str, np.ndarray], place: str
) -> None:
    """Load a layer whose weights are not under their own name, as they were folded."""
    given = [values[name] for name in node.input if name in values and '::' in name]
    module = module_of(network, place + _dotted(node.name))
    if node.op_type == 'MatMul' and given and isinstance(module, nn.Linear):
        module.weight.copy_(torch.from_numpy(given[0].T.copy()))
    elif node.op_type == 'Conv' and len(given) == 2:
        owner = module_of(network, place + _dotted(node.name).rpartition('.')[0])
        assert isinstance(owner, ConvNorm), node.name
        _set_folded(owner, given[0], given[1])


def _dotted(node: str) -> str:
    """/groups.0/groups.0.1/conv/Conv -> groups.0.1.conv: containers are named twice."""
    parts: list[str] = []
    for part in node.strip('/').split('/')[:-1]:
        if parts and part.startswith(parts[-1] + '.'):
            parts.pop()
        parts.append(part)
    return '.'.join(parts)


def module_of(network: nn.Module, dotted: str) -> nn.Module | None:
    """Find a module by its dotted name; None where there is none."""
    return dict(network.named_modules()).get(dotted)


def _set_folded(owner: ConvNorm, weight: np.ndarray, bias: np.ndarray) -> None:
    owner.conv.weight.copy_(torch.from_numpy(weight.copy()))
    norm = owner.norm
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None and norm.running_var is not None
    norm.weight.fill_(1.0)
    norm.bias.copy_(torch.from_numpy(bias.copy()))
    norm.running_mean.zero_()
    norm.running_var.fill_(1.0 - norm.eps)


def measure_norms(network: HLRC, images: Sequence[np.ndarray], bundle: Bundle) -> None:
    """Give every batch norm the statistics of its input, and leave its result as it is."""
    sums: dict[ConvNorm, list[torch.Tensor]] = {}

    def add(owner: ConvNorm, x: torch.Tensor) -> None:
        x = x.double().flatten(2)
        total = sums.setdefault(owner, [torch.zeros(()), torch.zeros(()), torch.zeros(())])
        total[0] = total[0] + x.sum((0, 2))
        total[1] = total[1] + x.square().sum((0, 2))
        total[2] = total[2] + x.shape[0] * x.shape[2]

    handles = [
        owner.conv.register_forward_hook(lambda _conv, _given, x, owner=owner: add(owner, x))
        for name, owner in network.named_modules()
        if isinstance(owner, ConvNorm)
        and isinstance(owner.norm, nn.BatchNorm2d)
        and not name.startswith(TRAINING_ONLY)
    ]
    for image in images:
        network(normalized(image[None], bundle.mean, bundle.std))
    for handle in handles:
        handle.remove()
    for owner, (total, squares, count) in sums.items():
        norm: Any = owner.norm  # for a checker its tensors may be modules
        mean = total / count
        variance = (squares / count - mean.square()).clamp(min=0)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((norm.running_var.double() + norm.eps).sqrt())
        norm.bias.add_(norm.running_mean)


def parts_of(paths: Sequence[Path]) -> Iterator[np.ndarray]:
    """Cut square parts from the diagonals of images, (SIDE, SIDE, 3) uint8 BGR."""
    for path in paths:
        image = read_image(path)
        rows, columns = image.shape[0] - SIDE, image.shape[1] - SIDE
        for index in range(PARTS):
            top, left = rows * index // (PARTS - 1), columns * index // (PARTS - 1)
            yield np.ascontiguousarray(image[top : top + SIDE, left : left + SIDE])


def compare_all(network: HLRC, bundle: Bundle) -> None:
    """Compare masks and logits with those of the graphs, as an export does."""
    for size in COMPARE_SIZES:
        compare(network, bundle, size)


if __name__ == '__main__':
    main()
