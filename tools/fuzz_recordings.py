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
Damage recordings of every kind and read them.

    .venv/bin/python scripts/fuzz_recordings --count 20000
    .venv/bin/python scripts/fuzz_recordings --seed 7 --first 1234 --count 1 --keep case

Each is read as far as it goes or refused with an error of this package, within some seconds and a
bound on memory, and nothing is written beside it or left in the folder of temporary files;
anything else is a finding. The recording of the first finding is kept and its number printed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
import logging
from multiprocessing import get_context
import os
from pathlib import Path
import random
import resource
import shutil
import signal
import struct
import sys
import tempfile
import traceback
from typing import Any

from tools.sample_recordings import make_recordings
from uhr_seg_ros.core.errors import UhrSegError
from uhr_seg_ros.replay import bags

BATCH = 1000

#: Seconds of a case, and bytes of memory beyond those of the program.
MAX_S, MAX_BYTES = 20, 1 << 29

# What memory runs out of is refused too late.
_OUT_OF_MEMORY = ('MemoryError', 'out of memory')

#: Values at which lengths and offsets go wrong; the order belongs to the numbers of cases.
_NUMBERS = [0, 1, 2, 127, 128, 255]
_NUMBERS += [1 << 15, 1 << 16, 1 << 31, (1 << 31) - 1, (1 << 32) - 1]
_NUMBERS += [1 << 40, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]


class TooSlow(BaseException):
    """A case that takes too long; no handler of errors may catch it."""


def damage(recordings: list[Path], target: Path, chance: random.Random) -> Path:
    """Copy one of the recordings, with damage in one or two of its files."""
    source = chance.choice(recordings)
    shutil.copytree(source, target)
    for file in chance.choices(sorted(target.iterdir()), k=chance.choice([1, 1, 1, 2])):
        data = bytearray(file.read_bytes())
        for _ in range(chance.choice([1, 1, 2, 4, 16])):
            data = _damaged(data, chance)
        file.write_bytes(data)
    return target if chance.random() < 0.8 else chance.choice(sorted(target.iterdir()))


def _damaged(data: bytearray, chance: random.Random) -> bytearray:
    if not data:
        return data
    # Lengths, offsets and tables stand at both ends.
    size = len(data)
    at = (
        chance.choice(
            [
                chance.randrange(size),
                chance.randrange(min(size, 200)),
                max(0, size - 1 - chance.randrange(1200)),
            ]
        )
        % size
    )
    length = chance.choice([1, 4, 8, 64, 512, 4096])
    kind = chance.randrange(9)
    if kind < 3:
        data[at] ^= 1 << chance.randrange(8)
    elif kind == 3:
        layout = chance.choice(['<B', '<H', '>H', '<I', '>I', '<Q', '>Q'])
        width = struct.calcsize(layout)
        number = chance.choice(_NUMBERS) % (1 << 8 * width)
        data[at : at + width] = struct.pack(layout, number)
    elif kind == 4:
        data[at : at + length] = bytes(length)[: len(data) - at]
    elif kind == 5:
        data[at : at + length] = chance.randbytes(length)[: len(data) - at]
    elif kind == 6:
        del data[at:]
    elif kind == 7:
        del data[at : at + length]
    else:
        data[at:at] = data[chance.randrange(size) :][:length]
    return data


def read(path: Path) -> None:
    """Read everything of a recording, in every way that there is."""

    def attempt(call: Callable[..., Any], *arguments: object) -> Any:
        try:
            found = call(*arguments)
            return list(found) if isinstance(found, Iterator) else found
        except UhrSegError as err:
            if any(word in str(err) for word in _OUT_OF_MEMORY):
                raise
            return []

    if not attempt(bags.is_bag, path):
        return
    attempt(bags.topic_types, path)
    attempt(bags.storage_files, path)
    for topic in attempt(bags.image_topics, path):
        attempt(bags.describe_bag, path, topic)
        for _, message in attempt(bags.read_messages, path, topic.name):
            attempt(bags.read_frame, message, topic.type)
            attempt(bags.stamp_ns, message)
    attempt(bags.read_topics, path, '/image_raw', ['/talk'])
    attempt(bags.read_all, path)


