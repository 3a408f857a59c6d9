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

"""Two real processes against one with the whole batch; `--all` starts two by torchrun."""

from __future__ import annotations

from collections.abc import Sequence
import os
from pathlib import Path
import socket
from subprocess import DEVNULL, PIPE, Popen
import sys

from built_once import built_once
import pytest

torch = pytest.importorskip('torch', reason='training needs torch')

import two_processes

from uhr_seg_ros.core.errors import TrainingError
from uhr_seg_ros.training.distributed import process_group

HERE = Path(__file__).resolve().parent
STEPS = 2
TORCHRUN = ('-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2')

if not torch.distributed.is_available():
    pytest.skip('this PyTorch is built without distributed training', allow_module_level=True)


def train_alone(output: Path, cases: Sequence[str]) -> Path:
    output.mkdir()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with process_group('cpu') as alone:
        for case in cases:
            two_processes.train(alone, output, STEPS, case)
    torch.set_num_threads(threads)
    return output


def start(words: Sequence[str], output: Path, cases: Sequence[str], **more: str) -> Popen[str]:
    command = [sys.executable, *words, str(HERE / 'two_processes.py'), str(output), str(STEPS)]
    folders = (HERE.parent / 'support', HERE.parents[1])
    paths = os.pathsep.join((*map(str, folders), os.environ.get('PYTHONPATH', '')))
    environment = {**os.environ, 'PYTHONPATH': paths, 'OMP_NUM_THREADS': '1', **more}
    return Popen([*command, *cases], env=environment, stderr=PIPE, stdout=DEVNULL, text=True)


def ended_well(process: Popen[str]) -> None:
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors[-3000:]


def train_by_torchrun(output: Path, cases: Sequence[str]) -> Path:
    output.mkdir()
    ended_well(start(TORCHRUN, output, cases))
    return output


def train_together(output: Path, cases: Sequence[str]) -> Path:
    """Start two processes with the variables that torchrun sets, without a third one."""
    output.mkdir()
    with socket.create_server(('127.0.0.1', 0)) as listener:
        port = listener.getsockname()[1]
    world = {'WORLD_SIZE': '2', 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(port)}
    processes = [
        start((), output, cases, RANK=rank, LOCAL_RANK=rank, LOCAL_WORLD_SIZE='2', **world)
        for rank in ('0', '1')
    ]
    try:
        for process in processes:
            ended_well(process)
    finally:
        for process in processes:
            process.kill()
    return output


@pytest.fixture(scope='module')
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the folders of one process and of two."""

    def build(folder: Path) -> None:
        train_alone(folder / 'one', ['whole'])
        train_together(folder / 'two', ['whole', 'broken'])

    folder = built_once(tmp_path_factory, 'processes', build)
    return folder / 'one', folder / 'two'


@pytest.fixture(scope='module')
def more_runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the folders of one process and of two, of cases that are seldom run."""
    folder, cases = tmp_path_factory.mktemp('processes'), ['unused', 'accumulated']
    return train_alone(folder / 'one', cases), train_by_torchrun(folder / 'two', cases)


def error(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    """Relative L2 error over all tensors."""
    assert found.keys() == expected.keys()
    pairs = [(found[name].double(), value.double()) for name, value in expected.items()]
    difference = sum((a - b).square().sum() for a, b in pairs)
    return float((difference / sum(b.square().sum() for _, b in pairs)).sqrt())


def in_room(tensors: dict[str, torch.Tensor], room: str) -> dict[str, torch.Tensor]:
    return {name: value for name, value in tensors.items() if name.startswith(f'{room}.')}


@pytest.mark.parametrize(
    ('case', 'fixture'),
    [
        ('whole', 'runs'),
        pytest.param('unused', 'more_runs', marks=pytest.mark.slow),
        pytest.param('accumulated', 'more_runs', marks=pytest.mark.slow),
    ],
)
def test_same_gradients_and_weights(
    request: pytest.FixtureRequest, case: str, fixture: str
) -> None:
    folders = request.getfixturevalue(fixture)
    one, two = (torch.load(folder / f'{case}.pth', weights_only=True) for folder in folders)
    assert len(one['gradients']) > 100
    # Rounding may move a value across the kink of its ReLU, most often in the deep backbone;
    # norms that each process has for itself make an error of about one.
    assert error(two['gradients'], one['gradients']) < 2e-2
    assert error(two['weights'], one['weights']) < 1e-3
    for room in ('region', 'local', 'decoder'):
        a, b = (in_room(run['gradients'], room) for run in (two, one))
        assert error(a, b) < 1e-2, room
    gate = 'region.experts.gate.weight'
    assert error(*({gate: run['gradients'][gate]} for run in (two, one))) < 1e-3


def test_same_validation_and_one_log(runs: tuple[Path, Path]) -> None:
    one, two = (torch.load(folder / 'whole.pth', weights_only=True) for folder in runs)
    assert one['counts'].sum() == two['counts'].sum() == 3 * 80 * 80
    assert (one['counts'] - two['counts']).abs().sum() <= 0.01 * one['counts'].sum()
    logs = [(folder / 'whole' / 'log.jsonl').read_text().splitlines() for folder in runs]
    assert len(logs[0]) == len(logs[1]) == STEPS


def test_all_stop_at_a_loss_that_one_finds_broken(runs: tuple[Path, Path]) -> None:
    for rank in range(2):
        text = (runs[1] / f'error_{rank}.txt').read_text()
        assert 'the loss is not finite at step 0' in text
        assert (runs[1] / 'broken' / f'not_finite_0_{rank}.pth').is_file()
    assert not (runs[1] / 'broken' / 'last.pth').exists()


def test_alone_without_torchrun() -> None:
    with process_group('cpu') as dist:
        assert (dist.rank, dist.size, dist.writes) == (0, 1, True)
        assert dist.device == torch.device('cpu')


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_no_gpu() -> None:
    with process_group('auto') as dist:
        assert dist.device.type == 'cpu'
    with pytest.raises(TrainingError, match='use --device cpu'), process_group('cuda'):
        pass
