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

"""Replays keep to themselves: nobody else is in their domain."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.replay import environment
from uhr_seg_ros.replay.environment import reserve_domain

RESERVE = """
from uhr_seg_ros.replay.environment import reserve_domain
print(reserve_domain(), flush=True)
input()
"""


@pytest.fixture(autouse=True)
def _reservations_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, '_reservations', [])


def start_reserving() -> subprocess.Popen:
    command = [sys.executable, '-c', RESERVE]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_processes_take_different_domains() -> None:
    processes = [start_reserving() for _ in range(4)]
    domains = [int(process.stdout.readline()) for process in processes]
    domains.append(reserve_domain())  # while the others still hold theirs
    for process in processes:
        process.communicate('\n', timeout=20)
    assert len(set(domains)) == 5
    assert all(1 <= domain <= 100 for domain in domains)


def test_domain_of_a_running_participant_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment.os, 'getpid', lambda: 30)
    first = reserve_domain()
    environment._reservations.pop().close()
    assert reserve_domain() == first
    environment._reservations.pop().close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as participant:
        participant.bind(('127.0.0.1', 7410 + 250 * first))
        assert reserve_domain() != first


def test_no_free_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, '_bind', lambda _kind, _port: None)
    with pytest.raises(ConfigError, match='set ROS_DOMAIN_ID'):
        reserve_domain()


def test_domain_that_is_set_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    never_reserved = '150'
    monkeypatch.setattr(environment.os, 'environ', {'ROS_DOMAIN_ID': never_reserved})
    environment.isolate()
    assert environment.os.environ['ROS_DOMAIN_ID'] == never_reserved
    environment.os.environ['ROS_DOMAIN_ID'] = ''
    environment.isolate()
    assert environment.os.environ['ROS_DOMAIN_ID'] not in ('', never_reserved)
