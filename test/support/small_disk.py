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

"""A real disk of a few KB, to fill up or to make read-only."""

from __future__ import annotations

from pathlib import Path
import subprocess


class SmallDisk:
    """
    A file system in memory, mounted on a folder.

    Args:
        path: folder to make and to mount on.
        size_kb: of the disk.

    Raises:
        OSError, subprocess.CalledProcessError: this process may not mount.

    """

    def __init__(self, path: Path, size_kb: int = 256) -> None:
        self.path = path
        self._filling = path / 'filling'
        path.mkdir()
        options = f'size={size_kb}k,mode=0700'
        _run('mount', '-t', 'tmpfs', '-o', options, 'uhr_seg_test', str(path))

    def fill(self) -> None:
        """Leave no room at all."""
        with self._filling.open('ab', buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:  # that was the last one
                return

    def make_room(self) -> None:
        """Take back what `fill` did."""
        self._filling.unlink()

    def make_read_only(self) -> None:
        """Refuse every change from now on, as a damaged card does."""
        _run('mount', '-o', 'remount,ro', str(self.path))

    def close(self) -> None:
        """Unmount, also while files on it are open."""
        _run('umount', '--lazy', str(self.path))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
