# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Whether Linux loses frames because it cannot put their packets together."""

from __future__ import annotations

from pathlib import Path

_PROC = Path('/proc')

#: What frames of 25 MB need: bytes for packets that wait for the others of their datagram, and for
#: how long they may wait, s. Linux has 4 MB and 30 s: after lost packets, what waits in vain fills
#: the memory, and for half a minute nothing large gets through.
NEEDED_BYTES, NEEDED_S = 134217728, 3


def failed_reassemblies() -> int:
    """Return how many datagrams could not be put together so far; 0 where nobody tells."""
    try:
        lines = (_PROC / 'net/snmp').read_text(encoding='ascii').splitlines()
    except OSError:
        return 0
    rows = [line.split()[1:] for line in lines if line.startswith('Ip: ')]
    if len(rows) != 2:
        return 0
    return int(dict(zip(*rows, strict=False)).get('ReasmFails', 0))


def reassembly_advice(failed: int) -> str:
    """
    Return what to do about failed reassemblies.

    Args:
        failed: how many there were since frames came last.

    Returns:
        A sentence; empty if there were none, or the settings are not to blame.

    """
    room = _setting('ipfrag_high_thresh')
    if not failed or room is None or room >= NEEDED_BYTES:
        return ''
    return (
        f'{failed} datagrams could not be put together from their packets: packets are lost on '
        f'the way, and net.ipv4.ipfrag_high_thresh is {room}. Run: sysctl -w '
        f'net.ipv4.ipfrag_high_thresh={NEEDED_BYTES} net.ipv4.ipfrag_time={NEEDED_S}'
    )


def _setting(name: str) -> int | None:
    try:
        return int((_PROC / 'sys/net/ipv4' / name).read_text(encoding='ascii'))
    except (OSError, ValueError):
        return None
