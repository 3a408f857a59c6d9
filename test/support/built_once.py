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

"""Folders that are dear to make: one worker of pytest-xdist builds each, all of them read it."""

from __future__ import annotations

from collections.abc import Callable
import fcntl
import os
from pathlib import Path
import shutil

import pytest


def built_once(
    factory: pytest.TempPathFactory, name: str, build: Callable[[Path], object]
) -> Path:
    """
    Return the folder of a name, which tests must not write into.

    Args:
        factory: Of this worker.
        name: Of the folder, the same in all workers.
        build: Writes into an empty folder; called by the worker that comes first.

    """
    root = factory.getbasetemp()
    if 'PYTEST_XDIST_WORKER' in os.environ:
        root = root.parent
    folder, draft = root / 'built' / name, root / 'built' / f'{name}.draft'
    folder.parent.mkdir(exist_ok=True)
    with (folder.parent / f'{name}.lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            build(draft)
            draft.rename(folder)
    return folder
