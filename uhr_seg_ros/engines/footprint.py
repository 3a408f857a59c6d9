# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Peak memory of the detail branch, measured in processes of its own (Linux)."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from uhr_seg_ros.bundle import Bundle, Graph
from uhr_seg_ros.engines.engine import open_engine

#: The growth between these sizes (height, width) is what one more pixel costs.
SIZES = ((512, 1024), (1536, 2048))


def detail_bytes_per_pixel(bundle: Bundle) -> float | None:
    """
    Measure what the detail branch takes per pixel, in bytes; None where it cannot be told.

    Its input is part of it. Every size runs in a new process, since the peak of a process
    never falls.
    """
    peaks = []
    for size in SIZES:
        with ProcessPoolExecutor(1, mp_context=get_context('spawn')) as pool:
            peaks.append(pool.submit(_peak_bytes, bundle.graphs['detail'], *size).result())
    if None in peaks:
        return None
    pixels = [height * width for height, width in SIZES]
    return (peaks[1] - peaks[0]) / (pixels[1] - pixels[0])


def _peak_bytes(graph: Graph, height: int, width: int) -> int | None:
    engine = open_engine(graph)
    image = np.zeros((1, 3, height, width), np.float32)
    for _ in range(2):
        engine.run({'image': image}, graph.outputs)
    return peak_resident_bytes()


def peak_resident_bytes() -> int | None:
    """Give the largest resident memory that this process ever had; None outside Linux."""
    # Not getrusage: its maximum survives exec, so a child would start with its parent's.
    try:
        status = Path('/proc/self/status').read_text(encoding='ascii')
    except OSError:
        return None
    lines = dict(line.split(':', 1) for line in status.splitlines())
    return 1024 * int(lines['VmHWM'].split()[0])
