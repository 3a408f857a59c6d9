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

"""Losses and schedule against direct readings of their definitions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='training needs torch')

from tiny import config_with

from uhr_seg_ros.networks.presets import build_network
from uhr_seg_ros.training.losses import (
    cross_entropy,
    expert_balance,
    focal,
    losses,
    WEIGHTS,
)
from uhr_seg_ros.training.train_step import learning_rate, Objective

DATA = Path(__file__).resolve().parents[1] / 'data'

# Steps and rates of the published schedule: 160000 steps, base 6e-5, warm-up of 1500.
PUBLISHED_RATES = {
    0: 6.000000000172534e-11,
    1: 4.005970962525067e-08,
    749: 2.9819779649375256e-05,
    1499: 5.939824978962525e-05,
    1500: 5.94375e-05,
    80000: 3e-05,
    159999: 3.7499999999912603e-10,
}


def test_cross_entropy_counts_ignored_pixels_as_zero() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
    labels = rng.integers(0, 3, (2, 4, 5))
    labels[0, 1] = 255
    total = 0.0
    for n, y, x in np.ndindex(*labels.shape):
        if labels[n, y, x] != 255:
            scores = logits[n, :, y, x].astype(np.float64)
            total += np.log(np.exp(scores).sum()) - scores[labels[n, y, x]]
    found = cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels))
    assert float(found) == pytest.approx(total / labels.size, rel=1e-5)


def test_expert_balance() -> None:
    probabilities = torch.tensor([[0.5, 0.25, 0.25], [0.7, 0.1, 0.2]])
    load = np.array([1.2, 0.35, 0.45])
    expected = load.var(ddof=1) / load.mean() ** 2
    assert float(expert_balance(probabilities)) == pytest.approx(expected, rel=1e-5)
    assert float(expert_balance(torch.full((9, 4), 0.25))) == pytest.approx(0, abs=1e-9)
    assert float(expert_balance(torch.ones(9, 1))) == 0


@pytest.mark.parametrize(('step', 'rate'), PUBLISHED_RATES.items())
def test_schedule(step: int, rate: float) -> None:
    found = learning_rate(step, base=6e-5, steps=160000, warmup=1500)
    assert found == pytest.approx(rate, rel=1e-9)


def test_losses_reach_every_parameter_that_runs() -> None:
    torch.manual_seed(0)
    network = build_network('hlrc_s').train()
    labels = torch.randint(0, 5, (2, 64, 64))
    terms = losses(network.forward_train(torch.randn(2, 3, 64, 64)), labels)
    assert set(terms) == {'refine', 'decode', 'auxiliary', 'balance'}
    sum(terms.values()).backward()
    without = [name for name, p in network.named_parameters() if p.grad is None]
    assert without == []


def outputs_of(images: int, size: int = 8) -> dict[str, torch.Tensor]:
    """Make random outputs of a network with every head."""
    torch.manual_seed(1)
    shapes = {
        'refine': (5, 2 * size, 2 * size),
        'decode': (5, size, size),
        'auxiliary': (5, 4, 4),
        'gate_probabilities': (size * size, 4),
        'reduced': (6, size, size),
        'rebuilt_feature': (6, 4 * size, 4 * size),
        'reconstruction': (3, 4 * size, 4 * size),
        'residual_target': (3, 4 * size, 4 * size),
    }
    found = {name: torch.randn(images, *shape) for name, shape in shapes.items()}
    found['gate_probabilities'] = found['gate_probabilities'].softmax(-1)
    return found


def totals(outputs: dict[str, torch.Tensor], labels: torch.Tensor) -> dict[str, float]:
    gates = outputs['gate_probabilities'].flatten(0, 1)
    return {
        name: float(value)
        for name, value in losses(outputs | {'gate_probabilities': gates}, labels).items()
    }


def test_all_but_the_balance_are_means_over_images() -> None:
    outputs, labels = outputs_of(6), torch.randint(0, 5, (6, 32, 32))
    labels[:3, :16] = 255  # the parts have unlike numbers of labelled pixels
    whole = totals(outputs, labels)
    parts = [
        totals({name: value[part] for name, value in outputs.items()}, labels[part])
        for part in (slice(0, 3), slice(3, 6))
    ]
    of_others = {'edge', 'boundary', 'boundary_awareness'}
    assert set(whole) == {name for name, value in WEIGHTS.items() if value} - of_others
    for name, value in whole.items():
        mean = (parts[0][name] + parts[1][name]) / 2
        assert (mean == pytest.approx(value, rel=1e-5)) == (name != 'balance'), name


def test_a_baseline_has_one_loss() -> None:
    labels = torch.randint(0, 5, (2, 64, 64))
    network = build_network('fast_scnn', 5).train()
    terms = losses(network.forward_train(torch.randn(2, 3, 64, 64)), labels)
    assert set(terms) == {'refine'}


def test_weights_scale_and_leave_out() -> None:
    outputs, labels = outputs_of(2), torch.randint(0, 5, (2, 32, 32))
    outputs['gate_probabilities'] = outputs['gate_probabilities'].flatten(0, 1)
    published = losses(outputs, labels)
    other = losses(outputs, labels, WEIGHTS | {'auxiliary': 0, 'decode': 3.0, 'balance': 0})
    assert set(published) - set(other) == {'auxiliary', 'balance'}
    assert float(other['decode']) == pytest.approx(3 * float(published['decode']))
    assert float(other['refine']) == float(published['refine'])


def test_class_weights_scale_the_pixels_of_their_class() -> None:
    outputs, labels = outputs_of(2), torch.randint(0, 5, (2, 32, 32))
    outputs['gate_probabilities'] = outputs['gate_probabilities'].flatten(0, 1)
    labels[0, :4] = 255
    alone = [losses(outputs, torch.where(labels == i, labels, 255))['refine'] for i in range(5)]
    by_class = torch.tensor([1.5, 1.0, 2.0, 0.0, 1.0])
    weighted = losses(outputs, labels, class_weights=by_class)
    expected = sum(weight * loss for weight, loss in zip(by_class, alone, strict=True))
    assert float(weighted['refine']) == pytest.approx(float(expected), rel=1e-5)
    assert float(weighted['balance']) == float(losses(outputs, labels)['balance'])


def test_class_weights_of_a_recipe_reach_the_losses() -> None:
    network = build_network('fast_scnn', 5).eval()
    image, labels = torch.randn(2, 3, 64, 64), torch.randint(0, 5, (2, 64, 64))
    recipes = [config_with(class_weights=weights).training for weights in ([], [2] * 5)]
    with torch.no_grad():
        terms = [Objective(network, recipe)(image, labels)['refine'] for recipe in recipes]
    assert float(terms[1]) == pytest.approx(2 * float(terms[0]), rel=1e-5)


def test_losses_are_computed_in_float32() -> None:
    outputs, labels = outputs_of(2), torch.randint(0, 5, (2, 32, 32))
    outputs['gate_probabilities'] = outputs['gate_probabilities'].flatten(0, 1)
    rounded = {name: value.bfloat16() for name, value in outputs.items()}
    again = {name: value.float() for name, value in rounded.items()}
    expected = losses(again, labels)
    for name, value in losses(rounded, labels).items():
        assert value.dtype == torch.float32
        assert torch.equal(value, expected[name])


def test_focal_is_the_published_one() -> None:
    stored = np.load(DATA / 'fctl_focal.npz')
    logits = torch.tensor(stored['logits'], requires_grad=True)
    found = focal(logits, torch.from_numpy(stored['label_u8']).long())
    assert float(found.detach()) == pytest.approx(float(stored['loss']), rel=1e-5)
    found.backward()
    expected = torch.from_numpy(stored['grad'])
    assert (logits.grad - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_focal_leaves_out_what_has_no_label() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(1, 3, 4, 4), torch.randint(0, 3, (1, 4, 4))
    whole = focal(logits, labels)
    labels[:, :2] = 255
    upper = focal(logits[:, :, 2:], labels[:, 2:])
    assert float(focal(logits, labels)) == pytest.approx(float(upper) / 2, rel=1e-6)
    assert float(whole) > float(upper) / 2
    weights = torch.tensor([2.0, 2.0, 2.0])
    doubled = focal(logits, labels, weights)
    assert float(doubled) == pytest.approx(float(upper), rel=1e-6)


def test_focal_with_another_exponent() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(1, 3, 4, 4), torch.randint(0, 3, (1, 4, 4))
    p = logits.softmax(1).gather(1, labels[:, None])
    expected = -((1 - p) ** 6 * p.log()).mean()
    weights = WEIGHTS | {'focal': 1, 'refine': 0}
    found = losses({'refine': logits}, labels, weights, gamma=6)
    assert float(found['focal']) == pytest.approx(float(expected), rel=1e-5)


def test_a_mean_over_what_is_labeled_and_counts() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(1, 3, 8, 8), torch.randint(0, 3, (1, 8, 8))
    labels[:, :2] = 255
    by_class = torch.tensor([0.0, 1.0, 2.0])
    counted = labels[(labels != 255) & (labels != 0)].numel()
    whole = losses({'refine': logits}, labels, class_weights=by_class)['refine']
    found = losses({'refine': logits}, labels, class_weights=by_class, mean_over='labeled')
    assert float(found['refine']) == pytest.approx(float(whole) * 64 / counted, rel=1e-5)
    nothing = losses({'refine': logits}, torch.full_like(labels, 255), mean_over='labeled')
    assert float(nothing['refine']) == 0
