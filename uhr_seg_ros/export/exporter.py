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

"""What an export module declares of its kind of bundle, and how a graph is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
import logging
from pathlib import Path
from typing import Any, Generic, TypeVar
import warnings

import numpy as np
import torch
from torch import nn

from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.errors import BundleError
from uhr_seg_ros.networks.backbones.normalization import normalized
from uhr_seg_ros.networks.presets import SegmentationNetwork
from uhr_seg_ros.pipelines.segmenter import Segmenter

OPSET = 17
#: Largest logit error, relative to the largest absolute logit.
LOGIT_TOLERANCE = 1e-3
#: Smallest share of pixels with the same arg max.
MASK_AGREEMENT = 0.9999

#: Graph name -> module, and an example of every input tensor by name.
Graphs = dict[str, tuple[nn.Module, dict[str, torch.Tensor]]]
#: Height and width, px.
Size = tuple[int, int]
N = TypeVar('N', bound=SegmentationNetwork)


def compare_frames(network: SegmentationNetwork, bundle: Bundle, image: np.ndarray) -> None:
    """
    Segment one image by torch and by the bundle and compare logits and arg max.

    Args:
        network: In evaluation mode.
        bundle: Its bundle.
        image: (H, W, 3) uint8 BGR.

    Raises:
        BundleError: They differ by more than the tolerances above; names the figures.
    """
    expected = network(normalized(image[None], bundle.mean, bundle.std))[0].numpy()
    with Segmenter(bundle, backend='onnxruntime') as segmenter:
        found = segmenter(image, logits=True)
    assert found.logits is not None
    scale = max(float(np.abs(expected).max()), float(np.finfo(np.float32).tiny))
    error = float(np.abs(found.logits - expected).max()) / scale
    agreement = float((found.mask == expected.argmax(0)).mean())
    if not error <= LOGIT_TOLERANCE or agreement < MASK_AGREEMENT:
        msg = (
            f'bundle {bundle.path} disagrees with torch at {image.shape[1]}x{image.shape[0]}: '
            f'logit error {error:.2e} (limit {LOGIT_TOLERANCE:.0e} of the largest), same class on '
            f'{agreement:.2%} of the pixels (limit {MASK_AGREEMENT:.2%})'
        )
        raise BundleError(msg)


@dataclass(frozen=True)
class Exporter(Generic[N]):
    """
    How networks become bundles of one kind.

    Attributes:
        network: What is exported so.
        graphs: Network in evaluation mode -> its graphs by name.
        seen_size: Network -> height and width of what it sees at a time: of its stride, of a
            patch, or of its fixed input; ``BundleKind.compare_sizes`` takes them.
        fields: Network -> what only this kind has in model.yaml, as ``write_bundle`` takes it.
        compare: Compares network and bundle on one image, as ``compare_frames``.
    """

    network: type[N]
    graphs: Callable[[N], Graphs]
    seen_size: Callable[[N], Size]
    fields: Callable[[N], dict[str, Any]] = lambda _network: {}
    compare: Callable[[N, Bundle, np.ndarray], None] = compare_frames


def write_graph(
    graph: nn.Module,
    inputs: Mapping[str, torch.Tensor],
    outputs: tuple[str, ...],
    axes: Mapping[str, Mapping[int, str]],
    path: Path,
) -> None:
    """
    Write a module as an ONNX graph.

    Args:
        graph: Put into evaluation mode.
        inputs: An example of every input by name.
        outputs: Names of the outputs.
        axes: Tensor -> names of the axes whose length depends on the frame.
        path: The file.
    """
    names = (*inputs, *outputs)
    with _quiet_exporter():
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


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """
    Keep torch's exporter quiet within the block.

    The tracing exporter is the one that writes opset 17 with symbolic sizes; it warns of every
    shape that it records as an operation, which is what we want of it.
    """
    logger = logging.getLogger('torch.onnx')
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logger.setLevel(level)
