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

"""TensorBoard: what is written, and what is said where it is not installed."""

from __future__ import annotations

from pathlib import Path
import sys

import pytest

torch = pytest.importorskip('torch', reason='training needs torch')

from logged import logged
from tiny import CLASSES, validation

from uhr_seg_ros.networks.presets import build_network
from uhr_seg_ros.training.distributed import DistContext
from uhr_seg_ros.training.run_logger import TensorBoardLogger
from uhr_seg_ros.training.validation import Score


@pytest.fixture(scope='module')
def score() -> Score:
    torch.manual_seed(0)
    return validation().score(build_network('fast_scnn', 5), DistContext(), torch.float32)


def fill(board: TensorBoardLogger, score: Score, steps: range) -> None:
    for step in steps:
        board.step(step, {'refine': 1.5 - step, 'rate': 1e-3}, 0.25)
    board.validation(steps.stop, score, CLASSES)
    board.close()


def test_curves_and_pictures(tmp_path: Path, score: Score) -> None:
    accumulator = pytest.importorskip(
        'tensorboard.backend.event_processing.event_accumulator',
        reason='the package tensorboard is not installed',
    )
    fill(TensorBoardLogger(tmp_path, 0), score, range(3))
    fill(TensorBoardLogger(tmp_path, 2), score, range(2, 4))  # resumed
    events = accumulator.EventAccumulator(str(tmp_path / 'tensorboard'))
    events.Reload()
    tags = events.Tags()
    assert {'loss/refine', 'rate', 'seconds per step', 'validation/mIoU'} <= set(tags['scalars'])
    assert any(tag.startswith('validation IoU/') for tag in tags['scalars'])
    assert tags['images'] == ['image, labels, mask/0']
    values = {event.step: event.value for event in events.Scalars('loss/refine')}
    assert values == {0: 1.5, 1: 0.5, 2: -0.5, 3: -1.5}
    found = events.Scalars('validation/mIoU')[-1]
    assert found.value == pytest.approx(score.matrix.mean_iou(), abs=1e-6)
    assert found.step == 4


def test_without_the_package(
    tmp_path: Path,
    score: Score,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, 'torch.utils.tensorboard', None)
    with logged() as lines:
        fill(TensorBoardLogger(tmp_path, 0), score, range(3))
    assert ''.join(lines).count('pip install tensorboard') == 1
    assert list(tmp_path.iterdir()) == []
