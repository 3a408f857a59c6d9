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
What a training leaves on disk: checkpoints, complete or not at all, and logs that agree with them.

A checkpoint is written beside the old one, forced to the disk and put in its place in one step of
the file system. Before that the log is forced to the disk too, so it is never behind a checkpoint;
where it is ahead of one, resuming cuts it.
"""

from __future__ import annotations

from collections.abc import Mapping
import json
import logging
import os
from pathlib import Path
from typing import Any, TextIO

import torch

from uhr_seg_ros.core.errors import TrainingError
from uhr_seg_ros.core.recipe_keys import with_current_facts
from uhr_seg_ros.export.checkpoint_files import load_plain
from uhr_seg_ros.export.description import Description, other_classes, read_description
from uhr_seg_ros.export.state_dicts import plain_tensors

logger = logging.getLogger(__name__)

LAST = 'last.pth'
BEST = 'best.pth'
LOG = 'log.jsonl'
VALIDATION = 'validation.jsonl'
#: Ends the name of a file that is being written.
UNFINISHED = '.unfinished'


class RunFolder:
    """
    The files of a run; for the one process that writes.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._logs: dict[str, TextIO] = {}

    def open(self, step: int) -> None:
        """
        Get ready to go on at a step: clear away what a killed run left unfinished.

        Args:
            step: What was logged of this and later steps is cut: it is done again.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        for left_over in self.path.glob(f'*{UNFINISHED}'):
            left_over.unlink()
        # A validation stands behind the step that it follows.
        for name, until in ((LOG, step), (VALIDATION, step + 1)):
            _truncate(self.path / name, until)
            self._logs[name] = (self.path / name).open('a', encoding='utf-8')

    def close(self) -> None:
        """Close the logs."""
        for log in self._logs.values():
            log.close()

    def log(self, name: str, entry: Mapping[str, Any]) -> None:
        """Add a line to ``LOG`` or ``VALIDATION``; every entry has its ``step``."""
        self._logs[name].write(json.dumps(entry) + '\n')
        self._logs[name].flush()

    def save(self, name: str, state: Mapping[str, Any]) -> None:
        """Write the checkpoint ``LAST`` or ``BEST``."""
        for log in self._logs.values():
            os.fsync(log.fileno())
        save_atomically(state, self.path / name)


def save_atomically(state: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint so that at any moment either the old or the new one is there, whole."""
    unfinished = path.with_name(path.name + UNFINISHED)
    try:
        with unfinished.open('wb') as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:  # a full disk, Ctrl-C: what is there of it would only take space
        unfinished.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def load_last(
    folder: Path,
    decisive: Mapping[str, Any],
    ours: Description,
) -> dict[str, Any]:
    """
    Read the checkpoint that a run goes on from.

    Args:
        folder: Folder of the run.
        decisive: What the interrupted run must have had in common with this one.
        ours: What this run trains; its classes must be those of the interrupted run, too.

    Raises:
        TrainingError: There is none, another version or another recipe wrote it, or it was for
            other classes. A recipe with fewer steps is the same one.
        CheckpointError: It is damaged, or its weights are none.
    """
    path = folder / LAST
    if not path.is_file():
        msg = f'there is no {path} to resume from: start without --resume'
        raise TrainingError(msg)
    state = load_plain(path)
    theirs = state.get('decisive') if isinstance(state, dict) else None
    if not isinstance(theirs, dict):
        msg = f'{path} is not a checkpoint of this version: start again in another folder'
        raise TrainingError(msg)
    theirs = with_current_facts(theirs)
    if ends_earlier(theirs.get('steps'), decisive.get('steps')):
        text = '%s: the recipe had %s steps and has %s now, where this run ends'
        logger.info(text, path, theirs['steps'], decisive['steps'])
        theirs['steps'] = decisive['steps']
    changed = [
        f'{name} was {theirs.get(name)!r} and is {value!r}'
        for name, value in decisive.items()
        if theirs.get(name) != value
    ]
    if changed:
        msg = f'{path} comes from another recipe: {"; ".join(changed)}'
        raise TrainingError(msg)
    said = read_description(state, path)
    if said is None:
        text = '%s does not name its classes: they are taken to be those of the data set'
        logger.info(text, path)
    elif differ := other_classes(said.classes, ours.classes):
        msg = (
            f'{path} was trained for other classes: {differ[0]} is {differ[1]} in the data set; '
            'give that back its order, or start again in another folder (--start network=FILE)'
        )
        raise TrainingError(msg)
    for name in ('network', 'state_dict'):
        if isinstance(state.get(name), dict):
            plain_tensors(state[name], path)
    return state


def ends_earlier(before: object, now: object) -> bool:
    """Tell if a recipe has fewer steps than it had, which does not make it another one."""
    return isinstance(before, int) and isinstance(now, int) and now < before


def read_log(path: Path) -> list[dict[str, Any]]:
    """Read the entries of a log; a line that a killed run left unfinished ends it."""
    entries = []
    if path.is_file():
        for line in path.read_text(encoding='utf-8', errors='replace').splitlines():
            try:
                entries.append(json.loads(line))
            except json.JSONDecodeError:
                break
    return entries


def _truncate(path: Path, step: int) -> None:
    if path.is_file():
        kept = [entry for entry in read_log(path) if entry['step'] < step]
        unfinished = path.with_name(path.name + UNFINISHED)
        unfinished.write_text(''.join(json.dumps(entry) + '\n' for entry in kept), 'utf-8')
        unfinished.replace(path)
