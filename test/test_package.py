# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""The package as a whole: manifests agree, rooms keep apart, nothing foreign is committed."""

from __future__ import annotations

import ast
from pathlib import Path
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
RUN_TIME = ('ros', 'segmenter', 'strategies', 'engines', 'bundle', 'drawing', 'timing')
WORKSHOP_LIBRARIES = {'torch', 'onnx', 'onnxscript', 'tqdm'}
ROS_LIBRARIES = {'rclpy', 'sensor_msgs', 'std_msgs', 'diagnostic_msgs', 'vision_msgs', 'cv_bridge'}


def imports(path: Path) -> set[str]:
    """Top-level names that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split('.')[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split('.')[0])
    return names


def files(room: str) -> list[Path]:
    path = ROOT / 'uhr_seg_ros' / room
    return sorted(path.rglob('*.py')) if path.is_dir() else [path.with_suffix('.py')]


def tracked() -> list[Path]:
    """Files of the clone; skips where the sources came without git."""
    if not (ROOT / '.git').exists():
        pytest.skip('not a git clone')
    output = subprocess.run(
        ['git', 'ls-files', '-z'], cwd=ROOT, capture_output=True, check=True, text=True
    ).stdout
    return [ROOT / name for name in output.split('\0') if name]


@pytest.mark.parametrize('room', RUN_TIME)
def test_the_run_time_imports_no_workshop(room: str) -> None:
    for path in files(room):
        assert not imports(path) & WORKSHOP_LIBRARIES, path


@pytest.mark.parametrize(
    'room', [*RUN_TIME[1:], 'networks', 'data', 'training', 'evaluation', 'classes', 'cli']
)
def test_only_ros_and_benchmark_know_ros(room: str) -> None:
    for path in files(room):
        assert not imports(path) & ROS_LIBRARIES, path


def test_the_segmenter_starts_without_torch() -> None:
    code = (
        'import sys; import uhr_seg_ros.segmenter, uhr_seg_ros.cli; '
        'sys.exit(any(name in sys.modules for name in ("torch", "rclpy")))'
    )
    assert subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=False).returncode == 0


def test_manifests_agree() -> None:
    package = ElementTree.parse(ROOT / 'package.xml').getroot()
    setup = (ROOT / 'setup.py').read_text(encoding='utf-8')
    assert package.get('format') == '3'
    assert package.findtext('name') == 'uhr_seg_ros'
    assert f"version='{package.findtext('version')}'" in setup
    assert package.findtext('export/build_type') == 'ament_python'
    from uhr_seg_ros import __version__  # noqa: PLC0415

    assert package.findtext('version') == __version__


def test_every_ros_import_is_a_dependency() -> None:
    package = ElementTree.parse(ROOT / 'package.xml').getroot()
    declared = {element.text for element in package if element.tag.endswith('depend')}
    used = set().union(*(imports(path) for path in files('ros')))
    assert used & (ROS_LIBRARIES | {'lifecycle_msgs', 'rcl_interfaces'}) <= declared


@pytest.mark.parametrize('name', ['drone.yaml', 'vehicle.yaml'])
def test_parameter_files_suit_any_namespace(name: str) -> None:
    content = yaml.safe_load((ROOT / 'config' / name).read_text(encoding='utf-8'))
    assert list(content) == ['/**']
    assert 'ros__parameters' in content['/**']


def test_models_are_whole() -> None:
    from uhr_seg_ros.bundle import load_bundle  # noqa: PLC0415

    folders = [path.parent for path in (ROOT / 'models').glob('*/model.yaml')]
    assert 'hlrc_s_aerial' in {folder.name for folder in folders}
    for folder in folders:
        assert load_bundle(folder).name == folder.name
        assert (folder / 'README.md').is_file()


def test_no_private_paths_or_registries() -> None:
    hosts = '|'.join(('pypi', 'pythonhosted', 'npmjs', 'debian'))
    foreign = re.compile(rf'/(?:work|root|home)/\w|\b(?:{hosts})\.org', re.IGNORECASE)
    for path in tracked():
        if path.suffix in ('.npz', '.onnx', '.jpg', '.png') or path == Path(__file__):
            continue
        found = foreign.search(path.read_text(encoding='utf-8'))
        assert found is None, f'{path}: {found}'


def test_every_source_file_names_its_licence() -> None:
    for path in tracked():
        if path.suffix == '.py' and path.stat().st_size:
            assert 'SPDX-License-Identifier: Apache-2.0' in path.read_text()[:200], path
