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

"""Fixtures shared by all tests."""

from __future__ import annotations

from collections.abc import Iterator
import fcntl
from functools import lru_cache
import gc
from importlib import import_module
from importlib.util import find_spec
import logging
import os
from pathlib import Path
import signal
import subprocess
import sys

import pytest

# Here and not in setup.cfg, since pytest of Ubuntu 22.04 has no setting for it.
TEST = Path(__file__).parent
sys.path[:0] = [str(TEST.parent), str(TEST / 'support')]
from missing_packages import pytest_make_collect_report, pytest_runtest_makereport  # noqa: F401
from small_disk import SmallDisk

try:
    from hypothesis import HealthCheck, settings
except ModuleNotFoundError:  # then tests with generated input skip
    settings = None

if os.environ.get('UHR_SEG_TEST_WITHOUT_TORCH'):  # scripts/test --no-torch
    sys.modules.update(dict.fromkeys(('torch', 'transformers')))

if find_spec('launch_ros') is not None:
    # All loggers from then on would keep to themselves, and log what they else leave out: tests of
    # what is logged see nothing, or too much.
    import_module('launch.logging')
    logging.setLoggerClass(logging.Logger)
    logging.root.setLevel(logging.WARNING)

import uhr_seg_ros  # noqa: F401 - before any test imports onnxruntime, whose telemetry it stops

if settings is not None:
    usual = {'deadline': None, 'database': None, 'suppress_health_check': list(HealthCheck)}
    settings.register_profile('default', max_examples=100, derandomize=True, **usual)
    settings.register_profile('all', max_examples=300, derandomize=True, **usual)  # --all
    settings.register_profile('long', max_examples=40_000, **usual)
    settings.load_profile('default')


def pytest_configure() -> None:
    """Let Ctrl-C end tests, and what they start, where the suite runs behind a shell's `&`."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Give slow tests half an hour: several of them may share a busy machine.

    `colcon test` leaves them out, as `scripts/test` does.
    """
    left_out = pytest.mark.skip(reason='slow: with `bash scripts/test --all`')
    for item in items:
        if item.get_closest_marker('slow') and os.environ.get('COLCON') == '1':
            item.add_marker(left_out)
        if item.get_closest_marker('slow') and not item.get_closest_marker('timeout'):
            item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(autouse=True)
def _one_large_test_at_a_time(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Let tests with the marker `large` wait for each other: two of them may take all memory."""
    if not request.node.get_closest_marker('large'):
        yield
        return
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if os.environ.get('PYTEST_XDIST_WORKER') else own
    with (shared / 'large.lock').open('w') as lock:  # closing it lets the next one in
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
        gc.collect()


def pytest_collection_finish() -> None:
    """
    Take what was imported and collected out of every later search for garbage.

    These are some million objects that live to the end, and tests with a node search each time.
    """
    gc.collect()
    gc.freeze()
    # What tests make and drop is searched for less often: it took a twentieth of the time.
    gc.set_threshold(10_000, 10, 10)
    # PyTorch has some fifty loggers that keep to themselves: pytest attaches to each of them for
    # each phase of each test.
    for name, logger in logging.Logger.manager.loggerDict.items():
        if name.partition('.')[0] == 'torch' and isinstance(logger, logging.Logger):
            logger.propagate = True


@pytest.fixture(autouse=True)
def _environment_stays() -> Iterator[None]:
    """Undo what `isolate` sets for child processes."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope='session', autouse=True)
def _memory_is_not_measured() -> Iterator[None]:
    """
    Let exports in this process take a fixed figure for the memory of a pixel.

    Measuring takes two processes and seconds, and there are dozens of exports. For real it is done
    by `test_a_script_without_guard_can_measure_memory`.
    """
    from uhr_seg_ros.backends import memory_profile

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            memory_profile,
            '_in_new_process',
            lambda bundle, precision, height, width: (
                50_000_000 + (60 if precision == 'int8' else 50) * height * width
            ),
        )
        yield


@pytest.fixture(scope='session', autouse=True)
def _engines_have_one_thread() -> Iterator[None]:
    """
    Open engines in this process with one thread, as OMP_NUM_THREADS does for everything else.

    Threads of ONNX Runtime spin while they wait, which takes the cores away from other workers.
    The processes that tests start have as many as a user's.
    """
    from uhr_seg_ros.backends import registry

    modules = [registry]
    if find_spec('onnxruntime') is not None:  # else only what opens an engine skips
        for name in ('backends.onnxruntime', 'pipelines.two_branch'):
            modules.append(import_module(f'uhr_seg_ros.{name}'))
    with pytest.MonkeyPatch.context() as patch:
        for module in modules:
            patch.setattr(module, 'available_cores', lambda: 1)
        yield


@pytest.fixture(scope='session', autouse=True)
def _kernels_are_compiled_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let workers of pytest-xdist, and processes of tests, share kernels compiled for the CPU."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if 'PYTEST_XDIST_WORKER' in os.environ else root
    os.environ['UHR_SEG_TEST_KERNELS'] = str(root / 'host_kernels')


@pytest.fixture
def hostile_folder(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Go to a folder of modules with common names, none of which may be run by what is tested."""
    folder = tmp_path_factory.mktemp('hostile')
    for name in (
        'argparse',
        'cv2',
        'json',
        'matplotlib',
        'numpy',
        'onnxruntime',
        'psutil',
        'rclpy',
        'torch',
        'yaml',
    ):
        (folder / f'{name}.py').write_text('open(f"{__file__}.ran", "w").close()\n')
    monkeypatch.chdir(folder)
    yield folder
    assert not [file.name for file in folder.glob('*.ran')]


@pytest.fixture(scope='session', autouse=True)
def _verification_scene_is_generated_once() -> Iterator[None]:
    """Let engines be compared on the same scene each time, which takes a third of a second."""
    from uhr_seg_ros.pipelines import verification

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verification, 'generate_scene', lru_cache(verification.generate_scene))
        yield


@pytest.fixture(scope='session')
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the tiny bundle; tests must not write into it."""
    pytest.importorskip('onnxruntime', reason='the tiny bundle is run by it')
    from tiny_bundle import make_tiny_bundle

    return make_tiny_bundle(tmp_path_factory.mktemp('bundles') / 'tiny')


@pytest.fixture(scope='session')
def far_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle whose detail branch sees all of its tile: other tiles, another mask."""
    pytest.importorskip('onnx', reason='the tiny bundle is made with onnx')
    from built_once import built_once
    from tiny_bundle import make_tiny_bundle

    return built_once(
        tmp_path_factory, 'far', lambda path: make_tiny_bundle(path, sees_whole_tile=True)
    )


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[SmallDisk]:
    """Return a disk of 256 KB, or as many as it is parametrized by; skip where none is mounted."""
    try:
        disk = SmallDisk(tmp_path / 'disk', getattr(request, 'param', 256))
    except (OSError, subprocess.CalledProcessError) as err:
        pytest.skip(f'a small disk cannot be mounted here: {err}')
    yield disk
    disk.close()
