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

"""Write a network as a bundle: ONNX graphs at opset 17, compared with torch."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from uhr_seg_ros.backends.memory_profile import detail_bytes_per_pixel
from uhr_seg_ros.core.bundle import Bundle, graphs_of, load_bundle, MODEL_FILE
from uhr_seg_ros.core.bundle_kinds import BUNDLE_KINDS
from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.core.domain import Domain
from uhr_seg_ros.core.errors import BundleError
from uhr_seg_ros.core.work_folders import draft_folder
from uhr_seg_ros.export.bundle_weights import write_weights
from uhr_seg_ros.export.bundle_writing import name_weights, write_bundle
from uhr_seg_ros.export.cpu_graphs import write_cpu_graphs
from uhr_seg_ros.export.exporter import Exporter, OPSET, Size, write_graph
from uhr_seg_ros.networks.presets import NETWORKS, options_of, SegmentationNetwork


def export_bundle(
    network: SegmentationNetwork,
    directory: str | Path,
    *,
    name: str,
    preset: str,
    classes: ClassSet,
    domain: Domain = Domain(),  # noqa: B008 - it cannot change
    provenance: Mapping[str, Any] | None = None,
) -> Bundle:
    """
    Export a network with its present weights.

    Args:
        network: Of any kind; it is put into evaluation mode.
        directory: Folder of the bundle, made if it is missing.
        name: Name of the model.
        preset: Name of the network, as ``build_network`` takes it.
        classes: Names and colors, as many as the network has classes.
        domain: What the model is for.
        provenance: Where the weights come from.

    Returns:
        The written bundle.

    Raises:
        BundleError: The number of classes differs, or a graph disagrees with torch.
    """
    if len(classes) != network.classes:
        msg = f'{len(classes)} class names for a network with {network.classes} classes'
        raise BundleError(msg)
    exporter = exporter_of(network)
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    network.eval()

    cpu_graphs: dict[str, str] = {}

    def write(memory: float | None = None) -> Bundle:
        return write_bundle(
            draft,
            name=name,
            network=preset,
            kind=network.kind,
            classes=classes,
            domain=domain,
            multiple=network.stride,
            low_res_factor=network.low_res_factor,
            detail_bytes_per_pixel=memory,
            provenance={'torch': torch.__version__, 'opset': OPSET, **(provenance or {})},
            cpu_graphs=cpu_graphs,
            **exporter.fields(network),
        )

    # A bundle that is there stays until the new one is verified.
    with draft_folder(directory, '.export_') as draft, torch.no_grad():
        write_graphs(network, draft)
        cpu_graphs.update(write_cpu_graphs(draft))
        bundle = write()
        for size in BUNDLE_KINDS[network.kind].compare_sizes(*exporter.seen_size(network)):
            compare(network, bundle, size)
        bundle = write(detail_bytes_per_pixel(bundle))
        weights = _write_weights(network, bundle, preset, provenance or {})
        # model.yaml last: in between it does not fit to the graphs, and with it come the hashes of
        # what was verified, whoever else writes into the folder.
        graphs = *bundle.graphs.values(), *bundle.graphs_in('fp32').values()
        files = {graph.path for graph in graphs}
        for path in (*files, weights, draft / MODEL_FILE):
            path.replace(directory / path.name)
    return load_bundle(directory)


def _write_weights(
    network: SegmentationNetwork, bundle: Bundle, preset: str, provenance: Mapping[str, Any]
) -> Path:
    options = provenance.get('options', {})
    if preset in NETWORKS:  # else it is a user's
        options = options_of(preset, options)
    path = write_weights(bundle, network.state_dict(), preset, options, bundle.path)
    name_weights(bundle.path, path.name)
    return path


def exporter_of(network: SegmentationNetwork) -> Exporter[Any]:
    """
    Return how a network is exported.

    Raises:
        BundleError: Its kind is exported from networks of another class.
    """
    module, _, attribute = BUNDLE_KINDS[network.kind].exporter.partition(':')
    exporter: Exporter[Any] = getattr(import_module(module), attribute)
    if not isinstance(network, exporter.network):
        msg = (
            f'{type(network).__name__} of kind {network.kind} cannot be exported: expected '
            f'{exporter.network.__module__}.{exporter.network.__name__}'
        )
        raise BundleError(msg)
    return exporter


def write_graphs(network: SegmentationNetwork, directory: Path) -> None:
    """Write the graphs of a network in evaluation mode as ``<graph>.onnx``, without gradients."""
    exporter = exporter_of(network)
    kind = BUNDLE_KINDS[network.kind]
    tensors = graphs_of(kind, exporter.fields(network).get('patches'))
    for name, (graph, inputs) in exporter.graphs(network).items():
        outputs = tensors[name].outputs
        write_graph(graph, inputs, outputs, kind.dynamic_axes, directory / f'{name}.onnx')


def compare(network: SegmentationNetwork, bundle: Bundle, size: Size) -> None:
    """
    Compare a network and its bundle on one image.

    Args:
        network: In evaluation mode.
        bundle: Its bundle.
        size: Height and width of the image, px.

    Raises:
        BundleError: They differ by more than the tolerances of the kind; names the figures.
    """
    exporter_of(network).compare(network, bundle, _noise_image(*size))


def _noise_image(height: int, width: int) -> np.ndarray:
    """Smooth seeded noise, (H, W, 3) uint8, with structure at several scales."""
    generator = torch.Generator().manual_seed(height * width)
    image = torch.zeros(1, 3, height, width)
    for cells in (4, 16, 64):
        noise = torch.randn(1, 3, cells, cells, generator=generator)
        image += functional.interpolate(noise, size=(height, width), mode='bicubic')
    return (128 + 40 * image[0].permute(1, 2, 0)).clamp(0, 255).to(torch.uint8).numpy()
