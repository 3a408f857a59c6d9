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

"""The package as colcon, pip and a stranger find it."""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path
import re
import runpy
import subprocess
import sys
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'uhr_seg_ros'

# Put together here, so that this file does not find itself.
FOREIGN = re.compile(
    '|'.join(
        [
            r'files\.python' + r'hosted',
            r'(?<![\w.])pypi' + r'\.org',
            r'download\.py' + r'torch',
            r'extra-index' + r'-url',
            r'/work' + r'/',
            r'/root' + r'/',
            r'/home' + r'/\w',
        ]
    )
)
BINARY = {'.onnx', '.npz', '.png', '.jpg', '.mcap', '.db3'}


@pytest.fixture(scope='module')
def recipe() -> dict[str, Any]:
    """Return the arguments of setup()."""
    setuptools = pytest.importorskip('setuptools', reason='setuptools is not installed')
    arguments: dict[str, Any] = {}
    original, here = setuptools.setup, Path.cwd()
    setuptools.setup = lambda **given: arguments.update(given)
    os.chdir(ROOT)
    try:
        runpy.run_path('setup.py')
    finally:
        setuptools.setup = original
        os.chdir(here)
    return arguments


@pytest.fixture(scope='module')
def manifest() -> ElementTree.Element:
    """Return the root of package.xml."""
    return ElementTree.parse(ROOT / 'package.xml').getroot()


def own_files() -> list[Path]:
    """List the files of the project: what git tracks or would track, else what is here."""
    command = ['git', 'ls-files', '--cached', '--others', '--exclude-standard']
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]
    folders = (
        'config',
        'docs',
        'launch',
        'models',
        'resource',
        'scripts',
        'test',
        'tools',
        PACKAGE.name,
    )
    inside = [file for folder in folders for file in (ROOT / folder).rglob('*') if file.is_file()]
    outside = [file for file in ROOT.glob('*.*') if file.is_file()]
    return [*outside, *(file for file in inside if '__pycache__' not in file.parts)]


def test_manifest_and_recipe_agree(manifest: ElementTree.Element, recipe: dict[str, Any]) -> None:
    assert manifest.get('format') == '3'
    assert manifest.findtext('name') == recipe['name'] == 'uhr_seg_ros'
    assert manifest.findtext('version') == recipe['version']
    assert manifest.findtext('license') == recipe['license'] == 'Apache-2.0'
    maintainer = manifest.find('maintainer')
    assert maintainer.text == recipe['maintainer']
    assert maintainer.get('email') == recipe['maintainer_email']
    assert manifest.findtext('export/build_type') == 'ament_python'


def test_version_is_the_same_everywhere(recipe: dict[str, Any]) -> None:
    import uhr_seg_ros

    assert uhr_seg_ros.__version__ == recipe['version']
    headings = re.findall(r'^(\d+\.\d+\.\d+) \(', (ROOT / 'CHANGELOG.rst').read_text(), re.M)
    assert headings[0] == recipe['version']


def test_manifest_names_rosdep_keys(manifest: ElementTree.Element) -> None:
    kinds = {'depend', 'build_depend', 'exec_depend', 'test_depend'}
    keys = [element.text for element in manifest if element.tag in kinds]
    assert len(keys) == len(set(keys))
    assert all(re.fullmatch('[a-z][a-z0-9_-]*', key) for key in keys)
    # What the public database had for each distribution when a key was added.
    known = json.loads((ROOT / 'test/data/rosdep_keys.json').read_text())
    for key in keys:
        assert known['keys'][key] == ['humble', 'jazzy', 'kilted', 'lyrical', 'rolling'], key
    # Where rosdep would call pip, only who asks for it gets that, and bloom never does.
    asked = {element.text for element in manifest if element.get('condition')}
    assert asked == set(known['from pip']) & set(keys)
    # The names of the wheels are no rosdep keys.
    assert not {'opencv-python', 'opencv-python-headless', 'numpy', 'pyyaml'} & set(keys)


