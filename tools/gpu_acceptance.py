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

`prepare` makes the kit where there is time; `run` takes it to the GPU. Every section runs in a
process of its own, and every result is written when it is there.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
import faulthandler
import json
from pathlib import Path
import sys
import tarfile
from time import monotonic
from typing import Any

from tools.gpu_cases import FULL, PRETEND
from tools.gpu_expectations import rows_of
from tools.gpu_kit import prepare
from tools.gpu_process import Record, run_apart, run_cases
from tools.gpu_report import write_report
from tools.gpu_sections import PARTS, SECTIONS
from tools.gpu_setup import open_setup, Setup
from uhr_seg_ros.core.atomic_io import atomic_write, write_json
from uhr_seg_ros.core.errors import ConfigError, EngineError
from uhr_seg_ros.core.program import guarded

#: Less time than this is not worth starting a section, s.
_MIN_S = 5.0

#: For the report and the archive at the end, s.
_END_S = 5.0

#: Compute capability of the GPU of the stand-ins.
_PRETENDED = '8.7'

_KIT, _WORK = Path('out/gpu_kit'), Path('out/gpu_acceptance')


def main() -> int:
    """Prepare, or run the sections that are not done; 1 if one is not done then."""
    parser = argparse.ArgumentParser(
        prog='gpu_acceptance',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('command', choices=('run', 'prepare'), nargs='?', default='run')
    add('--kit', type=Path, default=_KIT, metavar='DIR', help=f'prepared (default: {_KIT})')
    add('--wheels', type=Path, metavar='DIR', help='wheels that the kit takes along')
    add('--paper', action='store_true', help="also export the paper's network, some 300 MB")
    add('--capability', default='9.0', help='of the GPU to prepare for (default: 9.0)')
    add('--output', type=Path, default=Path('docs/results/gpu'), metavar='DIR')
    add('--work', type=Path, default=_WORK, metavar='DIR', help=f'default: {_WORK}')
    add('--seconds', type=float, default=300.0, help='time limit of run (default: 300)')
    add('--only', choices=SECTIONS, nargs='*', help='sections to run')
    add('--again', action='store_true', help='also what was done before')
    add('--pretend', action='store_true', help='on stand-ins and at small sizes: no GPU needed')
    add('--section', choices=[*SECTIONS, *PARTS], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.section:
        return _child(args.section, _setup(args))
    steps: dict[str, Callable[[argparse.Namespace], int]] = {'prepare': _prepare, 'run': _run_all}
    return guarded(lambda: steps[args.command](args), 'gpu_acceptance')


def publish(setup: Setup) -> None:
    """Write what is known so far: one file of results and one page."""
    found = {}
    for name in SECTIONS:
        record = Record(setup.work, name)
        if record.path.is_file():
            found[name] = record.content
    results = {'pretended': setup.machine.pretended, 'kit': setup.kit.facts, 'sections': found}
    setup.output.mkdir(parents=True, exist_ok=True)
    write_json(setup.output / 'results.json', json.loads(json.dumps(results, default=str)))
    write_report(results, setup.output / 'README.md', setup.files)


def table(setup: Setup) -> str:
    """Write what was expected and measured in short lines, for whoever sees only the end."""
    rows = rows_of(json.loads((setup.output / 'results.json').read_text(encoding='utf-8')))
    return '\n'.join(
        f'{row.what:45} {row.low:9.4g} to {row.high:9.4g} {row.unit:8}'
        f'{"" if row.measured is None else f"{row.measured:10.4g}"} {row.verdict}'
        for row in rows
    )


def _prepare(args: argparse.Namespace) -> int:
    if args.wheels is not None and not list(args.wheels.glob('*.whl')):
        msg = f'--wheels {args.wheels}: no *.whl in it'
        raise ConfigError(msg)
    major, _, minor = (_PRETENDED if args.pretend else args.capability).partition('.')
    capability = int(major), int(minor or 0)
    scale = PRETEND if args.pretend else FULL
    options: dict[str, Any] = {'paper': args.paper}
    if args.pretend:  # the stand-ins have kernels of their own
        options['compile_cubin'] = lambda capability: b'\x7fELF'
    prepare(args.kit, args.wheels, capability, scale, _say, **options)
    return 0


def _run_all(args: argparse.Namespace) -> int:
    start = monotonic()
    setup = _setup(args)
    for name in args.only or SECTIONS:
        record = Record(setup.work, name)
        if args.again:
            record.path.unlink(missing_ok=True)
        elif record.path.is_file():
            record.forget_failures()
    # Asked first, so that a machine without a GPU says so at once.
    run_apart('environment', setup, SECTIONS['environment'].seconds * setup.scale.patience)
    publish(setup)
    try:
        gpu = setup.machine.gpu()
    except EngineError as err:
        Record(setup.work, 'life').give_up(str(err))
        publish(setup)
        raise
    _say(f'{gpu.name}: {args.seconds:.0f} s from now on')
    setup.kit.unpack_wheels(setup.work / 'site')
    for name in args.only or SECTIONS:
        left = start + args.seconds - _END_S - monotonic()
        if Record(setup.work, name).done:
            continue
        if left < _MIN_S:
            _say(f'{name}: no time left')
            continue
        seconds = min(left, SECTIONS[name].seconds * setup.scale.patience)
        _say(f'{name}, at most {seconds:.0f} s, after {monotonic() - start:.0f} s')
        run_apart(name, setup, seconds)
        publish(setup)
    _archive(setup)
    _say(table(setup))
    _say(f'{setup.output}: README.md, results.json, results.tar.gz; {monotonic() - start:.0f} s')
    return 0 if all(Record(setup.work, name).done for name in args.only or SECTIONS) else 1


def _setup(args: argparse.Namespace) -> Setup:
    if args.pretend and not args.section and not (args.kit / 'kit.json').is_file():
        _prepare(args)
    if not (args.kit / 'kit.json').is_file():
        msg = f'{args.kit} holds no kit: run scripts/gpu_acceptance prepare --kit {args.kit}'
        raise ConfigError(msg)
    setup = open_setup(args.kit, args.work, args.output, pretended=args.pretend)
    if setup.kit.facts['sizes'] != json.loads(json.dumps(setup.scale.sizes)):
        msg = f'kit {args.kit} is for frames of {setup.kit.facts["sizes"]}: prepare it again'
        raise ConfigError(msg)
    return setup


def _child(name: str, setup: Setup) -> int:
    # A crash is to leave its place in the log.
    faulthandler.enable()
    if name in PARTS:
        print(PARTS[name](setup))
        return 0
    return run_cases(name, setup, lambda: publish(setup))


def _archive(setup: Setup) -> None:
    """Put the page, the results, pictures, logs and dumps into one file."""
    pages = [setup.output / name for name in ('README.md', 'results.json')]
    with atomic_write(setup.output / 'results.tar.gz') as path:
        with tarfile.open(path, 'w:gz') as archive:
            for file in pages:
                archive.add(file, file.name)
            archive.add(setup.files, '.')


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == '__main__':
    sys.exit(main())
