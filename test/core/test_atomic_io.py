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

"""Files appear complete or not at all, whatever ends their writing."""

from __future__ import annotations

import ast
import os
from pathlib import Path
import threading

import pytest
from small_disk import SmallDisk

from uhr_seg_ros.core.atomic_io import atomic_write, check_writable, write_bytes, write_text
from uhr_seg_ros.core.errors import WriteError

PACKAGE = Path(__file__).resolve().parents[2] / 'uhr_seg_ros'

#: What puts content under a final name at once, and where that is right.
DIRECT = {'imwrite', 'imencode', 'savefig', 'savez', 'savetxt', 'write_bytes', 'write_text'}
ALLOWED = {
    'imencode': {'image_writing.py', 'labeled_flight.py', 'compressing.py'},  # into messages
    'write_bytes': {'atomic_io.py', 'result_files.py'},  # each renames
    # A file of the kernel; its own rules; a message of a recording.
    'write_text': {'memory_profile.py', 'run_folder.py', 'labeled_flight.py'},
    # Into memory; into a file that is renamed.
    'savefig': {
        'bag_charts.py',
        'budget_chart.py',
        'chart.py',
        'roofline_chart.py',
        'training_curves.py',
    },
    'savez': {'result_files.py', 'raster_tokens.py'},  # each into one that is renamed
    'open': {'storage_probe.py'},  # a recording that is unpacked into a temporary folder
}


@pytest.mark.parametrize('error', [KeyboardInterrupt, SystemExit, ValueError, MemoryError])
def test_what_ends_early_leaves_the_earlier_file(tmp_path: Path, error: type) -> None:
    path = tmp_path / 'report.json'
    path.write_text('earlier')
    with pytest.raises(error), atomic_write(path) as unfinished:
        unfinished.write_text('half')
        assert unfinished.suffix == '.json'
        raise error
    assert path.read_text() == 'earlier'
    assert os.listdir(tmp_path) == ['report.json']


def test_nobody_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / 'deep/er/mask.png'
    with atomic_write(path) as unfinished:
        unfinished.write_bytes(b'half')
        assert not path.exists()
        assert unfinished.parent == path.parent
    assert os.listdir(path.parent) == ['mask.png']


def test_longest_name_of_a_file_system(tmp_path: Path) -> None:
    path = tmp_path / f'{"x" * 251}.png'
    write_bytes(path, b'content')
    assert path.read_bytes() == b'content'
    too_long = tmp_path / f'{"x" * 252}.png'
    with pytest.raises(OSError, match='File name too long'):
        check_writable(too_long)
    with pytest.raises(OSError, match='File name too long') as caught:
        write_bytes(too_long, b'content')
    assert caught.value.filename == str(too_long)
    assert len(os.listdir(tmp_path)) == 1


def test_links_are_followed(tmp_path: Path) -> None:
    target, link = tmp_path / 'a/target.txt', tmp_path / 'link.txt'
    target.parent.mkdir()
    link.symlink_to(target)
    for text in ('made', 'replaced'):
        write_text(link, text)
        assert link.is_symlink()
        assert target.read_text() == text


def test_pipes_and_devices_are_written_as_they_are(tmp_path: Path) -> None:
    pipe = tmp_path / 'pipe'
    os.mkfifo(pipe)
    check_writable(pipe, Path('/dev/null'))
    writer = threading.Thread(target=write_text, args=(pipe, 'through'))
    writer.start()
    assert pipe.read_text() == 'through'
    writer.join()
    assert pipe.is_fifo()
    write_text(Path('/dev/null'), 'nothing')
    assert not Path('/dev/null').is_file()


def test_full_disk(small_disk: SmallDisk) -> None:
    path = small_disk.path / 'cloud.ply'
    path.write_text('earlier')
    small_disk.fill()
    with pytest.raises(OSError, match='No space left on device') as caught:
        write_bytes(path, bytes(10_000))
    assert caught.value.filename == str(path)
    assert path.read_text() == 'earlier'
    assert set(os.listdir(small_disk.path)) == {'cloud.ply', 'filling'}


def test_errors_of_the_block_stay_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, atomic_write(tmp_path / 'out.txt'):
        (tmp_path / 'absent').read_text()
    assert caught.value.filename == str(tmp_path / 'absent')


def test_places_are_checked_before_the_work(tmp_path: Path) -> None:
    (tmp_path / 'file').touch()
    check_writable(tmp_path / 'new/report.json', None)
    assert os.listdir(tmp_path / 'new') == []
    for path in (tmp_path, tmp_path / 'file/report.json'):
        with pytest.raises(OSError) as caught:
            check_writable(path)
        assert caught.value.filename == str(path)
    with pytest.raises(WriteError, match='is to hold two results'):
        check_writable(tmp_path / 'a', tmp_path / 'new/../a')


def test_nothing_is_written_past_this() -> None:
    """Whoever writes a file takes `atomic_write`, or what is built on it."""
    for file in PACKAGE.rglob('*.py'):
        tree = ast.parse(file.read_text(encoding='utf-8'))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                name = node.func.attr
                is_direct = name in DIRECT or _opens_to_write(node)
                allowed = ALLOWED.get(name, set())
                assert not is_direct or file.name in allowed, f'{file}:{node.lineno}: {name}'


def _opens_to_write(call: ast.Call) -> bool:
    """Tell if a call is `path.open` in a mode that begins a file anew, but no log."""
    first = call.args[0] if call.args else None
    mode = first.value if isinstance(first, ast.Constant) else None
    is_log = ast.unparse(call.func) in (
        'self._log.open',
        'self.log.open',
        'log.open',
        'unfinished.open',
    )
    return call.func.attr == 'open' and mode in ('w', 'wb', 'x', 'xb') and not is_log
