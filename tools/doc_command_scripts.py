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

"""Check commands of documents that run scripts, tools and Python, up to their arguments."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib import import_module
import io
import sys
from unittest.mock import patch

from tools.doc_commands import Command, ROOT


class _Parsed(Exception):
    """The words were taken, and nothing is to be done with them."""


def check_module(command: Command) -> str:
    """Check `python -m ...`."""
    name, *words = command.words[command.words.index('-m') + 1 :]
    path = ROOT / f'{name.replace(".", "/")}.py'
    if not path.is_file():
        return f'no module {name}'
    return _check_main(name, words) if name.startswith('tools.') and command.whole else ''


def check_python(command: Command) -> str:
    """Check `python -c ...` and `python scripts/...`."""
    if '-c' in command.words:
        try:
            compile(command.words[command.words.index('-c') + 1], command.place, 'exec')
        except SyntaxError as err:
            return f'no Python: {err}'
        return ''
    script, *words = command.words[1:]
    if script == 'scripts/fuzz_codec':  # libFuzzer's own options
        return ''
    return _check_main(script.replace('scripts/', 'tools.'), words)


def _check_main(module: str, words: Sequence[str]) -> str:
    """Call `main` of a module of tools up to where its arguments are parsed."""
    said = io.StringIO()
    with _only_parsing(), redirect_stderr(said), redirect_stdout(said):
        try:
            with patch.object(sys, 'argv', [module, *words]):
                import_module(module).main()
        except _Parsed:
            return ''
        except SystemExit:
            return said.getvalue().strip().splitlines()[-1]
    return f'{module} does not parse its arguments'


@contextmanager
def _only_parsing() -> Iterator[None]:
    real = argparse.ArgumentParser.parse_args

    def parse(self: argparse.ArgumentParser, *args: object, **kwargs: object) -> None:
        real(self, *args, **kwargs)
        raise _Parsed

    with patch.object(argparse.ArgumentParser, 'parse_args', parse):
        yield


def check_script(command: Command, check_uhr_seg: Callable[[Command], str]) -> str:
    """
    Check `bash ...`: that the script is there, and that it takes its options.

    Args:
        command: of a document.
        check_uhr_seg: checks what a script hands on to `uhr_seg`.

    """
    path = ROOT / command.words[1].replace('src/uhr_seg_ros/', '')
    if not path.is_file():
        return f'no script {command.words[1]}'
    name, words = path.name, command.words[2:]
    if name in ('gpu_acceptance', 'reliability'):
        return _check_main(f'tools.{name}', words)
    if name == 'train_on_gpu':
        return check_uhr_seg(_training_piece(words))
    if name == 'test':
        return _check_tests(words, path.read_text(encoding='utf-8'))
    text = path.read_text(encoding='utf-8')
    unknown = [word for word in words if word not in text]
    return f'{command.words[1]} does not know {", ".join(unknown)}' if unknown else ''


def _training_piece(words: Sequence[str]) -> Command:
    """Return what `scripts/train_on_gpu` runs, which keeps some options to itself."""
    options = dict(zip(words[::2], words[1::2], strict=True))
    own = ('--from', '--run', '--part-mib')
    handed_on = [(name, value) for name, value in options.items() if name not in own]
    pairs = [word for pair in handed_on for word in pair]
    return Command('', 0, ('uhr_seg', 'train', '--output', 'run', *pairs))


def _check_tests(words: Sequence[str], script: str) -> str:
    for word in words:
        if word.startswith('--hypothesis-profile='):
            profiles = (ROOT / 'test/conftest.py').read_text(encoding='utf-8')
            known = f"register_profile('{word.partition('=')[2]}'" in profiles
        elif word.startswith('test/'):
            known = (ROOT / word.partition('::')[0]).exists()
        else:
            known = not word.startswith('--') or word in script
        if not known:
            return f'scripts/test does not know {word}'
    return ''
