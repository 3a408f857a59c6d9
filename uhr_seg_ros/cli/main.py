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

"""The command line `uhr_seg <command>`: finds the room of a command and calls it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from importlib import import_module
import sys
from types import ModuleType

from uhr_seg_ros import __version__
from uhr_seg_ros.cli.examples import examples_of
from uhr_seg_ros.core.command_help import examples_text
from uhr_seg_ros.core.command_line import CommandParser
from uhr_seg_ros.core.program import guarded, OK

#: Command -> (module, one line of help). A module has `add_arguments(parser)` and
#: `run(args) -> int` and is imported only when its command is called. Where it also has
#: `update_words(words)`, that turns an earlier form of the command into the one of today.
COMMANDS: dict[str, tuple[str, str]] = {
    'segment': (
        'uhr_seg_ros.cli.segment',
        'segment images, recordings and videos into masks and overlays',
    ),
    'batch': (
        'uhr_seg_ros.cli.batch',
        'segment fleets of inputs in units, on all cores or on a Ray cluster',
    ),
    'convert': (
        'uhr_seg_ros.cli.convert',
        'turn a published or trained checkpoint into a bundle',
    ),
    'wrap': (
        'uhr_seg_ros.cli.wrap',
        'turn an ONNX network of others into a bundle',
    ),
    'train': (
        'uhr_seg_ros.cli.train',
        'train a network on a data set',
    ),
    'prepare': (
        'uhr_seg_ros.cli.prepare',
        'turn a published data set into the folder that trainings read',
    ),
    'labels': (
        'uhr_seg_ros.cli.labels',
        'turn regions drawn in Labelme, CVAT or Label Studio into labels',
    ),
    'distill': (
        'uhr_seg_ros.cli.distill',
        'turn masks of a large model into labels',
    ),
    'quantize': (
        'uhr_seg_ros.cli.quantize',
        'make int8 graphs of a bundle for the CPU',
    ),
    'build': (
        'uhr_seg_ros.cli.build',
        'build the TensorRT engines of a bundle ahead of time',
    ),
    'cache': (
        'uhr_seg_ros.cli.cache',
        'list or remove built TensorRT engines',
    ),
    'evaluate': (
        'uhr_seg_ros.cli.evaluate',
        'measure the accuracy of a bundle on a data set',
    ),
    'budget': (
        'uhr_seg_ros.cli.budget',
        'train and measure what a frame budget looks at closely',
    ),
    'novelty': (
        'uhr_seg_ros.cli.novelty',
        'calibrate which frames a bundle knows',
    ),
    'compare': (
        'uhr_seg_ros.cli.compare',
        'train and measure several networks alike',
    ),
    'benchmark': (
        'uhr_seg_ros.cli.benchmark',
        'measure the time per stage and the memory of a bundle',
    ),
    'demo': (
        'uhr_seg_ros.cli.demo',
        'fly over a mosaic: bag, node, masks and a latency report',
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run one command.

    Args:
        argv: arguments without the program name; None takes those of the process.

    Returns:
        Exit code: 0 done, 1 done in part, 2 an error, 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP; the
        last four with one line on stderr, which says what was done until then.

    """
    arguments = list(sys.argv[1:] if argv is None else argv)

    def run() -> int:
        name, *words = arguments or ['']
        if name not in COMMANDS:
            _parser().parse_args(arguments)
            return OK
        module = import_module(COMMANDS[name][0])
        if hasattr(module, 'update_words'):
            words = module.update_words(words)
        args = _parser(name, module).parse_args([name, *words])
        return module.run(args)

    return guarded(run, arguments[0] if arguments else '')


def _parser(called: str = '', module: ModuleType | None = None) -> argparse.ArgumentParser:
    """Build the parser, with the arguments of the command that is called."""
    parser = argparse.ArgumentParser(
        prog='uhr_seg', description='Semantic segmentation of ultra-high-resolution images.'
    )
    parser.add_argument('--version', action='version', version=f'uhr_seg {__version__}')
    commands = parser.add_subparsers(metavar='COMMAND', required=True, parser_class=CommandParser)
    for name, (_, summary) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=f'{summary.capitalize()}.')
        if module is not None and name == called:
            module.add_arguments(command)
            for each in leaves(command):
                each.epilog = examples_text(examples_of(each.prog))
    return parser


def command_parser(name: str) -> CommandParser:
    """Return the parser of a command with all of its arguments."""
    return next(iter(_subcommands(_parser(name, import_module(COMMANDS[name][0])), name)))


def leaves(parser: argparse.ArgumentParser) -> Iterator[CommandParser]:
    """Yield the parsers of what can be called: the command, or each of its subcommands."""
    subcommands = list(_subcommands(parser))
    for each in subcommands:
        yield from leaves(each)
    if not subcommands and isinstance(parser, CommandParser):
        yield parser


def _subcommands(parser: argparse.ArgumentParser, only: str = '') -> Iterator[CommandParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from (each for name, each in action.choices.items() if only in ('', name))


if __name__ == '__main__':
    sys.exit(main())
