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
A small head that predicts where detail pays: a share per cell of 16 px.

It is trained after the network, which stays as it is, on what the bundle's own graphs give.
The idea is that of learned downsampling (Jin et al., "Learning to Downsample for Segmentation of
Ultra-High Resolution Images", ICLR 2022): spend samples where they matter. Here nothing is warped:
the detail branch sees a tile or does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from uhr_seg_ros.core.errors import TrainingError
from uhr_seg_ros.export.exporter import write_graph

HIDDEN = 16
STEPS, BATCH, CROP = 600, 8, 48
LEARNING_RATE, WEIGHT_DECAY = 5e-3, 1e-3


@dataclass(frozen=True)
class Example:
    """
    One image.

    Attributes:
        tokens: (1, T, h, w) float32 of the semantic branch.
        logits: (1, C, h, w) float32 of it.
        gain: (h, w) float32, share of the px of each cell, 0 to 1.

    """

    tokens: np.ndarray
    logits: np.ndarray
    gain: np.ndarray


class GainHead(nn.Module):
    """
    `tokens` (N, T, h, w), `semantic_logits` (N, C, h, w) -> `detail_gain` (N, 1, h, w).

    Beside the tokens it sees the probabilities p and p (1 - p), how undecided they are.

    Args:
        tokens: channels of the tokens.
        classes: number of classes.
        hidden: channels inside.

    """

    def __init__(self, tokens: int, classes: int, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.tokens = tokens
        self.norm = nn.BatchNorm2d(tokens + 2 * classes, affine=False, momentum=None)
        self.expand = nn.Conv2d(tokens + 2 * classes, hidden, 1)
        self.spread = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.join = nn.Conv2d(hidden, 1, 1)

    def scores(self, tokens: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """Return the share before the sigmoid, (N, 1, h, w)."""
        features = self.expand(self.norm(seen(tokens, logits))).relu()
        return self.join(self.spread(features).relu())

    def forward(self, tokens: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        return self.scores(tokens, logits).sigmoid()


def seen(tokens: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Join what a head sees, (N, T + 2 C, h, w)."""
    probabilities = logits.softmax(1)
    return torch.cat([tokens, probabilities, probabilities * (1 - probabilities)], 1)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Work on one core: steps are so small that a second one would mostly wait."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@_one_thread()
def fit_gain(
    examples: Sequence[Example],
    seed: int,
    steps: int = STEPS,
    note: Callable[[float], object] = lambda loss: None,
) -> GainHead:
    """
    Train a head.

    Args:
        examples: images; each counts by its size.
        seed: of weights and crops; the same gives the same on the same machine.
        steps: of `BATCH` crops of at most `CROP` cells, turned by quarters.
        note: gets the loss of every step.

    Returns:
        In evaluation mode.

    Raises:
        TrainingError: nowhere is there anything to gain.

    """
    if not any(example.gain.any() for example in examples):
        msg = (
            f'the detail branch gains nothing anywhere in {len(examples)} images: give images '
            'like those that the model was trained on'
        )
        raise TrainingError(msg)
    generator = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = GainHead(examples[0].tokens.shape[1], examples[0].logits.shape[1])
    _settle_norm(head, examples)
    optimizer = torch.optim.AdamW(head.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, max(steps, 2))
    side = min(CROP, *(min(example.gain.shape) for example in examples))
    sizes = np.array([example.gain.size for example in examples], np.float64)
    for _ in range(steps):
        picks = generator.choice(len(examples), BATCH, p=sizes / sizes.sum())
        crops = [_crop(examples[pick], side, generator) for pick in picks]
        tokens, logits, gains = (
            torch.from_numpy(np.stack(each)) for each in zip(*crops, strict=True)
        )
        scores = head.scores(tokens, logits)[:, 0]
        loss = functional.binary_cross_entropy_with_logits(scores, gains)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        note(loss.item())
    return head


def write_gain(head: GainHead, axes: Mapping[str, Mapping[int, str]], path: Path) -> None:
    """
    Write a head as an ONNX graph.

    Args:
        head: in evaluation mode.
        axes: `dynamic_axes` of the kind of its bundle.
        path: the file.

    """
    classes = (head.norm.num_features - head.tokens) // 2
    inputs = {
        'tokens': torch.zeros(1, head.tokens, 4, 5),
        'semantic_logits': torch.zeros(1, classes, 4, 5),
    }
    write_graph(head, inputs, ('detail_gain',), axes, path)


def _settle_norm(head: GainHead, examples: Sequence[Example]) -> None:
    """Let the norm see every example once; from then on it is a constant."""
    with torch.no_grad():
        flat = [
            seen(torch.from_numpy(each.tokens), torch.from_numpy(each.logits)).flatten(2)
            for each in examples
        ]
        head.norm(torch.cat(flat, 2)[..., None])
    head.eval()


def _crop(
    example: Example, side: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows, columns = example.gain.shape
    top, left = generator.integers(rows - side + 1), generator.integers(columns - side + 1)
    place = (..., slice(top, top + side), slice(left, left + side))
    turns = int(generator.integers(4))

    def turned(values: np.ndarray) -> np.ndarray:
        return np.rot90(values[place], turns, (-2, -1)).copy()

    return turned(example.tokens[0]), turned(example.logits[0]), turned(example.gain)
