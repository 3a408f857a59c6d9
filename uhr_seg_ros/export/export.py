# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Write a network as a bundle: ONNX graphs at opset 17, compared with torch."""

from __future__ import annotations

from collections.abc import Mapping
import logging
from pathlib import Path
from typing import Any
import warnings

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from uhr_seg_ros.backends.memory_profile import detail_bytes_per_pixel
from uhr_seg_ros.core.bundle import Bundle, graphs_of, load_bundle, MODEL_FILE
from uhr_seg_ros.core.bundle_kinds import BUNDLE_KINDS
from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.core.domain import Domain
from uhr_seg_ros.core.errors import BundleError
from uhr_seg_ros.core.work_folders import draft_folder
from uhr_seg_ros.export.bundle_writing import write_bundle
from uhr_seg_ros.export.deformed_graphs import bent_both_ways, deformed_graphs, statistics_of
from uhr_seg_ros.export.hlrc_graphs import DetailGraph, FusionGraph, QuarterGraph, SemanticGraph
from uhr_seg_ros.export.patch_graphs import cut_as, patch_graphs
from uhr_seg_ros.networks.backbones.normalization import normalized
from uhr_seg_ros.networks.baselines.single import SingleNetwork
from uhr_seg_ros.networks.deformation.network import DeformedNetwork, UniformNetwork
from uhr_seg_ros.networks.fctl.patch_network import PatchNetwork
from uhr_seg_ros.networks.hlrc.network import HLRC
from uhr_seg_ros.networks.presets import SegmentationNetwork
from uhr_seg_ros.pipelines.segmenter import Segmenter

OPSET = 17
TRACE_SIZE = (192, 256)
#: Largest logit error, relative to the largest absolute logit.
LOGIT_TOLERANCE = 1e-3
#: Smallest share of pixels with the same arg max.
MASK_AGREEMENT = 0.9999
#: Largest error of a sampling grid, in -1..1.
GRID_TOLERANCE = 1e-4
#: The same for the few points of a warped image, of which a single one may be nearly undecided.
POINT_AGREEMENT = 0.999


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
        classes: Names and colours, as many as the network has classes.
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
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    fields = {
        'name': name,
        'network': preset,
        'kind': network.kind,
        'classes': classes,
        'domain': domain,
        'multiple': network.stride,
        'low_res_factor': network.low_res_factor,
        'patches': cut_as(network) if isinstance(network, PatchNetwork) else None,
        'provenance': {'torch': torch.__version__, 'opset': OPSET, **(provenance or {})},
        **(statistics_of(network) if isinstance(network, DeformedNetwork) else {}),
    }
    network.eval()
    # A bundle that is there stays until the new one is proven.
    with draft_folder(directory, '.export_') as draft, torch.no_grad():
        write_graphs(network, draft)
        bundle = write_bundle(draft, **fields)
        for size in _compared_sizes(network):
            compare(network, bundle, size)
        memory = detail_bytes_per_pixel(bundle)
        write_bundle(draft, **fields, detail_bytes_per_pixel=memory)
        # model.yaml last: in between it does not fit to the graphs, and with it come the hashes of
        # what was proven, whoever else writes into the folder.
        for path in (*(graph.path for graph in bundle.graphs.values()), draft / MODEL_FILE):
            path.replace(directory / path.name)
    return load_bundle(directory)


def _compared_sizes(network: SegmentationNetwork) -> tuple[tuple[int, int], ...]:
    """Return sizes (height, width) of images on which a bundle is compared with torch, px."""
    seen = network.stride, network.stride
    if isinstance(network, PatchNetwork):
        seen = network.side, network.side
    elif isinstance(network, DeformedNetwork | UniformNetwork):
        seen = network.warped_size
    return BUNDLE_KINDS[network.kind].compare_sizes(*seen)


def write_graphs(network: SegmentationNetwork, directory: Path) -> None:
    """Write the graphs of a network in evaluation mode as ``<graph>.onnx``, without gradients."""
    image = torch.randn(1, 3, *TRACE_SIZE)
    patches = None
    if isinstance(network, SingleNetwork):
        graphs = {'network': (network.body, {'image': network.reduce(image)})}
    elif isinstance(network, PatchNetwork):
        graphs, patches = patch_graphs(network.exported()), cut_as(network)
    elif isinstance(network, DeformedNetwork):
        graphs = deformed_graphs(network)
    elif isinstance(network, UniformNetwork):
        graphs = {'network': (network.inner, {'image': torch.randn(1, 3, *network.warped_size)})}
    else:
        graphs = _two_branch_graphs(network, image)
    tensors = graphs_of(BUNDLE_KINDS[network.kind], patches)
    for name, (graph, inputs) in graphs.items():
        axes = BUNDLE_KINDS[network.kind].dynamic_axes
        outputs = tensors[name][1]
        _write_graph(graph, inputs, outputs, axes, directory / f'{name}.onnx')


