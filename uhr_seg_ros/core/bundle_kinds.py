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
The registry of bundle kinds: all that the rest of the package has to know about a kind.

A kind is how the graphs of a bundle make a mask of a frame. Nobody compares names of kinds: who
has to decide something by the kind asks its entry, as in `bundle.kind.is_fixed_size`.

To add a kind of network:

1. write the network, `networks/<family>/`; its attribute `kind` is the name of the new entry;
2. write the pipeline that runs its graphs, `pipelines/<kind>.py`;
3. write what makes graphs of it, an `Exporter`, `export/<kind>.py`;
4. add one entry to `BUNDLE_KINDS` below.

There is data only in here: neither a runtime nor a pipeline is imported, they are named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

#: Height and width, px.
Size = tuple[int, int]

#: Stages of the segmenter itself, after those of its pipeline.
SEGMENTER_STAGES = ('refine', 'smooth', 'relabel', 'overlay')


class GraphTensors(NamedTuple):
    """Names of the tensors that a graph takes and gives."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class PipelineEntry(NamedTuple):
    """
    Which pipeline runs a kind of bundle on one back end.

    Attributes:
        target: `module:class`, imported when it is needed, since what it needs may be missing.
        stages: what it may time of a frame, in the order in which they run.
        precisions: what its engines may compute in, first what `auto` means; empty where the
            back end decides by the bundle.

    """

    target: str
    stages: tuple[str, ...]
    precisions: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class BundleKind:
    """
    What one kind of bundle is; `str()` of it is its name.

    Attributes:
        name: as model.yaml has it in `kind`.
        graphs: graph name -> its tensors.
        pipelines: back end -> what runs it there.
        exporter: `module:attribute` of the `Exporter` that makes it of a network.
        compare_sizes: takes height and width, px, of what its network sees at a time (of its
            stride, of a patch, or of its fixed input) and returns sizes of frames on which an
            export is compared with torch, neither of them the traced one.
        dynamic_axes: tensor -> axis -> name of its length, where that depends on the frame.
        is_fixed_size: whether its graphs see as many px of every frame: nothing to tile.
        may_have_one_size: whether a bundle may have `input.size`: its network takes that only, of
            frames that are resized or of tiles.
        sees_reduced_frame: whether `image` is the frame reduced by `low_res_factor`.
        optional: graphs that a bundle may lack.
        contexts: graphs that a bundle has only if `patches.contexts` of its model.yaml has them;
            without any, there is no such section.
        has_sampling_grid: whether it chooses where it samples a frame.
        is_quantizable: whether int8 graphs can be made of it.

    """

    name: str
    graphs: Mapping[str, GraphTensors]
    pipelines: Mapping[str, PipelineEntry]
    exporter: str
    compare_sizes: Callable[[int, int], tuple[Size, ...]]
    dynamic_axes: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    is_fixed_size: bool = False
    may_have_one_size: bool = False
    sees_reduced_frame: bool = False
    optional: tuple[str, ...] = ()
    contexts: tuple[str, ...] = ()
    has_sampling_grid: bool = False
    is_quantizable: bool = False

    def __str__(self) -> str:
        return self.name

    @property
    def stages(self) -> tuple[str, ...]:
        """Every stage that a frame may have in the segmenter, on whatever back end."""
        own = (stage for entry in self.pipelines.values() for stage in entry.stages)
        return tuple(dict.fromkeys((*own, *SEGMENTER_STAGES)))

    @property
    def has_patches(self) -> bool:
        """Whether model.yaml has a section `patches`."""
        return bool(self.contexts)

    def graphs_with(self, contexts: Mapping[str, object]) -> dict[str, GraphTensors]:
        """
        Return the graphs of a bundle that has these contexts only.

        Args:
            contexts: `Patches.contexts` of the bundle.

        """
        missing = set(self.contexts) - set(contexts)
        return {
            graph: GraphTensors(
                tuple(name for name in tensors.inputs if name not in missing), tensors.outputs
            )
            for graph, tensors in self.graphs.items()
            if graph not in missing
        }

    def axis_name(self, tensor: str, axis: int) -> str | None:
        """Return the name of a length that depends on the frame; None for a fixed one."""
        return self.dynamic_axes.get(tensor, {}).get(axis)


def _of_strides(height: int, width: int) -> tuple[Size, ...]:
    return (11 * height, 19 * width), (17 * height, 13 * width)


def _of_patches(height: int, width: int) -> tuple[Size, ...]:
    """Return not more than two of the large patches, which take seconds, but enough px."""
    wider = max(width + width // 2, _COMPARED_PIXELS // height)
    return (height, wider), (height // 2, wider + 1)


def _of_fixed(height: int, width: int) -> tuple[Size, ...]:
    return (2 * height + 3, 3 * width // 2), (height - 3, 2 * width + 1)


_COMPARED_PIXELS = 100_000

_FRAME, _ROWS = {2: 'height', 3: 'width'}, {2: 'rows', 3: 'columns'}
_QUARTER = {2: 'quarter_height', 3: 'quarter_width'}

# They run on every back end alike.
_DEFORMED = 'uhr_seg_ros.pipelines.deformed:Deformed'
_UNIFORM = 'uhr_seg_ros.pipelines.single:Uniform'

_SINGLE_STAGES = ('convert', 'preprocess', 'network', 'enlarge', 'overlay')
_PATCH_STAGES = ('convert', 'reduce', 'contexts', 'patches', 'merge', 'overlay')
_DEFORMED_STAGES = (
    'convert',
    'reduce',
    'saliency',
    'sample',
    'network',
    'enlarge',
    'overlay',
)

_KINDS = (
    BundleKind(
        'two_branch',
        graphs={
            'semantic': GraphTensors(('low_res',), ('tokens', 'semantic_logits')),
            'detail': GraphTensors(('image',), ('affinity', 'local')),
            'fusion': GraphTensors(('tokens', 'affinity', 'local'), ('mask',)),
            # A graph of its own: ONNX Runtime computes every output that a graph has.
            'scores': GraphTensors(
                ('tokens', 'affinity', 'local'), ('mask', 'confidence', 'logits')
            ),
            # For a back end that upsamples by itself: TensorRT has no uint8 inside a graph.
            'quarter': GraphTensors(('tokens', 'affinity', 'local'), ('quarter_logits',)),
            # A guess, per cell of 16 px, of what share of its pixels the detail branch changes.
            'detail_gain': GraphTensors(('tokens', 'semantic_logits'), ('detail_gain',)),
            # How far a frame is from those that the model knows; above 1 it is outside.
            'novelty': GraphTensors(('tokens',), ('novelty',)),
        },
        pipelines={
            'tensorrt': PipelineEntry(
                'uhr_seg_ros.pipelines.two_branch_gpu:TwoBranchGpu',
                ('upload', 'engines', 'download'),
                ('fp16', 'fp32', 'int8'),
            ),
            'onnxruntime': PipelineEntry(
                'uhr_seg_ros.pipelines.two_branch:TwoBranch',
                ('convert', 'preprocess', 'semantic', 'detail', 'fusion', 'overlay'),
            ),
        },
        exporter='uhr_seg_ros.export.two_branch:EXPORTER',
        compare_sizes=_of_strides,
        dynamic_axes={
            'low_res': {2: 'low_height', 3: 'low_width'},
            'image': _FRAME,
            'residuals': {2: 'half_height', 3: 'half_width'},
            'tokens': _ROWS,
            'semantic_logits': _ROWS,
            'affinity': {1: 'rows', 2: 'columns'},
            'local': _QUARTER,
            'quarter_logits': _QUARTER,
            'mask': {1: 'height', 2: 'width'},
            'confidence': {1: 'height', 2: 'width'},
            'logits': _FRAME,
            'detail_gain': _ROWS,
        },
        optional=('detail_gain', 'novelty'),
        is_quantizable=True,
    ),
    # One network on the frame reduced by `low_res_factor`; logits of any stride.
    BundleKind(
        'single',
        graphs={'network': GraphTensors(('image',), ('logits',))},
        pipelines={
            'tensorrt': PipelineEntry(
                'uhr_seg_ros.pipelines.single_gpu:SingleGpu', _SINGLE_STAGES, ('fp16', 'fp32')
            ),
            'onnxruntime': PipelineEntry(
                'uhr_seg_ros.pipelines.single:SingleBranch', _SINGLE_STAGES
            ),
        },
        exporter='uhr_seg_ros.export.single:EXPORTER',
        compare_sizes=_of_strides,
        dynamic_axes={'image': _FRAME, 'logits': _ROWS},
        may_have_one_size=True,
        sees_reduced_frame=True,
    ),
    # Patches with the help of contexts, see `core.bundle.Patches`.
    BundleKind(
        'patches',
        graphs={
            'local': GraphTensors(('image',), ('local',)),
            'medium': GraphTensors(('image',), ('medium',)),
            'large': GraphTensors(('image',), ('large',)),
            'patch': GraphTensors(('image', 'local', 'medium', 'large'), ('logits',)),
        },
        pipelines={
            # Nobody has calibrated them for int8.
            'tensorrt': PipelineEntry(
                'uhr_seg_ros.pipelines.patches_gpu:PatchesGpu', _PATCH_STAGES, ('fp16', 'fp32')
            ),
            'onnxruntime': PipelineEntry(
                'uhr_seg_ros.pipelines.patches:PatchesWithContexts', _PATCH_STAGES
            ),
        },
        exporter='uhr_seg_ros.export.patches:EXPORTER',
        compare_sizes=_of_patches,
        # The whole frame as a context comes once for all patches, hence names of their own.
        dynamic_axes={
            'image': {0: 'patches'},
            'local': {0: 'locals'},
            'medium': {0: 'mediums'},
            'large': {0: 'larges'},
            'place': {0: 'patches'},
            'logits': {0: 'patches'},
        },
        contexts=('local', 'medium', 'large'),
    ),
    # Of fixed sizes; in between, the frame is sampled along the grid.
    BundleKind(
        'deformed',
        graphs={
            'saliency': GraphTensors(('image',), ('grid',)),
            'segment': GraphTensors(('image',), ('probabilities',)),
        },
        pipelines={
            # A place in a large frame has more digits than half precision, and so small graphs
            # gain nothing by it.
            'tensorrt': PipelineEntry(_DEFORMED, _DEFORMED_STAGES, ('fp32',)),
            'onnxruntime': PipelineEntry(_DEFORMED, _DEFORMED_STAGES),
        },
        exporter='uhr_seg_ros.export.deformed:EXPORTER',
        compare_sizes=_of_fixed,
        is_fixed_size=True,
        has_sampling_grid=True,
    ),
    # One network on the frame resized to the size that it takes.
    BundleKind(
        'uniform',
        graphs={'network': GraphTensors(('image',), ('logits',))},
        pipelines={
            'tensorrt': PipelineEntry(_UNIFORM, _SINGLE_STAGES, ('fp32',)),
            'onnxruntime': PipelineEntry(_UNIFORM, _SINGLE_STAGES),
        },
        exporter='uhr_seg_ros.export.deformed:UNIFORM_EXPORTER',
        compare_sizes=_of_fixed,
        is_fixed_size=True,
    ),
)

#: Every kind by its name.
BUNDLE_KINDS: dict[str, BundleKind] = {kind.name: kind for kind in _KINDS}
