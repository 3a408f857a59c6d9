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

"""Processes that the package starts: what they import, and how they end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
import os
from pathlib import Path
import re
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest

from uhr_seg_ros.core.subprocesses import find_tool, python_child

PACKAGE = Path(__file__).resolve().parents[2] / 'uhr_seg_ros'

#: A module that sleeps, run as the children are.
SLEEP = ('timeit', '-n', '1', '-r', '1', 'import time; time.sleep(600)')

PYTHONS = ['python3.10', 'python3.11', 'python3.12', 'python3.13']


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def has_ended(pid: int) -> bool:
    """Tell if a process is no more; nobody may be there to take the exit code of an orphan."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def run(starter: dict[str, object]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(**starter, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize('entries', [':{root}', '{root}:'])
def test_nothing_of_the_current_folder_runs(entries: str, hostile_folder: Path) -> None:
    """A package of our own name neither; an empty entry of PYTHONPATH does not mean it."""
    shutil.copy(hostile_folder / 'yaml.py', hostile_folder / 'uhr_seg_ros.py')
    shutil.copy(hostile_folder / 'yaml.py', hostile_folder / 'sitecustomize.py')
    paths = os.environ | {'PYTHONPATH': entries.format(root=PACKAGE.parent)}
    done = run(python_child('uhr_seg_ros.cli', 'cache', 'list', env=paths))
    assert (done.returncode, done.stderr) == (0, '')


@pytest.mark.parametrize('call', [['-m', 'uhr_seg_ros.cli'], ['-muhr_seg_ros.cli']])
def test_nor_where_a_user_calls_the_module(call: list[str], hostile_folder: Path) -> None:
    paths = os.environ | {'PYTHONPATH': str(PACKAGE.parent)}
    done = run({'args': [sys.executable, *call, 'cache', 'list'], 'env': paths})
    assert (done.returncode, done.stderr) == (0, '')


def test_modules_of_others_keep_their_folder(tmp_path: Path) -> None:
    """Only `python -m uhr_seg_ros...` is ours; who imports us may have modules beside it."""
    app = tmp_path / 'app'
    app.mkdir()
    (app / '__init__.py').write_text('import uhr_seg_ros\n')
    (app / '__main__.py').write_text('import beside\nprint(beside.__file__)\n')
    (tmp_path / 'beside.py').touch()
    for call in ('app', 'app.__main__', 'beside'):
        command = [sys.executable, '-m', call, 'uhr_seg_ros.cli']
        paths = os.environ | {'PYTHONPATH': str(PACKAGE.parent)}
        subprocess.run(command, cwd=tmp_path, env=paths, check=True, timeout=60)


def test_charts_do_not_depend_on_the_current_folder(tmp_path: Path) -> None:
    """It would have LaTeX run; where there is none, nothing would be drawn."""
    pytest.importorskip('matplotlib', reason='matplotlib is not installed')
    (tmp_path / 'matplotlibrc').write_text('text.usetex: True\n')
    code = (
        'from uhr_seg_ros.reports.bag_charts import memory_over_time\n'
        'from uhr_seg_ros.core.visualization import plain_charts\n'
        'import matplotlib\n'
        'assert matplotlib.rcParams["text.usetex"]\n'
        'with plain_charts():\n'
        '    assert not matplotlib.rcParams["text.usetex"]\n'
        'assert "<svg" in memory_over_time([[0.0, 1.0], [1.0, 2.0]])\n'
        'assert matplotlib.rcParams["text.usetex"]'
    )
    paths = os.environ | {'PYTHONPATH': str(PACKAGE.parent)}
    subprocess.run([sys.executable, '-c', code], cwd=tmp_path, env=paths, check=True, timeout=60)


@pytest.mark.parametrize('python', PYTHONS)
def test_every_python_starts_them(
    python: str, hostile_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = find_tool(python)
    if path is None or subprocess.run([path, '-V'], capture_output=True).returncode:
        pytest.skip(f'{python} is not installed')
    monkeypatch.setattr(sys, 'executable', path)
    # A module of the package that needs nothing else; what it would read of ours has common names.
    child = python_child('uhr_seg_ros.core.resources')
    for name in ('_ROS_WHEELS_BOOTSTRAP_COMPLETE', 'LD_LIBRARY_PATH', 'PYTHONPATH'):
        child['env'].pop(name, None)
    done = run(child)
    assert (done.returncode, done.stderr) == (0, '')


def test_one_place_starts_python() -> None:
    """Whatever starts an interpreter or looks for a program does it with `subprocesses`."""
    for file in PACKAGE.rglob('*.py'):
        if file.name != 'subprocesses.py':
            text = file.read_text(encoding='utf-8')
            assert not re.search(r"""['"]-m['"],|sys\.executable,|shutil\.which""", text), file


def test_tools_are_not_looked_for_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ('here', 'else', 'more'):
        (tmp_path / folder).mkdir()
        shutil.copy('/bin/true', tmp_path / folder / 'nvidia-smi')
    monkeypatch.chdir(tmp_path / 'here')
    monkeypatch.setenv('PATH', ':.:../here')
    assert find_tool('nvidia-smi') is None
    assert find_tool('nvidia-smi', tmp_path / 'more') == str(tmp_path / 'more/nvidia-smi')
    monkeypatch.setenv('PATH', f':.:{tmp_path}/else:')
    assert find_tool('nvidia-smi', tmp_path / 'more') == str(tmp_path / 'else/nvidia-smi')


@pytest.mark.skipif(sys.platform != 'linux', reason='a function of Linux')
@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGTERM])
def test_children_end_with_their_parent(number: int) -> None:
    code = (
        'import subprocess; from uhr_seg_ros.core.subprocesses import python_child\n'
        f'child = subprocess.Popen(**python_child(*{SLEEP!r}))\n'
        'print(child.pid, flush=True); child.wait()'
    )
    with subprocess.Popen(
        [sys.executable, '-c', code], cwd=PACKAGE.parent, stdout=subprocess.PIPE, text=True
    ) as parent:
        child = int(parent.stdout.readline())
        parent.send_signal(number)
    try:
        wait_until(lambda: has_ended(child))
    finally:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


@pytest.mark.skipif(sys.platform != 'linux', reason='a function of Linux')
def test_a_parent_that_has_ended_before() -> None:
    child = python_child(*SLEEP)
    child['args'][child['args'].index('--end-with') + 1] = '1'
    assert subprocess.run(**child, timeout=60, check=False).returncode == -signal.SIGTERM
