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

"""Recordings that are written stand under their name whole or not at all."""

from __future__ import annotations

from pathlib import Path
import signal
import subprocess
import sys

import numpy as np
import pytest

from uhr_seg_ros.core.errors import RecordingError
from uhr_seg_ros.replay.bag_writing import BagWriter
from uhr_seg_ros.replay.bags import read_messages

FRAME = np.zeros((8, 8, 3), np.uint8)

# Makes a folder as a writer does and says so; the heavy imports of one are left out.
HOLDING = (
    'import sys, time; from pathlib import Path; '
    'from uhr_seg_ros.replay.partial import PartialFolder; '
    'folder = PartialFolder(Path(sys.argv[1])); folder.path.mkdir(); '
    'print(folder.path, flush=True); time.sleep(100)'
)


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_names_are_those_of_the_folder(tmp_path: Path, storage: str) -> None:
    with BagWriter(tmp_path / 'flight', storage=storage, mark='.mine') as bag:
        bag.write(FRAME, 5)
        assert not (tmp_path / 'flight').exists()
    suffix = {'mcap': 'mcap', 'sqlite3': 'db3'}[storage]
    names = {f'flight.{suffix}', 'metadata.yaml', '.mine'}
    assert {file.name for file in (tmp_path / 'flight').iterdir()} == names
    assert [path.name for path in tmp_path.iterdir()] == ['flight']
    assert f'- flight.{suffix}' in (tmp_path / 'flight/metadata.yaml').read_text()
    assert [time_ns for time_ns, _ in read_messages(tmp_path / 'flight', '/image_raw')] == [5]


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
@pytest.mark.parametrize('error', [KeyboardInterrupt, SystemExit, ValueError, RecordingError])
def test_an_exception_leaves_nothing(
    tmp_path: Path, storage: str, error: type[BaseException]
) -> None:
    with pytest.raises(error), BagWriter(tmp_path / 'flight', storage=storage) as bag:
        bag.write(FRAME, 0)
        raise error
    assert not list(tmp_path.iterdir())


def test_a_killed_process_leaves_a_hidden_folder_that_the_next_one_removes(tmp_path: Path) -> None:
    path = tmp_path / 'flight'
    with subprocess.Popen(
        [sys.executable, '-c', HOLDING, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        hidden = Path(process.stdout.readline().strip()).parent
        assert hidden == tmp_path / f'.flight.partial.{process.pid}'
        # While it runs nobody else may make the same, but others.
        with pytest.raises(RecordingError, match=f'is being written by process {process.pid}'):
            BagWriter(path)
        with BagWriter(tmp_path / 'flight_2') as bag:
            bag.write(FRAME, 0)
        assert hidden.is_dir()
        process.send_signal(signal.SIGKILL)
    assert [each.name for each in tmp_path.iterdir() if each.name != 'flight_2'] == [hidden.name]
    other = tmp_path / '.flight_2.partial.1'  # of another recording
    other.mkdir()
    with BagWriter(path) as bag:
        bag.write(FRAME, 0)
    assert not hidden.exists() and other.is_dir()
    assert len(list(read_messages(path, '/image_raw'))) == 1


def test_a_process_is_known_where_locks_do_not_work(tmp_path: Path) -> None:
    with subprocess.Popen(['sleep', '100']) as process:
        hidden = tmp_path / f'.flight.partial.{process.pid}'
        hidden.mkdir()
        with pytest.raises(RecordingError, match='is being written'):
            BagWriter(tmp_path / 'flight')
        process.kill()
    with BagWriter(tmp_path / 'flight') as bag:
        bag.write(FRAME, 0)
    assert not hidden.exists()


def test_what_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / 'link').symlink_to('nowhere')
    (tmp_path / 'file').write_text('mine')
    for name in ('link', 'file'):
        with pytest.raises(RecordingError, match='exists already'):
            BagWriter(tmp_path / name)
    with pytest.raises(RecordingError, match='cannot be written'):
        BagWriter(tmp_path / 'file/flight')
    # Somebody else has made it meanwhile.
    with (
        pytest.raises(RecordingError, match='cannot be written'),
        BagWriter(tmp_path / 'late') as bag,
    ):
        bag.write(FRAME, 0)
        (tmp_path / 'late').mkdir()
        (tmp_path / 'late/flight.txt').write_text('mine')
    assert (tmp_path / 'late/flight.txt').read_text() == 'mine'
    assert not [each for each in tmp_path.iterdir() if 'partial' in each.name]