def _two_branch_graphs(
    network: HLRC, image: torch.Tensor
) -> dict[str, tuple[nn.Module, dict[str, torch.Tensor]]]:
    """Return the graphs of HLRC by name, each with an example of its inputs."""
    low_res = network.low_pass(image)
    semantic, detail = SemanticGraph(network), DetailGraph(network)
    tokens, _ = semantic(low_res)
    affinity, local = detail(image)
    meeting = {'tokens': tokens, 'affinity': affinity, 'local': local}
    return {
        'semantic': (semantic, {'low_res': low_res}),
        'detail': (detail, {'image': image}),
        'fusion': (FusionGraph(network), meeting),
        'scores': (FusionGraph(network, scores=True), meeting),
        'quarter': (QuarterGraph(network), meeting),
    }


def _write_graph(
    graph: nn.Module,
    inputs: Mapping[str, torch.Tensor],
    outputs: tuple[str, ...],
    axes: Mapping[str, Mapping[int, str]],
    path: Path,
) -> None:
    names = (*inputs, *outputs)
    # The tracing exporter is the one that writes opset 17 with symbolic sizes; it warns of
    # every shape that it records as an operation, which is what we want of it.
    logging.getLogger('torch.onnx').setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.onnx.export(
            graph.eval(),
            tuple(inputs.values()),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={name: dict(axes[name]) for name in names if name in axes},
        )


def compare(network: SegmentationNetwork, bundle: Bundle, size: tuple[int, int]) -> None:
    """
    Run torch and the bundle on one image and compare logits and arg max.

    Raises:
        BundleError: They differ by more than the tolerances above; names the figures.
    """
    image = _noise_image(*size)
    if isinstance(network, DeformedNetwork):
        _compare_bent(network, bundle, image)
        return
    expected = network(normalized(image[None], bundle.mean, bundle.std))[0].numpy()
    segmenter = Segmenter(bundle, backend='onnxruntime')
    found = segmenter(image, logits=True)
    segmenter.close()
    scale = max(float(np.abs(expected).max()), np.finfo(np.float32).tiny)
    error = float(np.abs(found.logits - expected).max()) / scale
    agreement = float((found.mask == expected.argmax(0)).mean())
    if not error <= LOGIT_TOLERANCE or agreement < MASK_AGREEMENT:
        msg = (
            f'bundle {bundle.path} disagrees with torch at {size[1]}x{size[0]}: logit error '
            f'{error:.2e} (limit {LOGIT_TOLERANCE:.0e} of the largest), same class on '
            f'{agreement:.2%} of the pixels (limit {MASK_AGREEMENT:.2%})'
        )
        raise BundleError(msg)


def _compare_bent(network: DeformedNetwork, bundle: Bundle, image: np.ndarray) -> None:
    expected, found = bent_both_ways(network, bundle, image)
    grid_error, error = (
        float(np.abs(one - other).max()) for one, other in zip(expected, found, strict=True)
    )
    agreement = float((found[1].argmax(0) == expected[1].argmax(0)).mean())
    if not (grid_error <= GRID_TOLERANCE and error <= LOGIT_TOLERANCE) or (
        agreement < POINT_AGREEMENT
    ):
        msg = (
            f'bundle {bundle.path} disagrees with torch at {image.shape[1]}x{image.shape[0]}: '
            f'grid error {grid_error:.2e} (limit {GRID_TOLERANCE:.0e}), error of probabilities '
            f'{error:.2e} (limit {LOGIT_TOLERANCE:.0e}), same class at {agreement:.2%} of the '
            f'points (limit {POINT_AGREEMENT:.1%})'
        )
        raise BundleError(msg)


def _noise_image(height: int, width: int) -> np.ndarray:
    """Smooth seeded noise, (H, W, 3) uint8, with structure at several scales."""
    generator = torch.Generator().manual_seed(height * width)
    image = torch.zeros(1, 3, height, width)
    for cells in (4, 16, 64):
        noise = torch.randn(1, 3, cells, cells, generator=generator)
        image += functional.interpolate(noise, size=(height, width), mode='bicubic')
    return (128 + 40 * image[0].permute(1, 2, 0)).clamp(0, 255).to(torch.uint8).numpy()
