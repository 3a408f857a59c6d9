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
Run the commands of the documents on small inputs; those that cannot run are listed with a reason.

    python -m tools.doc_command_runs                    # all documents: minutes
    python -m tools.doc_command_runs docs/segment.md    # one
    python -m tools.doc_command_runs --list             # what runs, and why the rest does not

The commands of a page run in their order, in one folder. Sizes, durations and recipes are smaller
than written (`SMALLER`, `doc_command_inputs.SHORT`); everything else is as on the page. What does
not run is checked by tools/doc_command_checks.py, as everything is.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
import io
import os
from pathlib import Path
import re
import shlex
import shutil
import subprocess
import sys
from tempfile import TemporaryDirectory
from time import perf_counter

from tools.doc_command_checks import fault, other, uhr_seg_words
from tools.doc_command_inputs import make_inputs, write_files_of
from tools.doc_commands import Command, commands, commands_of, pages, ROOT
from uhr_seg_ros.cli.main import main as uhr_seg

#: Beginnings of commands, regular expressions -> why they do not run here.
NOT_RUN = {
    r'uhr_seg build': 'needs an NVIDIA GPU (test/cli/test_build_command.py)',
    r'.*onnxruntime:cuda': 'needs an NVIDIA GPU',
    r'uhr_seg convert.* --network \w+_(cityscapes|inria|deepglobe)': 'takes published weights, '
    'which are not part of this repository (test/export/test_checkpoints.py)',
    r'uhr_seg convert last\.pth': 'takes what days of a GPU trained',
    r'.*(train|torchrun).* config/train/\w+_(cityscapes|inria|deepglobe)\w*\.yaml': 'trains a '
    'published network on published data (test/training)',
    r'uhr_seg compare': 'trains a dozen networks (test/comparison)',
    r'uhr_seg segment TILE --bundle runs': 'takes what `uhr_seg compare` trained',
    r'uhr_seg benchmark stages --bundle runs': 'takes what `uhr_seg compare` trained',
    r'ros2 (launch|run) uhr_seg_ros \w+(\.launch\.py)?': 'runs until it is stopped '
    '(test/test_launch.py, test/ros)',
    r'uhr_seg benchmark node .*--command': 'starts a node of others '
    '(test/benchmark/test_outside_node.py)',
    r'uhr_seg segment flight_bag --topic /camera/image_raw/ffmpeg': 'takes a recording of a '
    'camera that encodes (test/replay/test_stream_recordings.py)',
    r'uhr_seg batch /mnt': 'needs several machines (test/fleet)',
    r'segmentation_node': 'a process of its own (test/ros/test_process.py)',
    r'ros2 (param|topic)': 'asks a node that runs (test/ros)',
    r'bash (\.ci|src|scripts)': 'makes the environment, or measures for minutes to hours',
    r'(\.venv/bin/)?python3? (-m|scripts/)': 'a study of hours, or a tool with tests of its own '
    '(test/tools)',
}

#: What a command says -> what is run in its place, so that it takes seconds.
SMALLER = {
    r'(--size) \d+x\d+': r'\1 128x96',
    r'(benchmark bag .*--rate) (10|30)\b': r'\1 2',
    r'(--rate) 0\.2\b': r'\1 2',
    r'(--duration) \d+': r'\1 1',
    r'(--count) \d+': r'\1 3',
    r'(--repeat) \d+': r'\1 1',
    r'(--points) 130000 300000': r'\1 1000 2000',
    r'(--parts) \d+': r'\1 2',
    r'(--network) hlrc_cityscapes': r'\1 hlrc_s',
    r' --start (semantic|patches)=\S*efficientnet\S*\.pth': '',  # published weights
    r'before\.json after\.json': 'flight.json flight.json',
    r'CAMVID/test/images/\*\.jpg': 'CAMVID/test/images/0.jpg',
}

#: Commands, regular expressions -> words that they get in addition, where they are not there.
ADDED = {
    'benchmark stages': '--size 128x96 --repeat 1 --processes 1',
    'benchmark node': '--size 128x96 --repeat 1 --processes 1',
    'benchmark torch': '--size 128x96 --repeat 1 --processes 1',
    'benchmark roofline': '--size 128x96 --repeat 1',
    'benchmark cloud': '--size 128x96 --points 1000 --repeat 1',
    'benchmark transport': '--size 128x96 --repeat 1',
    'benchmark make-bag': '--size 128x96 --duration 1',
    r'demo(?! [\w.]+\.mcap| \S+\.jpg \S+\.jpg)': '--count 2 --size 128x96 --rate 2',
    'quantize': '--crop 64 --keep-fp32 detail',
    'budget fit': '--steps 2',
    'budget time': '--size 128x96 --repeat 1',
}


#: Words of commands that say by their exit code what they found -> codes that are no failure.
FINDINGS = {'--gate': (0, 1), 'prepare': (0, 1)}


