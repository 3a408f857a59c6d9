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

"""The edge target against Pillow and against slow readings."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='training needs torch')

from tiny import config_with

from uhr_seg_ros.core.classes import UNLABELED
from uhr_seg_ros.networks.deformation.grid import sample_labels
from uhr_seg_ros.networks.presets import build_network
from uhr_seg_ros.training.boundaries import (
    blur,
    edge_loss,
    edge_target,
    find_edges,
    stretched,
)
from uhr_seg_ros.training.losses import cross_entropy
from uhr_seg_ros.training.train_step import Objective


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def random_gray(height: int = 13, width: int = 17) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, 1, height, width), generator=generator)


def test_blur_and_edges_are_those_of_pillow() -> None:
    image = pytest.importorskip('PIL.Image', reason='Pillow is not installed')
    filters = pytest.importorskip('PIL.ImageFilter', reason='Pillow is not installed')
    gray = random_gray()
    blurred = blur(gray)
    edges = find_edges(blurred)
    for sample in range(2):
        picture = image.fromarray(gray[sample, 0].numpy().astype(np.uint8))
        picture = picture.filter(filters.GaussianBlur(1))
        assert np.array_equal(blurred[sample, 0], np.asarray(picture))
        found = np.asarray(picture.filter(filters.FIND_EDGES))
        assert np.array_equal(edges[sample, 0], found)


def test_edges_pixel_by_pixel() -> None:
    gray = random_gray(5, 6)
    found = find_edges(gray)
    for row, column in product(range(5), range(6)):
        expected = gray[0, 0, row, column]
        if 0 < row < 4 and 0 < column < 5:
            around = gray[0, 0, row - 1 : row + 2, column - 1 : column + 2]
            expected = (9 * expected - around.sum()).clamp(0, 255)
        assert found[0, 0, row, column] == expected


def test_blur_is_a_gaussian_of_one_pixel() -> None:
    gray = torch.zeros(1, 1, 21, 21, dtype=torch.int64)
    gray[..., 8:13, 8:13] = 255
    found = blur(gray).double()[0, 0]
    places = torch.arange(21).double()
    line = found.sum(0) / found.sum()
    center = (line * places).sum()
    box = (25 - 1) / 12  # variance of five pixels
    assert float(center) == pytest.approx(10, abs=0.01)
    assert float((line * (places - center) ** 2).sum() - box) == pytest.approx(1, abs=0.05)


def test_target_lies_where_labels_change() -> None:
    labels = torch.zeros(2, 40, 60, dtype=torch.int64)
    labels[0, :, 30:] = 3
    plain = edge_target(labels, (20, 30), ignore_image_border=False)
    assert plain.shape == (2, 1, 20, 30) and plain.dtype == torch.float32
    assert plain[1].eq(0).all()  # one class: no edge, where the released code divides by zero
    assert set(plain[0, 0, 5].nonzero()[:, 0].tolist()) <= set(range(12, 19)) | {29}
    ignore_image_border = edge_target(labels, (20, 30), ignore_image_border=True)
    assert (
        ignore_image_border[..., [0, -1], :].eq(0).all()
        and ignore_image_border[..., [0, -1]].eq(0).all()
    )
    assert torch.equal(ignore_image_border[..., 1:-1, 1:-1], plain[..., 1:-1, 1:-1])


def test_loss_stretches_over_the_batch() -> None:
    generator = torch.Generator().manual_seed(0)
    saliency, target = torch.rand(2, 2, 1, 3, 4, generator=generator).unbind(0)
    lines = []
    for values in (saliency, target):
        low, high = float(values.min()), float(values.max())
        lines.append([(float(v) - low) / (high - low) for v in values.flatten()])
    expected = np.mean([(a - b) ** 2 for a, b in zip(*lines, strict=True)])
    assert float(edge_loss(saliency, target)) == pytest.approx(expected, rel=1e-5)
    assert float(edge_loss(7 * saliency + 1, target)) == pytest.approx(expected, rel=1e-4)


def test_what_is_the_same_everywhere_gives_no_nan() -> None:
    values = torch.full((2, 1, 3, 4), 0.3, requires_grad=True)
    stretched(values).sum().backward()
    assert stretched(values).eq(0).all() and values.grad.isfinite().all()


@pytest.mark.parametrize('sampling', ['learned', 'uniform'])
def test_objective_bends_the_labels(sampling: str) -> None:
    options = {'warped_size': [32, 32], 'size': [16, 16], 'radius': 2, 'sampling': sampling}
    network = build_network('deform_s', 5, **options).eval()
    image, labels = torch.randn(2, 3, 64, 64), torch.randint(0, 5, (2, 64, 64))
    labels[0, :9] = UNLABELED
    terms = Objective(network, config_with(network='deform_s').training)(image, labels)
    outputs = network.forward_train(image)
    warped_size = sample_labels(labels, outputs['grid'], outside=UNLABELED)
    expected = {'refine': cross_entropy(outputs['refine'], warped_size)}
    if sampling == 'learned':
        target = edge_target(labels.clamp(max=5), (16, 16), ignore_image_border=True)
        expected['edge'] = 100 * edge_loss(outputs['saliency'], target)
    assert set(terms) == set(expected)
    for name, value in expected.items():
        assert float(terms[name].detach()) == pytest.approx(float(value.detach()), rel=1e-5)


def test_saliency_learns_where_the_edges_are() -> None:
    network = build_network('deform_s', 5, warped_size=[32, 32], size=[16, 16], radius=2)
    image, labels = torch.zeros(2, 3, 64, 64), torch.zeros(2, 64, 64, dtype=torch.int64)
    image[..., 20:44], labels[..., 20:44] = 1.0, 3
    objective = Objective(network, config_with(network='deform_s').training)
    optimizer = torch.optim.Adam(network.saliency.parameters(), 1e-3)
    found = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = objective(image, labels)['edge']
        loss.backward()
        optimizer.step()
        found.append(float(loss.detach()))
    assert found[-1] < 0.3 * found[0]
