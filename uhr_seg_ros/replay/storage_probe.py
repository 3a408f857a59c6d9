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

"""Open a file of a recording by what it holds, whatever its name says."""

from __future__ import annotations

from pathlib import Path
import shutil
import stat
from tempfile import gettempdir, TemporaryDirectory

from uhr_seg_ros.core.errors import RecordingError
from uhr_seg_ros.replay import mcap_records, sqlite_files
from uhr_seg_ros.replay.mcap_storage import McapStorage
from uhr_seg_ros.replay.sqlite_storage import SqliteStorage
from uhr_seg_ros.replay.storage import Damaged, Storage, ZSTD_MAGIC
from uhr_seg_ros.replay.video import is_video
from uhr_seg_ros.replay.video_storage import VideoStorage

_BLOCK = 1 << 20

# Bytes that the head of a frame of zstd has at most.
_MAX_HEAD = 18

# No recording shrinks to less than a thousandth; what would do so was made to fill the disk.
_RATIO = 1000
_ALWAYS_ACCEPTED = 1 << 30

# What a file that is unpacked leaves free on its disk.
_SPARE = 1 << 28


def open_storage(path: Path) -> Storage:
    """
    Open a storage file, or a video as one.

    Raises:
        RecordingError: it cannot be read at all.

    """
    hint = ''
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            msg = 'a folder' if stat.S_ISDIR(mode) else 'no regular file'
            raise Damaged(f'is {msg}')
        with path.open('rb') as stream:
            magic = stream.read(len(sqlite_files.MAGIC))
        if magic.startswith(ZSTD_MAGIC):
            hint = f': unzstd {path} says more'
            return _open_unpacked(path)
        if magic.startswith(mcap_records.MAGIC):
            hint = f': `mcap recover {path}` may save a part of it'
        elif magic == sqlite_files.MAGIC:
            hint = f': `sqlite3 {path} .recover` may save a part of it'
        elif is_video(path):
            return VideoStorage(path)
        return _open_plain(path, path)
    except RecordingError:
        raise
    except Exception as err:  # a file of others: whatever the code that reads it runs into
        msg = f'{path} cannot be read as a rosbag2 recording ({reason_of(err)}){hint}'
        raise RecordingError(msg) from err


def reason_of(error: Exception) -> str:
    """Describe an error, with its type unless it is `Damaged`."""
    if isinstance(error, Damaged):
        return str(error)
    text = getattr(error, 'strerror', None) or str(error)
    return f'{type(error).__name__}: {text}' if text else type(error).__name__


def _open_plain(path: Path, name: Path, loss: str = '') -> Storage:
    with path.open('rb') as stream:
        magic = stream.read(len(sqlite_files.MAGIC))
    if magic == sqlite_files.MAGIC:
        return SqliteStorage(path, name, loss)
    if not magic.startswith(mcap_records.MAGIC):
        msg = 'is empty' if not magic else f'begins with {magic[:8]!r}, as neither mcap nor db3 do'
        raise Damaged(msg)
    stream = path.open('rb')
    try:
        return McapStorage(stream, name, loss)
    except BaseException:
        stream.close()
        raise


def _open_unpacked(path: Path) -> Storage:
    """Unpack a file into a temporary one, which has no name any more once it is open."""
    with TemporaryDirectory(prefix='uhr_seg_') as folder:
        unpacked = Path(folder) / 'unpacked'
        return _open_plain(unpacked, path, _unpack(path, unpacked))


def _unpack(path: Path, unpacked: Path) -> str:
    """Unpack as much as there is; say why that is not all."""
    from uhr_seg_ros.replay.zstd import zstd  # rosbags may not be installed

    most = max(_ALWAYS_ACCEPTED, _RATIO * path.stat().st_size)
    with path.open('rb') as stream:
        declared = zstd.get_frame_info(stream.read(_MAX_HEAD)).decompressed_size or 0
    _check_size(declared, most)
    _check_room(path, declared)
    written = 0
    with zstd.open(path, 'rb') as source, unpacked.open('wb') as target:
        while True:
            if written % (64 * _BLOCK) == 0:
                _check_room(path, 64 * _BLOCK)
            try:
                block = source.read(_BLOCK)
            except (zstd.ZstdError, EOFError) as err:
                if not written:
                    raise
                return f'cannot be unpacked after {written} bytes ({reason_of(err)})'
            if not block:
                return ''
            written += len(block)
            _check_size(written, most)
            target.write(block)


def _check_size(size: int, most: int) -> None:
    if size > most:
        msg = f'would give more than the {most} bytes that are accepted'
        raise Damaged(msg)


def _check_room(path: Path, needed: int) -> None:
    free = shutil.disk_usage(gettempdir()).free
    if needed + _SPARE > free:
        msg = (
            f'{path} is compressed, and unpacked it does not fit into {gettempdir()} ({free} '
            f'bytes free): make room, set TMPDIR, or unpack it elsewhere: unzstd {path}'
        )
        raise RecordingError(msg)
