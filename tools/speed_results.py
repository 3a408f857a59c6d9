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
Make all results about speed anew, and the tables made of them; takes about an hour on two cores.

    python -m tools.speed_results [--only NAME ...] [--output docs/results] [--seconds 30]

Each result is a command of its own process, printed before it runs, and leaves a file. The
recordings are generated (`uhr_seg benchmark make-bag`) in a folder that is removed afterwards.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
import shlex
import subprocess
import sys
from tempfile import TemporaryDirectory
from typing import Any

from uhr_seg_ros.cli.arguments import parse_duration
from uhr_seg_ros.core.atomic_io import write_text
from uhr_seg_ros.core.config_reader import read_json
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.program import guarded
from uhr_seg_ros.core.subprocesses import python_child

MARK = 'tools.speed_results'

#: Sizes of the recordings, and the rates at which each is played.
SIZES = {'1080p': '1920x1080', '4k': '3840x2160'}
RATES = ('peak', '10', '30')

#: Result -> arguments of `uhr_seg benchmark`; what is played follows in `recordings`.
COMMANDS = {
    'stages': 'stages --size 1920x1080 --size 3840x2160 --size 7680x4320',
    'stages_8k_whole': 'stages --size 7680x4320 --repeat 3 --memory-limit-mb 0',
    'node': 'node --size 3840x2160 --repeat 20',
    'cloud': 'cloud',
    'transport': 'transport --size 3840x2160 --repeat 40',
    'against_torch': 'torch --network hlrc_cityscapes --size 2048x1024',
}


def recordings() -> dict[str, tuple[str, str]]:
    """Return result -> name of the recording and rate."""
    return {
        f'bag_{size}_{rate}' + ('' if rate == 'peak' else 'hz'): (size, rate)
        for size in SIZES
        for rate in RATES
    }


def command(name: str, folder: Path, output: Path, seconds: float) -> list[str]:
    """Return the arguments of `uhr_seg` for one result."""
    if name in COMMANDS:
        words = shlex.split(COMMANDS[name])
    else:
        size, rate = recordings()[name]
        words = ['bag', str(folder / f'flight_{size}'), '--rate', rate]
        # A search tries each rate for as long as it needs.
        words += [] if rate == 'peak' else ['--duration', f'{seconds:g}']
    return ['benchmark', *words, '--json', str(output / f'{name}.json')]


def table(reports: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the table of the results on recordings, in Markdown, by name of the result."""
    head = 'frames | rate, Hz | masks, Hz | dropped | p50, ms | p95, ms | p99, ms | mIoU'
    lines = [f'| {head} |', '|---' * len(head.split(' | ')) + '|']
    for name, report in reports.items():
        size, rate = recordings()[name]
        figures = report['figures']
        played = f'peak: {report["peak_hz"]:.2f}' if rate == 'peak' else rate
        frames, latency = figures['frames'], figures['latency_ms']
        dropped = frames['dropped'] / frames['sent']
        accuracy = report.get('accuracy')
        cells = [
            size.replace('4k', '4K'),
            played,
            f'{figures["throughput_hz"]:.2f}',
            f'{dropped:.0%}',
            *(f'{latency[key]:.0f}' for key in ('p50', 'p95', 'p99')),
            f'{accuracy["mean_iou"]:.3f}' if accuracy else '–',
        ]
        lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join((*lines, '', *machines(reports.values()), ''))


def machines(reports: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a line for each machine and commit that reports were made on."""
    lines = []
    for report in reports:
        machine, versions = report['machine'], report['versions']
        flags = ', '.join(machine['flags']) or 'unknown'
        sha, *changed = (report['commit'] or '').split('-')
        commit = '-'.join((sha[:12], *changed)) or f'version {versions["uhr_seg_ros"]}'
        lines.append(
            f'{machine["cpu"]}, {machine["cpus"]} cores ({flags}; governor '
            f'{machine["governor"]}), {commit}, {report["date"][:10]}, ONNX Runtime '
            f'{versions["onnxruntime"]}, {report["rmw"]}.'
        )
    return list(dict.fromkeys(lines))


def update(page: Path, text: str, mark: str = MARK) -> None:
    """Replace what is between the marks of a page."""
    before, start, rest = page.read_text('utf-8').partition(f'<!-- {mark} -->\n')
    _, end, after = rest.partition(f'<!-- end of {mark} -->')
    if not start or not end:
        msg = f'{page} has no marks: expected <!-- {mark} --> and <!-- end of {mark} -->'
        raise ConfigError(msg)
    write_text(page, f'{before}{start}{text}{end}{after}')


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog='speed_results', description=__doc__)
    names = (*COMMANDS, *recordings())
    parser.add_argument('--only', choices=names, nargs='*', metavar='NAME', help=', '.join(names))
    parser.add_argument('--output', type=Path, default=Path('docs/results'))
    parser.add_argument(
        '--seconds', type=parse_duration, default=30.0, help='of a recording, and of playing it'
    )
    parser.add_argument(
        '--recordings', type=Path, help='folder of recordings that were made before, to keep'
    )
    args = parser.parse_args()
    return guarded(lambda: _run_all(args), 'speed_results')


def _run_all(args: argparse.Namespace) -> int:
    # An empty list of results makes the tables anew, no more.
    wanted = list(dict.fromkeys((*COMMANDS, *recordings()) if args.only is None else args.only))
    with TemporaryDirectory(prefix='uhr_seg_') as temporary:
        folder = args.recordings or Path(temporary)
        for size in dict.fromkeys(
            recordings()[name][0] for name in wanted if name not in COMMANDS
        ):
            if not (folder / f'flight_{size}').is_dir():
                words = ['--size', SIZES[size], '--duration', f'{args.seconds:g}']
                call(['benchmark', 'make-bag', '--output', str(folder / f'flight_{size}'), *words])
        for name in wanted:
            call(command(name, folder, args.output, args.seconds))
    paths = {name: args.output / f'{name}.json' for name in recordings()}
    found = {
        name: read_json(path, ConfigError, 'make it anew with --only')
        for name, path in paths.items()
        if path.is_file()
    }
    update(args.output / 'recordings.md', table(found))
    return 0


def call(words: list[str]) -> None:
    """Run a command of `uhr_seg`, printed before."""
    print(f'uhr_seg {shlex.join(words)}', flush=True)
    if code := subprocess.run(**python_child('uhr_seg_ros.cli', *words), check=False).returncode:
        msg = f'this failed with exit code {code}: uhr_seg {shlex.join(words)}'
        raise ConfigError(msg)


if __name__ == '__main__':
    sys.exit(main())
