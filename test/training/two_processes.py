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
Train for real on the processes that torchrun started, or on this one alone.

Usage: two_processes.py OUTPUT STEPS CASE... Writes OUTPUT/CASE.pth for each case: the gradients of
the last step and the weights after it, and for the case `whole` the counts of a validation.
"""

from __future__ import annotations

from pathlib import Path
import sys

from tiny import batches_of, CLASSES, config_with, scene
import torch

from uhr_seg_ros.core.errors import UhrSegError
from uhr_seg_ros.training.distributed import DistContext, process_group
from uhr_seg_ros.training.trainer import Trainer
from uhr_seg_ros.training.validation import Validation

#: Case -> fields of the recipe.
CASES = {
    'whole': {},
    'accumulated': {'grad_accumulation_steps': 2},
    'unused': {'losses': {'auxiliary': 0}},
    'broken': {},
}


def train(dist: DistContext, output: Path, steps: int, case: str) -> None:
    # The balance counts more than as published, so that it shows in the gradients.
    losses = {'balance': 20.0, **CASES[case].get('losses', {})}
    config = config_with(**{'batch': 8, **CASES[case], 'losses': losses})
    trainer = Trainer(config, CLASSES, output / case, dist)
    for module in trainer.network.modules():
        if isinstance(module, torch.nn.Dropout2d):
            module.p = 0.0  # every process has its own
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 0.1  # the coarsest maps are of one pixel: rounding errors would explode
    if case == 'broken' and dist.rank == dist.size - 1:
        with torch.no_grad():
            trainer.network.decoder.classify.bias[0] = float('nan')
    try:
        trainer.run(batches_of(config, dist), until=steps)
    except UhrSegError as err:
        (output / f'error_{dist.rank}.txt').write_text(str(err))
        return
    named = trainer.network.named_parameters()
    state = {
        'gradients': {n: p.grad for n, p in named if p.grad is not None},
        'weights': dict(trainer.network.state_dict()),
    }
    if case == 'whole':
        validation = Validation([scene(1, 80), scene(2, 80), scene(3, 80)], CLASSES)
        score = validation.score(trainer.ema, dist, torch.float32)
        state['counts'] = torch.from_numpy(score.matrix.counts)
    if dist.writes:
        torch.save(state, output / f'{case}.pth')


if __name__ == '__main__':
    torch.set_num_threads(1)
    with process_group('cpu') as together:
        for name in sys.argv[3:]:
            train(together, Path(sys.argv[1]), int(sys.argv[2]), name)