def test_messages_that_the_node_imports_are_dependencies(manifest: ElementTree.Element) -> None:
    keys = {element.text for element in manifest if element.tag.endswith('depend')}
    files = [*PACKAGE.glob('ros/**/*.py'), *PACKAGE.glob('benchmark/*.py')]
    imported = set().union(*map(imports, files))
    messages = {name for name in imported if name.endswith(('_msgs', '_interfaces', 'rclpy'))}
    assert {'sensor_msgs', 'rclpy'} <= messages <= keys
    # The Python module tf2_ros is in the package tf2_ros_py.
    assert {'tf2_ros', 'sensor_msgs_py'} <= imported
    assert {'tf2_ros_py', 'sensor_msgs_py'} <= keys


def test_every_data_file_is_installed(recipe: dict[str, Any]) -> None:
    installed = {name for _, names in recipe['data_files'] for name in names}
    expected = {'LICENSE', 'package.xml', 'resource/uhr_seg_ros'}
    for folder in ('config', 'launch', 'models'):
        files = (ROOT / folder).rglob('*')
        expected |= {
            str(file.relative_to(ROOT))
            for file in files
            if file.is_file() and '__pycache__' not in file.parts
        }
    assert installed == expected
    folders = dict(recipe['data_files'])
    assert folders['share/uhr_seg_ros/config/dds'] == [
        'config/dds/cyclonedds_large_images.xml',
        'config/dds/fastdds_large_images.xml',
        'config/dds/fastdds_localhost.xml',
    ]


def test_every_package_is_installed(recipe: dict[str, Any]) -> None:
    folders = {file.parent for file in PACKAGE.rglob('*.py')}
    assert {folder.relative_to(ROOT).as_posix().replace('/', '.') for folder in folders} == set(
        recipe['packages']
    )


def test_entry_points_exist(recipe: dict[str, Any]) -> None:
    for line in recipe['entry_points']['console_scripts']:
        module, _, function = line.partition(' = ')[2].partition(':')
        path = ROOT / (module.replace('.', '/') + '.py')
        names = [
            node.name
            for node in ast.parse(path.read_text(encoding='utf-8')).body
            if isinstance(node, ast.FunctionDef)
        ]
        assert function in names, line


def test_everything_that_is_installed_is_pinned(recipe: dict[str, Any]) -> None:
    text = (ROOT / 'constraints.txt').read_text(encoding='utf-8').replace(' \\\n', '')
    pins = []
    for line in (line for line in text.splitlines() if line and line[0] != '#'):
        pin, *hashes = re.split(' +--hash=', line)
        pins.append(pin.partition(';')[0].strip())
        assert re.fullmatch(r'[\w.-]+==[\w.]+', pins[-1])
        # Of torch there are builds for CPU and CUDA, from several indexes.
        assert bool(hashes) == (not pin.startswith('torch=='))
        assert all(re.fullmatch('sha256:[0-9a-f]{64}', each) for each in hashes), line
    pinned = {pin.partition('==')[0].lower() for pin in pins}
    extras = [name for names in recipe['extras_require'].values() for name in names]
    for requirement in (*recipe['install_requires'], *extras):
        assert re.match(r'[\w.-]+', requirement)[0].lower() in pinned, requirement


def test_no_file_knows_a_registry_or_a_machine() -> None:
    found = []
    for file in own_files():
        if file.suffix not in BINARY and file.stat().st_size < 1 << 20:
            text = file.read_text(encoding='utf-8', errors='ignore')
            found += [f'{file.relative_to(ROOT)}: {match[0]}' for match in FOREIGN.finditer(text)]
    assert not found


def test_every_source_file_has_the_license_header() -> None:
    """The form that ament_copyright accepts, which this file has."""
    header = Path(__file__).read_text(encoding='utf-8').partition('\n\n')[0].splitlines()
    assert header[2] == '# Licensed under the Apache License, Version 2.0 (the "License");'
    headless = []
    for file in own_files():
        if file.suffix == '.py':
            lines = file.read_text(encoding='utf-8').splitlines()[: len(header)]
            if lines != header:
                headless.append(str(file.relative_to(ROOT)))
    assert not headless


@pytest.mark.parametrize(
    'module', ['pipelines.segmenter', 'core.visualization', 'cli.main', 'cli.segment']
)
def test_run_time_does_without_the_workshop(module: str) -> None:
    assert imported_beside(f'uhr_seg_ros.{module}', 'torch', 'onnx', 'rclpy') == []