def reason_not_to_run(command: Command) -> str:
    """Return why a command does not run here, or an empty string."""
    if not command.whole and '--output' not in command.words:
        return 'named in a sentence'
    if found := other(command):
        return found
    text = command.text
    if words := uhr_seg_words(command):
        text = shlex.join(['uhr_seg', *words])
    return next((why for what, why in NOT_RUN.items() if re.match(what, text)), '')


def small(command: Command) -> list[str]:
    """Return the words that run in place of a command, at a smaller size."""
    words = uhr_seg_words(command)
    text = shlex.join(['uhr_seg', *words] if words else command.words)
    for pattern, replacement in SMALLER.items():
        text = re.sub(pattern, replacement, text)
    found = shlex.split(text)
    for name, added in ADDED.items():
        if re.match(rf'uhr_seg {name}(?=\s|$)', text):
            options = re.findall(r'(--\S+) (\S+)', added)
            found += [word for pair in options if pair[0] not in found for word in pair]
    return found


def run_page(page: Path, inputs: Path, folder: Path) -> Iterator[tuple[Command, str, str]]:
    """
    Run the commands of a page in their order.

    Args:
        page: the document.
        inputs: what `make_inputs` made.
        folder: to work in; made.

    Yields:
        A command, what ran in its place, and what is wrong: empty, or the end of its output.

    """
    shutil.copytree(inputs, folder, symlinks=True)
    write_files_of(page, folder)
    with _working_in(folder):
        for command in commands_of(page):
            if not reason_not_to_run(command):
                words = small(command)
                yield command, shlex.join(words), _run(words)


def _run(words: Sequence[str]) -> str:
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        if words[0] == 'uhr_seg':
            _make_room(words)
            code = uhr_seg(words[1:])
        else:  # python -c
            line = [sys.executable, *_matches(words[1:])]
            done = subprocess.run(line, check=False, capture_output=True, text=True)
            code = done.returncode
            said.write(done.stderr)
    if code > 128:  # a signal, which is meant for all of them
        sys.exit(code)
    fine = next((codes for word, codes in FINDINGS.items() if word in words), (0,))
    return '' if code in fine else f'exit code {code}: {said.getvalue()[-2000:]}'


def _matches(words: Sequence[str]) -> Iterator[str]:
    """Put files in the place of patterns, as a shell does; code is left alone."""
    for word in words:
        is_pattern = re.fullmatch(r'\w\S*\*\S*', word)
        yield from sorted(map(str, Path().glob(word))) if is_pattern else [word]


def _make_room(words: Sequence[str]) -> None:
    """Remove what an earlier section of the page left: each stands for itself."""
    if '--output' in words and '--resume' not in words:
        output = Path(words[words.index('--output') + 1])
        if words[1] == 'train' or words[1:3] == ['benchmark', 'make-bag']:
            shutil.rmtree(output, ignore_errors=True)


@contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    before = dict(os.environ), Path.cwd(), list(sys.path)
    os.environ['XDG_CACHE_HOME'] = str(folder / 'cache')
    os.chdir(folder)
    sys.path.insert(0, str(folder))  # export PYTHONPATH=$PWD
    try:
        yield
    finally:
        os.chdir(before[1])
        os.environ.clear()
        os.environ.update(before[0])
        sys.path[:] = before[2]


def show_list() -> None:
    """Print what runs of all commands, and why the others do not."""
    for command in commands():
        reason = reason_not_to_run(command)
        if command.whole or not reason:
            print(f'{command.place}: {reason or "runs"}: {command.text}')


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and tell; the exit code is 1 if a command failed."""
    parser = argparse.ArgumentParser(description='Run the commands of the documents.')
    parser.add_argument('pages', nargs='*', metavar='PAGE', help='documents (default: all)')
    parser.add_argument('--list', action='store_true', help='only list what runs, and what not')
    args = parser.parse_args(arguments)
    if args.list:
        show_list()
        return 0
    chosen = [ROOT / name for name in args.pages] or pages()
    failed = 0
    with TemporaryDirectory(prefix='uhr_seg_') as name:
        work = Path(name)
        inputs = work / 'inputs'
        inputs.mkdir()
        make_inputs(inputs)
        for number, page in enumerate(chosen):
            start = perf_counter()
            for command, text, wrong in run_page(page, inputs, work / str(number)):
                now = perf_counter()
                print(f'{command.place}: {now - start:.0f} s: {text}', flush=True)
                start = now
                if wrong:
                    failed += 1
                    print(f'FAILED {command.place}: {command.text}\n{wrong}', flush=True)
            shutil.rmtree(work / str(number), ignore_errors=True)
    faults = [f'{command.place}: {text}' for command in commands() if (text := fault(command))]
    print('\n'.join(faults), f'{failed} failed, {len(faults)} faults', sep='\n')
    return 1 if failed or faults else 0


if __name__ == '__main__':
    sys.exit(main())
