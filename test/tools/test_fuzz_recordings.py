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
A small part of what `scripts/fuzz_recordings --count 20000` reads.

It limits its own memory, so it runs in a process of its own.
"""

from __future__ import annotations

from pathlib import Path
import subprocess
import sys

ROOT = Path(__file__).resolve().parents[2]


def test_damaged_recordings_are_read_or_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            ROOT / 'scripts/fuzz_recordings',
            '--count',
            '75',
            '--seed',
            '18',
            '--keep',
            tmp_path / 'finding',
        ],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '75 cases, no finding' in done.stdout
