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

"""What is on disk: whole checkpoints, and logs that agree with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip('torch', reason='training needs torch')

from tiny import CLASSES, config_with

from uhr_seg_ros.core.errors import TrainingError
from uhr_seg_ros.export.description import Description
from uhr_seg_ros.training.run_folder import (
    LAST,
    load_last,
    LOG,
    read_log,
    RunFolder,
    save_atomically,
    VALIDATION,
)


class Breaks:
    """Cannot be pickled, which shows when half of the file is written."""

    def __reduce__(self) -> None:
        msg = 'broken on the way'
        raise OSError(msg)


def test_a_write_that_breaks_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / LAST
    save_atomically({'step': 1, 'weights': torch.ones(3)}, path)
    with pytest.raises(OSError, match='broken on the way'):
        save_atomically({'step': 2, 'weights': torch.ones(100000), 'last': Breaks()}, path)
    assert torch.load(path, weights_only=True)['step'] == 1
    assert [file.name for file in tmp_path.iterdir()] == [LAST]
    (tmp_path / f'{LAST}.unfinished').touch()  # of a run that was killed
    folder = RunFolder(tmp_path)
    folder.open(1)
    folder.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == [LAST, LOG, VALIDATION]


def test_resuming_cuts_the_logs(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.open(0)
    for step in range(6):
        folder.log(LOG, {'step': step})
        folder.log(VALIDATION, {'step': step + 1})
    folder.close()
    with (tmp_path / LOG).open('a') as log:
        log.write('{"step": 6, "re')
    again = RunFolder(tmp_path)
    again.open(4)
    again.log(LOG, {'step': 4})
    again.close()
    assert [entry['step'] for entry in read_log(tmp_path / LOG)] == [0, 1, 2, 3, 4]
    assert [entry['step'] for entry in read_log(tmp_path / VALIDATION)] == [1, 2, 3, 4]


def test_a_log_can_be_read_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / LOG
    path.write_text(json.dumps({'step': 0}) + '\n{"step"')
    assert read_log(path) == [{'step': 0}]
    assert read_log(tmp_path / 'none.jsonl') == []


def test_a_run_that_was_begun_under_former_names_goes_on(tmp_path: Path) -> None:
    decisive = config_with(ema_decay=0.5).decisive()
    former = {
        {'ema_decay': 'average', 'data.recolor': 'data.recolour'}.get(name, name): value
        for name, value in decisive.items()
    }
    torch.save({'decisive': former, 'step': 3}, tmp_path / LAST)
    ours = Description('hlrc_s', {}, CLASSES)
    assert load_last(tmp_path, decisive, ours)['step'] == 3
    other = config_with(ema_decay=0.4).decisive()
    with pytest.raises(TrainingError, match=r'another recipe: ema_decay was 0\.5 and is 0\.4'):
        load_last(tmp_path, other, ours)