def _contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def run_case(recordings: list[Path], folder: Path, seed: int, number: int) -> str:
    """Return what is wrong with a case; the recording is then left in the folder."""
    case = folder / 'case'
    shutil.rmtree(case, ignore_errors=True)
    path = damage(recordings, case, random.Random(f'{seed}:{number}'))
    before = _contents(case)
    signal.setitimer(signal.ITIMER_REAL, MAX_S)
    try:
        read(path)
    except (Exception, TooSlow):
        return traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    if _contents(case) != before:
        return f'files changed beside the recording: {sorted(_contents(case))}'
    left = sorted(Path(tempfile.gettempdir()).glob('uhr_seg_*'))
    return f'left behind: {left}' if left else ''


def _run_batch(
    recordings: list[Path], folder: Path, seed: int, numbers: range, state: Any
) -> None:
    """Run cases in a process of its own, which may crash."""
    logging.getLogger('uhr_seg_ros').setLevel(logging.ERROR)
    # Decoders of images print what they find; a crash leaves the last lines.
    noise = os.open(folder / 'noise', os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(noise, sys.stderr.fileno())
    temporary = folder / 'temporary'
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    tempfile.tempdir = str(temporary)
    _take_too_long()
    _limit_memory()
    for number in numbers:
        state.value = number
        if reason := run_case(recordings, folder, seed, number):
            (folder / 'reason').write_text(reason)
            sys.exit(1)
    (folder / 'peak').write_text(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))


def _take_too_long() -> None:
    def give_up(*_: object) -> None:
        raise TooSlow(f'more than {MAX_S} s')

    signal.signal(signal.SIGALRM, give_up)


def _limit_memory() -> None:
    pages = int(Path('/proc/self/statm').read_text().split()[0])
    limit = pages * resource.getpagesize() + MAX_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main() -> int:
    """Run; exit code 1 on a finding."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').strip().partition('\n')[0])
    parser.add_argument('--count', type=int, default=2000, help='cases (default 2000)')
    parser.add_argument('--first', type=int, default=0, help='number of the first case')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--keep',
        type=Path,
        default=Path('fuzz_finding'),
        help='where the recording of a finding is put',
    )
    arguments = parser.parse_args()
    print(f'seed {arguments.seed}', flush=True)
    context = get_context('spawn')
    last = arguments.first + arguments.count
    with tempfile.TemporaryDirectory(prefix='fuzz_recordings_') as name:
        folder = Path(name)
        (folder / 'whole').mkdir()
        recordings = make_recordings(folder / 'whole')
        for first in range(arguments.first, last, BATCH):
            numbers = range(first, min(first + BATCH, last))
            state = context.Value('q', first)
            process = context.Process(
                target=_run_batch, args=(recordings, folder, arguments.seed, numbers, state)
            )
            process.start()
            # Code that never comes back to Python is not ended by the alarm within.
            process.join(MAX_S * 3 + BATCH * 2)
            if process.is_alive():
                process.kill()
                process.join()
            if process.exitcode:
                return _report(folder, arguments, state.value, process.exitcode)
            peak = int((folder / 'peak').read_text()) // 1024
            print(
                f'{numbers.stop - arguments.first} of {arguments.count} cases, {peak} MB',
                flush=True,
            )
    print(f'{arguments.count} cases, no finding')
    return 0


def _report(folder: Path, arguments: argparse.Namespace, number: int, code: int) -> int:
    reason, noise = folder / 'reason', folder / 'noise'
    if reason.exists():
        print(reason.read_text())
    else:
        print(f'{noise.read_text(errors="replace")[-2000:]}\nthe process ended with {code}')
    shutil.rmtree(arguments.keep, ignore_errors=True)
    shutil.copytree(folder / 'case', arguments.keep)
    print(
        f'case {number} is in {arguments.keep}; again: --seed {arguments.seed} --first {number} '
        '--count 1'
    )
    return 1


if __name__ == '__main__':
    sys.exit(main())
