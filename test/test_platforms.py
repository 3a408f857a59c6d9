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

"""What the documentation claims to run on is what the code claims, in one place."""

from __future__ import annotations

import json
from pathlib import Path
import re

import pytest
import yaml

from uhr_seg_ros.backends.tensorrt.api import OLDEST
from uhr_seg_ros.core.gpu import MIN_CAPABILITY

ROOT = Path(__file__).parents[1]
PAGE = ROOT / 'docs/platforms.md'
COLUMNS = ['machine', 'Ubuntu', 'Python', 'ROS 2', 'TensorRT', 'CUDA', 'run there']
#: Versions whose real bindings `test_tensorrt_names.py` compares the code with.
KNOWN = json.loads((ROOT / 'test/data/tensorrt_api.json').read_text())


@pytest.fixture(scope='module')
def rows() -> list[dict[str, str]]:
    """Return the table of docs/platforms.md."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith('|')]
    cells = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]
    start = cells.index(COLUMNS)
    table = cells[start + 2 :]
    return [dict(zip(COLUMNS, row, strict=True)) for row in table if len(row) == len(COLUMNS)]


def versions(text: str) -> list[tuple[int, ...]]:
    """List the versions in a text, such as 3.10."""
    return [tuple(map(int, found.split('.'))) for found in re.findall(r'\d+\.\d+', text)]


def test_every_python_is_one_that_the_package_installs_for(rows: list[dict[str, str]]) -> None:
    required = re.search(r"python_requires='>=([\d.]+)'", (ROOT / 'setup.py').read_text())
    assert required is not None
    (oldest,) = versions(required[1])
    for row in rows:
        assert min(versions(row['Python'])) >= oldest, row


def test_every_tensorrt_is_one_whose_names_are_known(rows: list[dict[str, str]]) -> None:
    plain = {versions(name)[0] for name in KNOWN if not name.startswith('rtx')}
    for row in rows:
        claimed = [each for each in versions(row['TensorRT'].replace('7.2.2', ''))]
        if 'for RTX' in row['TensorRT']:
            assert min(claimed) == OLDEST['TensorRT-RTX']
            assert max(claimed) == versions(next(name for name in KNOWN if name[0] == 'r'))[0]
        else:
            assert set(claimed) <= plain, row
    assert OLDEST['TensorRT'] in plain


def test_the_oldest_gpu(rows: list[dict[str, str]]) -> None:
    said = (ROOT / 'docs/tensorrt.md').read_text()
    assert 'Compute capability {}.{} '.format(*MIN_CAPABILITY) in said
    assert len(rows) >= 6


def test_containers_have_the_ros_of_their_machine(rows: list[dict[str, str]]) -> None:
    services = yaml.safe_load((ROOT / 'docker/compose.yaml').read_text())['services']
    ros = {row['machine']: row['ROS 2'] for row in rows}
    for version in '67':
        (expected,) = {ros[name] for name in ros if name.startswith(f'JetPack {version}.')}
        arguments = services[f'jetpack{version}']['build']['args']
        assert arguments['ROS_DISTRO'] == expected.lower()
        assert arguments['FLAVOR'] == 'nvidia'
    for name, service in services.items():
        assert (ROOT / 'docker' / service['build']['context'] / 'package.xml').is_file(), name
        assert name == 'foxglove' or service['profiles'] == [name]


def test_workflow_tests_the_distributions_of_the_table(rows: list[dict[str, str]]) -> None:
    jobs = yaml.safe_load((ROOT / '.github/workflows/ci.yaml').read_text())['jobs']
    tested = set(jobs['ros']['strategy']['matrix']['distribution'])
    claimed = {name.lower() for row in rows for name in row['ROS 2'].split(', ')}
    assert tested == claimed - {'as wheels'}
    pythons = {each['python'] for each in jobs['wheels']['strategy']['matrix']['include']}
    (wheels,) = (row for row in rows if row['ROS 2'] == 'as wheels')
    oldest, newest = re.findall(r'3\.\d+', wheels['Python'])
    assert {oldest, newest} == {min(pythons), max(pythons)}


def test_nothing_else_claims_a_jetpack() -> None:
    """One place says which; the others name JetPack without a version, or the oldest one."""
    claims = []
    for folder in (
        'docs',
        'uhr_seg_ros',
        'config',
        'launch',
        'models',
        'tools',
        'scripts',
        '.github',
    ):
        for path in (ROOT / folder).rglob('*'):
            if path.suffix in ('.md', '.py', '.yaml', '.cu', '') and path.is_file():
                text = path.read_text(encoding='utf-8', errors='replace')
                found = re.findall(r'JetPack \d[\d.]*(?! or newer)|Xavier', text)
                claims += [f'{path}: {claim}' for claim in found if path != PAGE]
    claims += re.findall(r'JetPack \d[\d.]*|Xavier', (ROOT / 'README.md').read_text())
    assert claims == []


@pytest.mark.parametrize('name', ['launch_testing', 'launch_ros'])
def test_no_module_that_skips_ends_the_collection_of_all(
    name: str, pytestconfig: pytest.Config
) -> None:
    """With the plug-ins that ROS installs, `colcon test` once took 1 test of 4102."""
    assert pytestconfig.pluginmanager.is_blocked(name)
