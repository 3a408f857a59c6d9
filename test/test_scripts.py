# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""The scripts: valid shell, and plain words about what is missing."""

from __future__ import annotations

import os
from pathlib import Path
import shutil
import subprocess

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ('scripts/setup', 'scripts/demo', 'scripts/test', '.ci/run')


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Give a folder with what scripts/setup needs, and no environment."""
    (tmp_path / 'scripts').mkdir()
    for name in ('scripts/setup', 'setup.py', 'setup.cfg', 'constraints.txt'):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def python_that(path: Path, *, says: str, fails_on: str) -> Path:
    """Write a stand-in for an interpreter that fails on commands with a certain word."""
    path.write_text(
        f'#!/bin/sh\ncase "$*" in *"{fails_on}"*) exit 1;; *--version*) echo "{says}";; '
        '*print*version_info*) echo 3.12;; esac\n'
    )
    path.chmod(0o755)
    return path


def set_up(clone: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ['bash', str(clone / 'scripts/setup'), *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize('name', SCRIPTS)
def test_shell_syntax(name: str) -> None:
    assert os.access(ROOT / name, os.X_OK)
    subprocess.run(['bash', '-n', str(ROOT / name)], check=True)


def test_python_too_old(clone: Path) -> None:
    old = python_that(clone / 'old', says='Python 3.8.10', fails_on='3, 10')
    result = set_up(clone, 'run', PYTHON=str(old))
    assert result.returncode == 1
    assert 'Python 3.10 to 3.13 is needed, found: Python 3.8.10' in result.stderr


def test_no_venv_module(clone: Path) -> None:
    bare = python_that(clone / 'bare', says='Python 3.12.3', fails_on='ensurepip')
    result = set_up(clone, 'run', PYTHON=str(bare), ROS_DISTRO='')
    assert result.returncode == 1
    assert 'sudo apt install python3.12-venv' in result.stderr


def test_unknown_argument(clone: Path) -> None:
    result = set_up(clone, 'everything')
    assert result.returncode == 1
    assert "unknown argument 'everything': expected run or test" in result.stderr
