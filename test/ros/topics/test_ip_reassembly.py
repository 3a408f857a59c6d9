# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

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
