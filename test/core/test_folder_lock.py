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

"""One run at a time in a folder of results."""

from __future__ import annotations

import os
from pathlib import Path
import subprocess
import sys
from threading import Thread

import pytest

from uhr_seg_ros.core.errors import WriteError
from uhr_seg_ros.core.work_folders import LOCK, lock_folder

ROOT = Path(__file__).resolve().parents[2]
HOLD = (
    'import sys, pathlib\n'
    'from uhr_seg_ros.core.work_folders import lock_folder\n'
    'with lock_folder(pathlib.Path(sys.argv[1])):\n'
    '    print(flush=True)\n'
    '    sys.stdin.read()\n'
)


def test_second_run_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / 'a/out'
    with lock_folder(folder):
        with pytest.raises(WriteError) as caught, lock_folder(tmp_path / 'a/../a/out'):
            pytest.fail('two runs in one folder')
        assert f'another run (process {os.getpid()}) writes into {tmp_path}' in str(caught.value)
        assert 'choose another output folder' in str(caught.value)
    assert os.listdir(folder) == []
    with lock_folder(folder):
        pass


def test_lock_of_a_killed_run_does_not_stay(tmp_path: Path) -> None:
    command = [sys.executable, '-c', HOLD, str(tmp_path)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        with pytest.raises(WriteError, match=f'process {process.pid}'), lock_folder(tmp_path):
            pytest.fail('two runs in one folder')
        process.kill()
        process.wait()
    assert os.listdir(tmp_path) == [LOCK]
    with lock_folder(tmp_path):
        pass
    assert os.listdir(tmp_path) == []


def test_never_two_at_once(tmp_path: Path) -> None:
    """Whoever opens the file of a lock that just ends gets none that nobody else sees."""
    inside, most, times = 0, 0, 0

    def work() -> None:
        nonlocal inside, most, times
        for _ in range(300):
            try:
                with lock_folder(tmp_path):
                    inside += 1
                    most = max(most, inside)
                    times += 1
                    inside -= 1
            except WriteError:
                pass

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, inside) == (1, 0)
    assert times > 0
    assert os.listdir(tmp_path) == []


def test_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / 'file').touch()
    for path in (tmp_path / 'file', tmp_path / 'file/out'):
        text = f'output folder {path} cannot be made'
        with pytest.raises(WriteError, match=text), lock_folder(path):
            pytest.fail('locked')