@pytest.mark.parametrize('module', ['ros.node', 'cli.demo', 'replay.player', 'cli.benchmark'])
def test_node_and_demo_do_without_the_workshop(module: str) -> None:
    pytest.importorskip('rclpy', reason='rclpy is not installed')
    pytest.importorskip('rosbags', reason='recordings are read with it')
    assert imported_beside(f'uhr_seg_ros.{module}', 'torch', 'onnx') == []


@pytest.mark.parametrize(
    'room',
    [
        'core',
        'image_io',
        'geometry',
        'synthetic',
        'onnx_graphs',
        'backends',
        'pipelines',
        'networks',
        'export',
        'data',
        'training',
        'evaluation',
        'quantization',
        'comparison',
        'reports',
    ],
)
def test_only_ros_and_benchmark_know_ros(room: str) -> None:
    path = PACKAGE / room
    for file in path.rglob('*.py') if path.is_dir() else [path.with_suffix('.py')]:
        assert not imports(file) & {'rclpy', 'sensor_msgs', 'std_msgs', 'diagnostic_msgs'}, file


def imports(file: Path) -> set[str]:
    """List the top-level packages that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition('.')[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition('.')[0])
    return names


def test_models_are_whole() -> None:
    from uhr_seg_ros.core.bundle import load_bundle

    folders = [file.parent for file in (ROOT / 'models').glob('*/model.yaml')]
    assert 'hlrc_s_aerial' in {folder.name for folder in folders}
    for folder in folders:
        assert load_bundle(folder).name == folder.name
        assert (folder / 'README.md').is_file()


def imported_beside(module: str, *unwanted: str) -> list[str]:
    """Import a module in a fresh interpreter; give those that came with it but should not."""
    code = f'import sys, {module}; print([name for name in {unwanted} if name in sys.modules])'
    result = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return ast.literal_eval(result.stdout)


@pytest.mark.parametrize('name', ['drone', 'vehicle'])
def test_parameter_files_name_parameters_of_the_node(name: str) -> None:
    pytest.importorskip('rclpy', reason='rclpy is not installed')
    from uhr_seg_ros.ros.parameters.settings import SPECS

    specs = {spec.name: spec for spec in SPECS}
    content = yaml.safe_load((ROOT / f'config/{name}.yaml').read_text(encoding='utf-8'))
    values = dict(flattened(content['/**']['ros__parameters']))
    for key, value in values.items():
        assert type(value) is type(specs[key].default), key
        assert not specs[key].choices or value in specs[key].choices
        if specs[key].limits:
            assert specs[key].limits[0] <= value <= specs[key].limits[1]
    from_launch = {'bundle', 'camera_view', 'backend', 'cameras'}
    assert set(values) == set(specs) - from_launch


@pytest.mark.parametrize(
    ('name', 'camera', 'seen'),
    [
        ('vehicle', 'front', (1.2 + 10.0, 0.0, -0.4)),
        ('vehicle', 'rear', (-1.5 - 10.0, 0.0, -0.4)),
        ('drone', '', (0.0, 0.0, -0.1 - 10.0)),
    ],
)
def test_poses_shown_in_parameter_files(name: str, camera: str, seen: tuple[float, ...]) -> None:
    """What the text says lies 10 m before the camera is in the middle of its image."""
    pytest.importorskip('rclpy', reason='rclpy is not installed')
    from uhr_seg_ros.geometry.transform import Transform
    from uhr_seg_ros.ros.parameters.extrinsics import extrinsic_specs

    text = (ROOT / f'config/{name}.yaml').read_text(encoding='utf-8')
    keys = 'front|rear|camera_frame|points_frame|translation|quaternion'
    shown = re.sub(rf'^( +)# (?= *(?:{keys}):)', r'\1', text, flags=re.MULTILINE)
    values = dict(flattened(yaml.safe_load(shown)['/**']['ros__parameters']))
    specs = extrinsic_specs(camera)
    assert [type(values[spec.name]) for spec in specs] == [str, str, list, list]
    translation, quaternion = (values[spec.name] for spec in specs[2:])
    pose = Transform.of_quaternion(translation, quaternion)
    point = np.array([seen, (seen[0], seen[1], seen[2] + 1.0)])
    (x, _), (y, above), (z, _) = pose.apply(point)
    assert (x, y, z) == pytest.approx((0.0, 0.0, 10.0), abs=1e-3)
    # One metre up is up in the vehicle's images, where y points down; the drone's looks along it.
    assert above == pytest.approx(0.0 if name == 'drone' else -1.0, abs=1e-3)


def flattened(tree: dict[str, Any], prefix: str = '') -> list[tuple[str, Any]]:
    """Return the leaves of nested parameters under their dotted names."""
    leaves = []
    for key, value in tree.items():
        below = flattened(value, f'{prefix}{key}.') if isinstance(value, dict) else None
        leaves += [(prefix + key, value)] if below is None else below
    return leaves


@pytest.mark.parametrize('name', ['fastdds_large_images', 'fastdds_localhost'])
def test_dds_profiles_hold_large_images(name: str) -> None:
    root = ElementTree.parse(ROOT / f'config/dds/{name}.xml').getroot()
    space = {'dds': 'http://www.eprosima.com'}
    frame = 3840 * 2160 * 3
    assert int(root.findtext('.//dds:segment_size', namespaces=space)) >= 4 * frame
    fragments = 7680 * 4320 * 3 / 65536
    assert int(root.findtext('.//dds:port_queue_capacity', namespaces=space)) > 4 * fragments
    assert root.findtext('.//dds:useBuiltinTransports', namespaces=space) == 'false'
    whitelist = [element.text for element in root.findall('.//dds:address', space)]
    assert whitelist == (['127.0.0.1'] if name == 'fastdds_localhost' else [])


def test_cyclone_profile_sends_large_fragments() -> None:
    root = ElementTree.parse(ROOT / 'config/dds/cyclonedds_large_images.xml').getroot()
    space = {'c': 'https://cdds.io/config'}
    message, fragment = (
        int(root.findtext(f'.//c:{name}', namespaces=space).removesuffix('B'))
        for name in ('MaxMessageSize', 'FragmentSize')
    )
    assert 2**15 < fragment < message <= 65507  # what a UDP datagram over IPv4 holds
    buffer = root.find('.//c:SocketReceiveBufferSize', space)
    # A minimum that the kernel does not allow would keep every process from starting.
    assert 'min' not in buffer.attrib
    assert int(buffer.get('max').removesuffix('MB')) * 10**6 > 2 * 3840 * 2160 * 3


def rviz_displays(name: str) -> list[dict[str, Any]]:
    """Return the displays of an rviz layout that show a topic."""
    content = yaml.safe_load((ROOT / f'config/{name}.rviz').read_text(encoding='utf-8'))
    return [each for each in content['Visualization Manager']['Displays'] if 'Topic' in each]


def test_rviz_shows_topics_of_the_node() -> None:
    topics = {display['Name']: display['Topic']['Value'] for display in rviz_displays('drone')}
    assert topics == {
        'Camera': 'image_raw',
        'Overlay': 'segmentation/overlay',
        'Colour mask': 'segmentation/color_mask',
        'Diagnostics': 'segmentation/diagnostics_image',
    }


def test_rviz_shows_points_of_the_vehicle() -> None:
    displays = rviz_displays('vehicle')
    topics = {display['Name']: display['Topic']['Value'] for display in displays}
    assert topics == {
        'Front points': 'segmentation/front/points',
        'Rear points': 'segmentation/rear/points',
        'Front overlay': 'segmentation/front/overlay',
        'Rear overlay': 'segmentation/rear/overlay',
        'Diagnostics': 'segmentation/diagnostics_image',
    }
    clouds = [each for each in displays if each['Class'].endswith('PointCloud2')]
    assert [each['Color Transformer'] for each in clouds] == ['RGB8', 'RGB8']


@pytest.mark.parametrize('name', ['drone', 'vehicle'])
def test_rviz_expands_displays_and_docks_that_exist(name: str) -> None:
    content = yaml.safe_load((ROOT / f'config/{name}.rviz').read_text(encoding='utf-8'))
    displays = content['Visualization Manager']['Displays']
    expanded = content['Panels'][0]['Property Tree Widget']['Expanded']
    names = {f'/{display["Name"]}1' for display in displays}
    assert set(expanded) <= {*names, '/Global Options1'}
    images = {each['Name'] for each in displays if each['Class'].endswith('/Image')}
    assert images <= set(content['Window Geometry'])
