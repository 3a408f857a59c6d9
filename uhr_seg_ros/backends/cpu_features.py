# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""What the CPU of this machine can do (Linux)."""

from __future__ import annotations

from functools import cache
from pathlib import Path
import platform
import re

CPU_INFO = Path('/proc/cpuinfo')

_X86 = ('x86_64', 'AMD64')


@cache
def has_exact_int8() -> bool:
    """
    Tell if sums of int8 products are exact and fast here.

    x86 before VNNI adds pairs of products in 16 bits, which saturate; there int8 is also hardly
    faster than float32. True where it cannot be told.
    """
    if platform.machine() not in _X86:
        return True
    try:
        flags = re.search(r'^flags\s*:(.*)$', CPU_INFO.read_text(encoding='ascii'), re.MULTILINE)
    except OSError:
        return True
    return flags is None or 'vnni' in flags[1]
