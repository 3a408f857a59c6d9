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
What needs a GPU, in order of importance, within a time limit, resumable: `scripts/gpu_acceptance`.

Every section runs in a process of its own and leaves a JSON file; one that is there is not run
again. The report says what is missing, and why.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
import subprocess
import sys
from time import monotonic
from typing import Any

from tools.gpu_report import write_report
from tools.gpu_sections import SECTIONS
from uhr_seg_ros.core.atomic_io import write_bytes, write_text
from uhr_seg_ros.core.program import guarded
from uhr_seg_ros.core.subprocesses import python_child

ROOT = Path(__file__).resolve().parents[1]

#: Less time than this is not worth starting a section, s.
_MIN_S = 20.0


def main() -> int:
    """Run the sections that are not done, and write the report; 1 if one is not done then."""
    parser = argparse.ArgumentParser(prog='gpu_acceptance', description=__doc__)
    parser.add_argument('--output', type=Path, default=Path('docs/results/gpu'), metavar='DIR')
    parser.add_argument(
        '--work',
        type=Path,
        default=Path('out/gpu_acceptance'),
        metavar='DIR',
        help='for engines and exported models, some GB (default: out/gpu_acceptance)',
    )
    parser.add_argument('--minutes', type=float, default=25.0, help='time limit (default: 25)')
    parser.add_argument('--only', choices=SECTIONS, nargs='*', help='sections to run')
    parser.add_argument('--again', action='store_true', help='also what was done before')
    parser.add_argument('--section', choices=SECTIONS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    for folder in (args.output, args.work):
        folder.mkdir(parents=True, exist_ok=True)
    if args.section:
        run_section(args.section, args.output, args.work)
        return 0
    return guarded(lambda: _run_all(args), 'gpu_acceptance')


def _run_all(args: argparse.Namespace) -> int:
    deadline = monotonic() + 60.0 * args.minutes
    for name in args.only or SECTIONS:
        path = args.output / f'{name}.json'
        if args.again:
            path.unlink(missing_ok=True)
        if not _is_done(path):
            _run_apart(name, args.output, args.work, deadline - monotonic())
    write_report(args.output)
    print(f'report: {args.output / "README.md"}')
    return 0 if all(_is_done(args.output / f'{name}.json') for name in SECTIONS) else 1


def run_section(name: str, output: Path, work: Path) -> None:
    """
    Run one section here and write its results; cases are written as they finish.

    Args:
        name: key of `SECTIONS`.
        output: folder of the results.
        work: folder of what they were made with.

    """
    path = output / f'{name}.json'
    if name != 'engines':
        result = SECTIONS[name](work)
        for picture in work.glob('*.png'):
            write_bytes(output / picture.name, picture.read_bytes())
        _write(path, {'done': True, 'result': result})
        return
    found = read_section(path).get('result', {})
    # What failed before is tried again.
    found = {case: each for case, each in found.items() if 'missing' not in each}
    for case, result in SECTIONS[name](work, found):
        found[case] = result
        print(f'  {case}: {result.get("end to end", result)}', flush=True)
        _write(path, {'done': False, 'result': found})
    complete = not any('missing' in each for each in found.values())
    _write(path, {'done': complete, 'result': found})


def read_section(path: Path) -> dict[str, Any]:
    """Read the results of a section; nothing if there are none."""
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return {}


def _run_apart(name: str, output: Path, work: Path, seconds: float) -> None:
    """Run a section in a process of its own, since a GPU error spoils the whole process."""
    if seconds < _MIN_S:
        print(f'{name}: no time left', flush=True)
        return
    print(f'{name} ...', flush=True)
    arguments = ('--section', name, '--output', output, '--work', work)
    # Children find modules of the package only; the tools lie beside it.
    folders = filter(None, (str(ROOT), os.environ.get('PYTHONPATH')))
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(folders)}
    child = python_child('tools.gpu_acceptance', *arguments, env=environment)
    try:
        done = subprocess.run(**child, timeout=seconds, stderr=subprocess.PIPE, text=True)
    except subprocess.TimeoutExpired:
        print(f'{name}: stopped after {seconds:.0f} s, run again to go on', flush=True)
        return
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f'exit code {done.returncode}'])[-1]
        print(f'{name}: {last}', flush=True)
        _write(output / f'{name}.json', {'done': False, 'missing': last})


def _is_done(path: Path) -> bool:
    return bool(read_section(path).get('done'))


def _write(path: Path, content: dict[str, Any]) -> None:
    write_text(path, json.dumps(content, indent=1, default=str) + '\n')


if __name__ == '__main__':
    sys.exit(main())
