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

"""The program of a process of `processes`: units as lines on stdin, answers on stdout."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any, IO

from uhr_seg_ros.core.errors import UhrSegError
from uhr_seg_ros.core.program import terminal_logging
from uhr_seg_ros.fleet.worker import Worker


def main() -> None:
    """Open a worker with the options of the first line, and do what the others ask for."""
    # Ctrl-C in a terminal reaches all of its processes; the driver ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with os.fdopen(os.dup(sys.stdout.fileno()), 'wb') as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # libraries may print
        with terminal_logging():
            _serve(sys.stdin.buffer, answers)


def _serve(questions: IO[bytes], answers: IO[bytes]) -> None:
    def answer(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message).encode() + b'\n')
        answers.flush()

    try:
        worker = Worker(json.loads(questions.readline()))
    except UhrSegError as err:
        answer({'fatal': str(err)})
        return
    answer({'ready': True})
    for line in questions:  # ends with the driver
        answer(worker.run(json.loads(line)))
    worker.close()


if __name__ == '__main__':
    main()
