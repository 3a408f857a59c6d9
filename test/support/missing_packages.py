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
Skip what needs packages that rosdep has no key for, and say which one is missing.

`colcon test` runs with what package.xml names: a module of tests, or a test, that gets as far as
an import which fails is skipped there. Where everything is installed, nothing is.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
import re
import sys
from typing import Any

import pytest

#: Top-level modules that a robot, or a machine without ROS 2, may lack. Not those that rosdep
#: installs everywhere: without one of these, tests fail.
OPTIONAL = frozenset(
    (
        'apsw',
        'backports',
        'builtin_interfaces',
        'cv_bridge',
        'diagnostic_msgs',
        'geometry_msgs',
        'hypothesis',
        'lifecycle_msgs',
        'lz4',
        'nav_msgs',
        'onnx',
        'onnxruntime',
        'PIL',
        'pyogrio',
        'rasterio',
        'rcl_interfaces',
        'rclpy',
        'rosbags',
        'rosgraph_msgs',
        'sensor_msgs',
        'shapely',
        'simplejpeg',
        'skimage',
        'sklearn',
        'std_msgs',
        'threadpoolctl',
        'tifffile',
        'torch',
        'transformers',
    )
)


def is_missing(name: str) -> bool:
    """Return whether a module belongs to a package that may be missing, and is."""
    package = name.partition('.')[0]
    if package not in OPTIONAL:
        return False
    return sys.modules.get(package, ...) is None or find_spec(package) is None


def missing_package(error: BaseException | None) -> str:
    """Return the missing package that an error, or one that it came from, is about; or empty."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, ModuleNotFoundError) and is_missing(error.name or ''):
            return error.name.partition('.')[0]
        error = error.__cause__ or error.__context__
    return ''


def _skip(report: Any, where: tuple[str, int | None, str], package: str) -> None:
    path, line, _ = where
    report.outcome = 'skipped'
    report.longrepr = (path, (line or 0) + 1, f'Skipped: {package} is not installed')


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """Skip a module of tests one of whose imports is missing."""
    outcome = yield
    report = outcome.get_result()
    if not report.failed:
        return
    said = r"ModuleNotFoundError: (?:No module named|import of) '?([\w.]+)"
    names = re.findall(said, str(report.longrepr))
    if names and is_missing(names[-1]):
        _skip(report, (collector.nodeid, None, ''), names[-1].partition('.')[0])


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Iterator[None]:
    """Skip a test that imports what is missing while it runs."""
    outcome = yield
    package = missing_package(call.excinfo.value) if call.excinfo is not None else ''
    if package:
        _skip(outcome.get_result(), item.location, package)
