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

"""Signals in the middle of the work: nothing half is left, and what was done is said."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import os
from pathlib import Path
import re
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest
from small_disk import SmallDisk
from tiny_bundle import paint

from uhr_seg_ros.cli import main as cli
from uhr_seg_ros.core.interruption import (
    ENDING,
    exit_code,
    note_progress,
    progress_note,
    signals_end_the_block,
    signals_held,
    Terminated,
)

ROOT = Path(__file__).resolve().parents[2]
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def _usual_signals() -> Iterator[None]:
    """Take signals as a terminal leaves them: nohup, for one, has them ignored."""
    earlier = {number: signal.signal(number, usual) for number, usual in ENDING.items()}
    yield
    for number, handler in earlier.items():
        signal.signal(number, handler)


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    """Return images of which some are always still to come."""
    first = tmp_path / 'images/0.png'
    first.parent.mkdir()
    cv2.imwrite(str(first), paint(np.zeros((160, 160), np.uint8)))
    for index in range(1, 400):
        first.with_name(f'{index}.png').hardlink_to(first)
    return [str(first.with_name(f'{index}.png')) for index in range(400)]


@contextmanager
def command(*words: str, **options: object) -> Iterator[subprocess.Popen]:
    """Run a command in a process of its own, which does not outlive the test."""
    process = subprocess.Popen(
        [sys.executable, '-m', 'uhr_seg_ros.cli', *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize('number', SIGNALS)
def test_segment_is_told_to_end(
    number: int, images: list[str], tiny_bundle: Path, tmp_path: Path
) -> None:
    pytest.importorskip('onnxruntime', reason='segment runs it')
    output = tmp_path / 'out'
    temporary = tmp_path / 'tmp'
    temporary.mkdir()
    environment = os.environ | {'TMPDIR': str(temporary)}
    options = ['--bundle', str(tiny_bundle), '--output', str(output), '--save-logits']
    with command('segment', *images, *options, env=environment) as process:
        assert process.stdout.readline().startswith('backend: ')
        assert process.stdout.readline().startswith('[1/400]')
        process.send_signal(number)
        process.send_signal(number)  # does not disturb the clean-up
        text, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    line = errors.splitlines()[-1]
    name = 'Ctrl-C' if number == signal.SIGINT else signal.Signals(number).name
    found = re.fullmatch(rf'uhr_seg: ended by {name}; (\d+) of 400 images segmented: (.*)', line)
    assert found, errors
    assert found[2] == f'{output} (--resume goes on)'
    rows = (output / 'summary.csv').read_text().splitlines()
    assert len(rows) - int(found[1]) in (2, 3)  # with head and totals
    left = [
        name for name in sorted(os.listdir(output)) if name[0] != '.' and name != 'summary.csv'
    ]
    masks = [name for name in left if name.endswith('_mask.png')]
    # Of an image, either all files are there or none; and the count says how many images.
    assert 0 < len(masks) < 400
    assert len(left) == 3 * len(masks)
    assert len(masks) - int(found[1]) in (0, 1)
    for each in left:
        assert (output / each).stat().st_size > 0
    assert not list(temporary.glob('uhr_seg*'))


def test_nohup_stays_without_effect_of_hangup(
    images: list[str], tiny_bundle: Path, tmp_path: Path
) -> None:
    pytest.importorskip('onnxruntime', reason='segment runs it')
    options = ['--bundle', str(tiny_bundle), '--output', str(tmp_path / 'out')]

    def ignore_hangup() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with command('segment', *images[:15], *options, preexec_fn=ignore_hangup) as process:
        assert process.stdout.readline().startswith('backend: ')
        assert process.stdout.readline().startswith('[1/15]')
        process.send_signal(signal.SIGHUP)
        text, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert text.splitlines()[-1].startswith('15 segmented')


def test_full_disk_between_two_masks(
    small_disk: SmallDisk, tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first image is flat and its files are small, those of the second one need more room."""
    pytest.importorskip('onnxruntime', reason='segment runs it')
    output = small_disk.path / 'out'
    noise = np.random.default_rng(0).integers(0, 256, (600, 600, 3), np.uint8)
    images = []
    for name, image in (('a', noise[:16, :16]), ('b', noise), ('c', noise[:16, :16])):
        images.append(str(tmp_path / f'{name}.png'))
        cv2.imwrite(images[-1], image)
    options = ['--bundle', str(tiny_bundle), '--output', str(output), '--backend', 'onnxruntime']
    assert cli.main(['segment', *images, *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f'{output}/b_' in line
    assert line.endswith(
        f': No space left on device; 1 of 3 images segmented: {output} (--resume goes on)'
    )
    assert sorted(output.glob('[!.]*[gl]')) == [output / 'a_mask.png', output / 'a_overlay.jpg']
    assert cv2.imread(str(output / 'a_mask.png')).shape == (16, 16, 3)


@pytest.mark.parametrize('number', SIGNALS)
def test_signals_are_exceptions_that_nothing_swallows(number: int) -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    with pytest.raises((KeyboardInterrupt, Terminated)) as caught, signals_end_the_block():
        try:
            signal.raise_signal(number)
        except Exception:
            pytest.fail('swallowed')
        finally:
            for each in SIGNALS[:1]:
                signal.raise_signal(each)  # the second one, while the first one is cleared up
    assert exit_code(caught.value) == 128 + number
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_signals_wait_where_a_process_is_started() -> None:
    done = []
    with pytest.raises(Terminated), signals_end_the_block():
        with signals_held():
            with signals_held():
                signal.raise_signal(signal.SIGTERM)
            done.append('both')
        done.append('never')
    assert done == ['both']


def test_what_was_done_is_told_once() -> None:
    with (
        pytest.raises(ValueError) as caught,
        note_progress(lambda: 'outer'),
        note_progress(lambda: 'inner'),
    ):
        raise ValueError
    assert progress_note(caught.value) == 'inner'
    assert progress_note(ValueError()) == ''
