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

"""The losses of PIDNet about boundaries."""

from __future__ import annotations

import pytest

torch = pytest.importorskip('torch', reason='losses need torch')

from uhr_seg_ros.training.boundary_losses import boundaries_of, boundary, labels_at_boundaries
from uhr_seg_ros.training.losses import cross_entropy, losses, WEIGHTS


def halves(unlabeled: bool = False) -> torch.Tensor:
    """Return labels (1, 8, 12): two classes side by side, or what is labeled and what is not."""
    labels = torch.zeros(1, 8, 12, dtype=torch.int64)
    labels[..., 6:] = 255 if unlabeled else 1
    return labels


def test_boundaries_are_where_labels_change() -> None:
    found = boundaries_of(halves())
    assert found.sum() == 8 * 4 and found[..., 4:8].all()
    assert boundaries_of(halves(), 1)[..., 5:7].all() and boundaries_of(halves(), 1).sum() == 16
    assert not boundaries_of(halves(unlabeled=True)).any()
    assert not boundaries_of(torch.zeros(1, 4, 4, dtype=torch.int64)).any()


def test_few_boundary_pixels_count_as_much_as_all_others() -> None:
    labels = halves()
    zero = torch.zeros(1, 1, 8, 12)
    target = boundaries_of(labels)[:, None].float()
    # Wrong on all boundaries, or wrong everywhere else: the same loss.
    missed, invented = (boundary(20 * sign * torch.ones_like(zero), labels) for sign in (-1, 1))
    assert missed == pytest.approx(float(invented), rel=1e-3) and missed > 1
    assert boundary(20 * (2 * target - 1), labels) < 1e-3
    # What is not labeled does not count, whatever is said of it.
    partly = halves(unlabeled=True)
    said = zero.clone()
    said[..., 6:] = 50
    assert boundary(said, partly) == boundary(zero, partly)


def test_only_sure_boundaries_keep_their_labels() -> None:
    labels, said = halves(), torch.full((1, 1, 8, 12), 1.0)  # a sigmoid of 0.73
    said[..., :3] = 2.0  # 0.88
    kept = labels_at_boundaries(said, labels)
    assert (kept[..., :3] == labels[..., :3]).all() and (kept[..., 3:] == 255).all()


def test_in_the_total() -> None:
    torch.manual_seed(0)
    outputs = {'refine': torch.randn(1, 2, 8, 12), 'boundary': torch.randn(1, 1, 8, 12) + 1}
    terms = losses(outputs, halves())
    assert set(terms) == {'refine', 'boundary', 'boundary_awareness'}
    assert terms['boundary'] == WEIGHTS['boundary'] * boundary(outputs['boundary'], halves())
    kept = labels_at_boundaries(outputs['boundary'], halves())
    assert terms['boundary_awareness'] == cross_entropy(outputs['refine'], kept)
    assert 0 < terms['boundary_awareness'] < terms['refine']
