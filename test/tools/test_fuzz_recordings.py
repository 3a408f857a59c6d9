# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

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
            '150',
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
    assert '150 cases, no finding' in done.stdout
