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

"""Surroundings of the tests with real ROS 2: own domain, own context, or skipped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
import os
from pathlib import Path
from typing import Any

import pytest

from uhr_seg_ros.replay.environment import reserve_domain

# Every test process talks on a domain of its own, and nobody talks to the network.
os.environ['ROS_DOMAIN_ID'] = str(reserve_domain())
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
os.environ['ROS_LOCALHOST_ONLY'] = '1'  # the name that Humble knows


@pytest.fixture(scope='session', autouse=True)
def _ros_log_directory(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ['ROS_LOG_DIR'] = str(tmp_path_factory.mktemp('ros_log'))


@pytest.fixture
def context() -> Iterator[Any]:
    """Return a ROS context of this test alone."""
    import rclpy
    from rclpy.context import Context

    context = Context()
    rclpy.init(context=context)
    yield context
    context.try_shutdown()


@pytest.fixture
def make_stage(
    context: Any, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Any]]:
    """
    Return a function that starts the node with some parameters, beside a node that watches.

    Diagnostics come ten times as often as usual, as most tests wait for a counter.
    """
    from stage import Stage

    monkeypatch.setattr('uhr_seg_ros.ros.node.DIAGNOSTICS_PERIOD_S', 0.1)
    with ExitStack() as stages:

        def make(_cli_args: list[str] | None = None, **parameters: Any) -> Stage:
            usual = {'bundle': str(tiny_bundle), 'backend': 'onnxruntime'}
            parameters = {**usual, **parameters}
            return stages.enter_context(Stage(context, parameters, _cli_args))

        yield make


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a gate that holds engines up while it is closed; open at the end of the test."""
    from gate import Gate

    from uhr_seg_ros.backends.onnxruntime import OnnxRuntimeBackend

    gate, open_graph = Gate(), OnnxRuntimeBackend.open
    monkeypatch.setattr(OnnxRuntimeBackend, 'open', lambda *args: gate.hold(open_graph(*args)))
    yield gate
    gate.open()
