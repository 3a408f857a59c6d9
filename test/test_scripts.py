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

"""The scripts: valid, executable, and plain about what is missing."""

from __future__ import annotations

import os
from pathlib import Path
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = [
    'scripts/setup',
    'scripts/demo',
    'scripts/docs',
    'scripts/first_hour',
    'scripts/test',
    'scripts/train_on_gpu',
    'scripts/reliability',
    '.ci/run',
]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Make a clone without an environment, with a folder for programs in front of PATH."""
    folder = tmp_path / 'clone'
    (folder / 'programs').mkdir(parents=True)
    shutil.copytree(ROOT / 'scripts', folder / 'scripts')
    for name in ('setup.py', 'setup.cfg', 'constraints.txt'):
        shutil.copy(ROOT / name, folder)
    return folder


def program(clone: Path, name: str, text: str) -> None:
    file = clone / 'programs' / name
    file.write_text(f'#!/bin/sh\n{text}\n')
    file.chmod(0o755)


def run_setup(clone: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    own = {'PATH': f'{clone}/programs:/usr/bin:/bin', 'HOME': os.environ.get('HOME', '/')}
    return subprocess.run(
        ['bash', 'scripts/setup', *arguments],
        cwd=clone,
        env={**own, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize('name', SCRIPTS)
def test_script_is_valid_and_executable(name: str) -> None:
    subprocess.run(['bash', '-n', ROOT / name], check=True)
    assert os.access(ROOT / name, os.X_OK)
    text = (ROOT / name).read_text(encoding='utf-8')
    assert text.startswith('#!/usr/bin/env bash\n')
    assert 'set -euo pipefail' in text


def test_python_that_is_too_old(clone: Path) -> None:
    program(clone, 'old', 'case "$*" in --version) echo "Python 3.8.10" ;; *) exit 1 ;; esac')
    result = run_setup(clone, 'run', PYTHON='old')
    assert result.returncode == 1
    assert 'Python 3.10 to 3.14 is needed, found: Python 3.8.10' in result.stderr
    assert f'{clone}/programs/old' in result.stderr


def test_no_python_at_all(clone: Path) -> None:
    result = run_setup(clone, 'run', PYTHON='no_such_python')
    assert result.returncode == 1
    assert 'found: none' in result.stderr


def test_environment_keeps_its_interpreter(clone: Path) -> None:
    for name in ('python3', 'python3.10', 'python3.11', 'python3.12', 'python3.13', 'python3.14'):
        program(clone, name, 'exit 1')
    assert 'Python 3.10 to 3.14 is needed' in run_setup(clone, 'run').stderr
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', clone / '.venv'], check=True)
    program(clone, 'uname', 'echo aarch64')  # the next thing that it looks at
    assert 'for aarch64 there are no wheels of ROS 2' in run_setup(clone, 'run').stderr


def test_missing_venv_module_names_the_package(clone: Path) -> None:
    version = f'{sys.version_info[0]}.{sys.version_info[1]}'
    own = f'case "$*" in *ensurepip*) exit 1 ;; *) exec {sys.executable} "$@" ;; esac'
    program(clone, 'bare', own)
    result = run_setup(clone, 'run', PYTHON='bare')
    assert result.returncode == 1
    assert f'sudo apt install python{version}-venv' in result.stderr
    assert not (clone / '.venv').exists()


def test_full_disk_tells_how_much_is_needed(clone: Path) -> None:
    program(clone, 'df', 'echo "Filesystem MB"; echo "/dev/x 100 60 40 60% /"')
    result = run_setup(clone, 'run', PYTHON=sys.executable)
    assert result.returncode == 1
    assert 'has 40 MB free, the environment takes 1400 MB' in result.stderr


def test_machine_without_wheels_is_sent_to_ros(clone: Path) -> None:
    program(clone, 'uname', 'echo aarch64')
    result = run_setup(clone, 'run', PYTHON=sys.executable)
    assert result.returncode == 1
    assert 'for aarch64 there are no wheels of ROS 2' in result.stderr


def functions(*names: str) -> str:
    """Return functions of scripts/setup."""
    text = (ROOT / 'scripts/setup').read_text(encoding='utf-8')
    return '\n'.join(re.search(rf'^{name}\(\) {{\n.*?^}}', text, re.M | re.S)[0] for name in names)


def test_hashes_stay_with_their_pin(tmp_path: Path) -> None:
    constraints = tmp_path / 'constraints.txt'
    constraints.write_text(
        '# b==2\na==1 \\\n    --hash=sha256:1 \\\n    --hash=sha256:2\n'
        "b==1; python_version < '3.11' \\\n    --hash=sha256:3\nba==1\n"
        "b==2; python_version >= '3.11' \\\n    --hash=sha256:4\n"
    )
    lines = constraints.read_text().splitlines()

    def lines_of(*arguments: str) -> list[str]:
        script = f'set -euo pipefail\n{functions("lines_of")}\nlines_of "$@"'
        command = ['bash', '-c', script, 'setup', *arguments, str(constraints)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    assert lines_of('a') == lines[1:4]
    assert lines_of('b') == lines[4:6] + lines[7:]
    assert lines_of('--not', 'b|a') == [lines[0], lines[6]]


def test_pins_for_other_environments(clone: Path) -> None:
    lines = run_setup(clone, 'pins', PYTHON=sys.executable).stdout.splitlines()
    assert 'rosbags==0.11.9' in lines and 'PyYAML==6.0.3' in lines
    assert not any('--hash=' in line or line.endswith('\\') for line in lines)
    pytest.importorskip('rclpy', reason='rclpy is not installed')
    libraries = {
        name: os.environ[name] for name in ('LD_LIBRARY_PATH', 'PYTHONPATH') if name in os.environ
    }
    beside_ros = run_setup(clone, 'pins', PYTHON=sys.executable, ROS_DISTRO='any', **libraries)
    own = {f'numpy<{int(np.__version__.partition(".")[0]) + 1}'}
    left = set(lines) - set(beside_ros.stdout.splitlines())
    assert set(beside_ros.stdout.splitlines()) - set(lines) == own
    assert {re.match('[A-Za-z-]+', line)[0] for line in left} == {
        'numpy',
        'opencv-python-headless',
        'PyYAML',
        'setuptools',
    }


def test_requirements_are_those_of_the_extras() -> None:
    script = f'{functions("requirements")}\nvenv=$1; requirements "$2"'

    def wanted(extras: str) -> set[str]:
        command = ['bash', '-c', script, 'setup', sys.prefix, extras]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return set(done.stdout.splitlines())

    if not Path(sys.prefix, 'bin/python').is_file() or os.environ.get('COLCON') == '1':
        pytest.skip('no environment with the package is used')
    assert 'numpy>=1.21' in wanted('demo') & wanted('opencv')
    assert {'rosbags', 'matplotlib'} <= wanted('demo') - wanted('opencv')
    assert wanted('opencv') ^ wanted('opencv,workshop') >= {'torch', 'onnx'}
    assert not any(';' in each for each in wanted('demo,workshop,test'))


def test_unknown_argument(clone: Path) -> None:
    result = run_setup(clone, 'everything')
    assert result.returncode == 1
    assert "unknown argument 'everything': expected run, test-robot, test or pins" in result.stderr
