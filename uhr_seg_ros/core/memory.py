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

"""The memory of a process: its peak, and what the allocator keeps."""

from __future__ import annotations

import ctypes
from pathlib import Path

# Names of malloc.h
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_THRESHOLD = -3


def tune_malloc() -> bool:
    """
    Make glibc reuse freed frame buffers instead of giving their pages back.

    By default every buffer of a frame's size is a fresh mapping whose pages fault one by one; at
    4K that costs more than the copy into it. Call it before the first frame.

    Returns:
        Whether the settings were taken; False where the C library is not glibc.

    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return False
    # Releases of glibc before 2.35 refuse a threshold above half a heap, 32 MB: enough for 4K.
    threshold = mallopt(_M_MMAP_THRESHOLD, 1 << 30) or mallopt(_M_MMAP_THRESHOLD, 32 << 20)
    trim = mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
    pad = mallopt(_M_TOP_PAD, 256 << 20)
    return bool(threshold and trim and pad)


def trim_heap() -> bool:
    """
    Return the pages of everything freed to the system.

    Returns:
        Whether the C library could be asked; False where it is not glibc.

    """
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return False
    trim(0)
    return True


def peak_resident_bytes(pid: int | None = None) -> int | None:
    """
    Return the largest resident memory that a process ever had; None outside Linux.

    Args:
        pid: of the process; None: this one.
    """
    # Not getrusage: its maximum survives exec, so a child would start with its parent's.
    try:
        status = Path(f'/proc/{pid or "self"}/status').read_text(encoding='ascii')
    except OSError:
        return None
    lines = dict(line.split(':', 1) for line in status.splitlines())
    return 1024 * int(lines['VmHWM'].split()[0])
