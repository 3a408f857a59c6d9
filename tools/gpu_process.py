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

"""Sections in processes of their own: a GPU error, a crash or a hang ends one case only."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
import json
import os
from pathlib import Path
import signal
import subprocess
from time import monotonic
import traceback
from typing import Any

from tools.gpu_setup import Setup
from uhr_seg_ros.core.atomic_io import write_text
from uhr_seg_ros.core.subprocesses import python_child
from uhr_seg_ros.core.text import one_line

ROOT = Path(__file__).resolve().parents[1]

#: How a section ends whose context cannot be used any more, while cases are left.
CONTEXT_LOST = 3

Publish = Callable[[], None]


class Record:
    """
    The results of one section, on disk after every case.

    Args:
        work: folder of the records.
        name: of the section.

    """

    def __init__(self, work: Path, name: str) -> None:
        self.path = work / 'sections' / f'{name}.json'
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.content: dict[str, Any] = {'done': False, 'running': None, 'result': {}}
        if self.path.is_file():
            self.content = json.loads(self.path.read_text(encoding='utf-8'))

    @property
    def done(self) -> bool:
        """Whether every case ran."""
        return bool(self.content['done'])

    def has(self, case: str) -> bool:
        """Tell if a case has a result, be it that it failed."""
        return case in self.content['result']

    def forget_failures(self) -> None:
        """Let what failed be tried again."""
        found = self.content['result']
        kept = {case: result for case, result in found.items() if 'missing' not in result}
        done = self.done and len(kept) == len(found)
        self.content = {'done': done, 'running': None, 'result': kept}
        self._write()

    def begin(self, case: str) -> None:
        """Note what runs, should the process die in it."""
        self.content['running'] = case
        self._write()

    def put(self, case: str, result: dict[str, Any], seconds: float) -> None:
        """Keep the result of a case."""
        self.content['result'][case] = {**result, 'seconds': round(seconds, 2)}
        self.content['running'] = None
        self._write()

    def finish(self) -> None:
        """Note that all cases have run."""
        self.content['done'] = True
        self._write()

    def give_up(self, reason: str) -> bool:
        """Give the case that ran, or else the section, a reason; tell if it was a case."""
        case = self.content['running']
        if case is None:
            self.content['missing'] = reason
            self._write()
            return False
        self.put(case, {'missing': reason}, 0.0)
        return True

    def _write(self) -> None:
        write_text(self.path, json.dumps(self.content, indent=1, default=str) + '\n')


def run_cases(name: str, setup: Setup, publish: Publish) -> int:
    """
    Run the cases of a section that have no results; returns the exit code of the process.

    Args:
        name: key of `SECTIONS`.
        setup: what it works with.
        publish: called after every case.

    """
    from tools.gpu_sections import SECTIONS

    record = Record(setup.work, name)
    for case, work in SECTIONS[name].cases(setup):
        if record.has(case):
            continue
        record.begin(case)
        start = monotonic()
        lost = False
        try:
            result = work()
        except Exception as err:  # the next case may work
            result = {'missing': _describe(err)}
            lost = 'CUDA' in result['missing'] and 'out of memory' not in str(err)
            traceback.print_exc()
        record.put(case, result, monotonic() - start)
        print(f'  {case}: {summary(result)}', flush=True)
        publish()
        if lost:
            return CONTEXT_LOST
    record.finish()
    publish()
    return 0


def run_apart(name: str, setup: Setup, seconds: float) -> None:
    """
    Run a section in a process of its own, and again for what is left when it dies.

    Args:
        name: key of `SECTIONS`.
        setup: what it works with.
        seconds: limit.

    """
    deadline = monotonic() + seconds
    while True:
        before = len(Record(setup.work, name).content['result'])
        try:
            code = start_section(name, setup, timeout=max(deadline - monotonic(), 0.1)).returncode
        except subprocess.TimeoutExpired:
            Record(setup.work, name).give_up(f'stopped after {seconds:.0f} s')
            return
        record = Record(setup.work, name)
        if record.done:
            return
        if code != CONTEXT_LOST:
            record.give_up(f'exit code {code}: {last_words(_log(name, setup).read_text())}')
        # Once more only if that gives a case that was not there before.
        if len(Record(setup.work, name).content['result']) == before:
            return


def section_command(name: str, setup: Setup) -> dict[str, Any]:
    """Describe the process of a section, or of a part of one, for `subprocess.run`."""
    arguments = ['--section', name, '--kit', setup.kit.folder, '--work', setup.work]
    arguments += ['--output', setup.output]
    if setup.machine.pretended:
        arguments.append('--pretend')
    # Children find modules of the package only; the tools lie beside it.
    folders = [str(ROOT), os.environ.get('PYTHONPATH', ''), str(setup.work / 'site')]
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, folders))}
    if setup.machine.pretended:
        # Frames are so small that threads wait for each other, and compiling takes longest.
        kernels = setup.work / 'host_kernels'  # of test/support/host_kernels.py
        environment |= {'OMP_NUM_THREADS': '1', 'CXXFLAGS': '-O0'}
        environment['UHR_SEG_TEST_KERNELS'] = str(kernels)
    return python_child('tools.gpu_acceptance', *arguments, env=environment)


def start_section(
    name: str, setup: Setup, timeout: float | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run the process of a section; without options, what it complains of goes to a log."""
    child = section_command(name, setup)
    if options:
        return subprocess.run(**child, **options, timeout=timeout, check=False)
    with _log(name, setup).open('a', encoding='utf-8') as log:
        return run_with_all(child, timeout, stderr=log)


def run_with_all(
    child: dict[str, Any], timeout: float | None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """
    Run a process; one that takes too long ends with all that it has started.

    Raises:
        subprocess.TimeoutExpired: it was ended.

    """
    with subprocess.Popen(**child, **options, start_new_session=True) as process:
        try:
            process.wait(timeout)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(process.args, process.returncode)


def summary(result: dict[str, Any]) -> str:
    """Write what matters of a result in one short line."""
    for name in ('engines', 'end to end'):
        if isinstance(result.get(name), dict):
            share = result.get('agreement')
            return f'{name} {result[name]["median_ms"]} ms, agreement {share:.3%}'
    return one_line(', '.join(f'{key} {value}' for key, value in result.items()), 110)


def _describe(err: Exception) -> str:
    """Say what failed, and in which work, if closing failed afterwards too."""
    first = err.__context__ if err.__cause__ is None else None
    before = f' (after: {one_line(first, 300)})' if first is not None else ''
    return one_line(err, 400) + before


def _log(name: str, setup: Setup) -> Path:
    return setup.files / f'{name}.log'


def last_words(text: str) -> str:
    """Return the line that says why a process ended: the last one, but where it crashed."""
    lines = text.strip().splitlines() or ['it says nothing']
    crashes = [line for line in lines if line.startswith('Fatal Python error')]
    return one_line((crashes or lines)[-1], 300)
