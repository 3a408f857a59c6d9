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

"""The exported pyramid decoder computes what the published one does, with fewer products."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip('torch', reason='the networks need torch')

import onnxruntime as ort

from uhr_seg_ros.export.exporter import write_graph
from uhr_seg_ros.export.pyramid import convolve_enlarged, Pyramid, tap_kernels
from uhr_seg_ros.networks.backbones.layers import resize_like
from uhr_seg_ros.networks.backbones.upernet import UPerHead

WIDTHS = (4, 6, 8, 10)


@pytest.fixture(scope='module')
def head() -> UPerHead:
    torch.manual_seed(0)
    head = UPerHead(WIDTHS, 12).eval()
    for module in head.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for values in (module.running_mean, module.running_var, module.weight, module.bias):
                torch.nn.init.uniform_(values, 0.5, 1.5)
    return head


def maps(height: int, width: int) -> list[torch.Tensor]:
    """Make a map per level, each half as large as the one before, rounded up."""
    sizes = [(-(-height // 2**level), -(-width // 2**level)) for level in range(len(WIDTHS))]
    return [torch.randn(1, channels, *size) for channels, size in zip(WIDTHS, sizes, strict=True)]


@pytest.mark.parametrize('size', [(16, 24), (9, 13)])
@torch.no_grad()
def test_same_feature(head: UPerHead, size: tuple[int, int]) -> None:
    levels = maps(*size)
    torch.testing.assert_close(Pyramid(head)(levels), head(levels), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ('small', 'large'), [((3, 4), (6, 8)), ((3, 5), (8, 7)), ((1, 1), (4, 2))]
)
def test_convolution_of_an_enlarged_map(small: tuple[int, int], large: tuple[int, int]) -> None:
    torch.manual_seed(1)
    x, weight, like = torch.randn(1, 6, *small), torch.randn(5, 6, 3, 3), torch.zeros(1, 5, *large)
    expected = torch.nn.functional.conv2d(resize_like(x, like), weight, padding=1)
    found = convolve_enlarged(x, tap_kernels(weight), like)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_its_graph_serves_every_size(head: UPerHead, tmp_path: Path) -> None:
    class Graph(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pyramid = Pyramid(head)

        def forward(self, *levels: torch.Tensor) -> torch.Tensor:
            return self.pyramid(list(levels))

    names = [f'level_{level}' for level in range(len(WIDTHS))]
    axes = {name: {2: f'{name}_height', 3: f'{name}_width'} for name in names}
    inputs = dict(zip(names, maps(8, 16), strict=True))
    write_graph(Graph(), inputs, ('feature',), axes, tmp_path / 'graph.onnx')
    session = ort.InferenceSession(tmp_path / 'graph.onnx', providers=['CPUExecutionProvider'])
    for size in ((24, 16), (11, 13)):
        levels = maps(*size)
        feeds = {name: level.numpy() for name, level in zip(names, levels, strict=True)}
        (found,) = session.run(None, feeds)
        torch.testing.assert_close(torch.from_numpy(found), head(levels), rtol=1e-4, atol=1e-4)
