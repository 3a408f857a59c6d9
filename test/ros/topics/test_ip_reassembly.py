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

"""What Linux tells about packets that could not be put together."""

from __future__ import annotations

from pathlib import Path

import pytest

from uhr_seg_ros.ros.topics import silence

SNMP = """Ip: Forwarding DefaultTTL InReceives ReasmTimeout ReasmReqds ReasmOKs ReasmFails
Ip: 1 64 4711 2 90 80 17
Udp: InDatagrams NoPorts
Udp: 12 0
"""


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a /proc of our own, with the settings that Linux has by default."""
    (tmp_path / 'net').mkdir()
    (tmp_path / 'sys/net/ipv4').mkdir(parents=True)
    (tmp_path / 'net/snmp').write_text(SNMP)
    (tmp_path / 'sys/net/ipv4/ipfrag_high_thresh').write_text('4194304\n')
    monkeypatch.setattr(silence, '_PROC', tmp_path)
    return tmp_path


def test_failures_and_what_to_do(proc: Path) -> None:
    assert silence.failed_reassemblies() == 17
    advice = silence.reassembly_advice(5)
    assert advice.startswith('5 datagrams could not be put together')
    assert advice.endswith(
        'ipfrag_high_thresh is 4194304. Run: sysctl -w net.ipv4.ipfrag_high_thresh=134217728 '
        'net.ipv4.ipfrag_time=3'
    )
    assert silence.reassembly_advice(0) == ''
    (proc / 'sys/net/ipv4/ipfrag_high_thresh').write_text('134217728\n')
    assert silence.reassembly_advice(5) == ''


def test_nobody_tells(proc: Path) -> None:
    (proc / 'net/snmp').write_text('nothing of the kind')
    assert silence.failed_reassemblies() == 0
    (proc / 'net/snmp').unlink()
    assert silence.failed_reassemblies() == 0
    (proc / 'sys/net/ipv4/ipfrag_high_thresh').unlink()
    assert silence.reassembly_advice(5) == ''


def test_this_machine() -> None:
    assert silence.failed_reassemblies() >= 0
