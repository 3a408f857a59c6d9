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

"""What modules log appears on the terminal while a program runs, and only then."""

from __future__ import annotations

import logging

import pytest
from tqdm import tqdm

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.program import FAILED, guarded, LOGGER, terminal_logging

LOG = logging.getLogger('uhr_seg_ros.some.room')


def log_all_levels() -> int:
    LOG.debug('hidden')
    LOG.info('frame %d of %d', 1, 2)
    LOG.warning('flight.mcap has lost its end')
    LOG.error('no mask came')
    return 0


def test_levels_go_to_their_streams(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(log_all_levels, 'demo') == 0
    shown = capsys.readouterr()
    assert shown.out == 'frame 1 of 2\n'
    assert shown.err == 'flight.mcap has lost its end\nuhr_seg: error: no mask came\n'


def test_the_logger_is_left_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger(LOGGER)
    before = logger.level, list(logger.handlers)
    with terminal_logging(), terminal_logging():
        LOG.info('once')
    assert capsys.readouterr().out == 'once\n'
    assert (logger.level, logger.handlers) == before
    LOG.info('never')
    assert capsys.readouterr().out == ''


def test_lines_stand_above_a_progress_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal_logging(), tqdm(total=2, desc='reading') as bar:
        bar.update()
        LOG.info('line')
    assert 'line\n' in capsys.readouterr().out


def test_an_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> int:
        raise ConfigError('--rate 0 is invalid')

    assert guarded(fail, 'benchmark') == FAILED
    assert capsys.readouterr().err == 'uhr_seg: error: --rate 0 is invalid\n'
