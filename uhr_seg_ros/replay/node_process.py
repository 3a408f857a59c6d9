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

"""The unmodified segmentation node in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
import subprocess
import sys

import yaml

from uhr_seg_ros.core.atomic_io import write_text
from uhr_seg_ros.core.subprocesses import find_tool, python_child

STOP_TIMEOUT_S = 10.0


class NodeProcess:
    """
    Starts `segmentation_node`; as a context manager it ends it too.

    Args:
        parameters: name -> value.
        folder: where its parameter file and its log go.
        module: that is run, one that does what the node does.

    Attributes:
        log: what the node prints.

    """

    def __init__(
        self, parameters: Mapping[str, object], folder: Path, module: str = 'uhr_seg_ros.ros.node'
    ) -> None:
        self.log = folder / 'node.log'
        file = folder / 'node.yaml'
        content = {'/**': {'ros__parameters': dict(parameters)}}
        write_text(file, yaml.safe_dump(content))
        node = python_child(module, '--ros-args', '--params-file', file)
        with self.log.open('wb') as log:
            self._process = subprocess.Popen(
                **node,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def pid(self) -> int:
        """Process id, which stays valid until `stop`."""
        return self._process.pid

    def is_running(self) -> bool:
        """Tell if the node has not ended."""
        return self._process.poll() is None

    def last_lines(self, count: int = 10) -> str:
        """Return the end of the log."""
        return end_of_log(self.log, count)

    def stop(self) -> int:
        """
        End the node by SIGTERM, or by SIGKILL if that takes more than 10 s.

        Returns:
            Its exit code, negative for a signal.

        """
        if self.is_running():
            self._process.terminate()  # a shell has SIGINT ignored in the background
        try:
            return self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
            clean_shared_memory()
            return code

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


def end_of_log(log: Path, count: int) -> str:
    """Return the last lines of what a process has printed."""
    text = log.read_text(encoding='utf-8', errors='replace')
    return '\n'.join(text.splitlines()[-count:])


def clean_shared_memory() -> None:
    """Remove what killed processes left in /dev/shm; segments in use are not touched."""
    if tool := find_tool('fastdds', Path(sys.executable).parent):
        subprocess.run([tool, 'shm', 'clean'], capture_output=True, timeout=30, check=False)
