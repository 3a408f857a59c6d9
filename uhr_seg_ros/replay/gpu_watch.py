# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""What a replay takes of the GPU, as NVIDIA's own tools tell it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import re
import subprocess
from threading import Thread

from uhr_seg_ros.core.gpu_health import GpuSample
from uhr_seg_ros.core.subprocesses import find_tool

#: How often the tools look, ms.
PERIOD_MS = 500


def parse_nvidia_smi(line: str) -> GpuSample | None:
    """Read `utilization.gpu, memory.used, temperature.gpu` of one line; None if it is no such."""
    values = [_number(part) for part in line.split(',')]
    return GpuSample(*values) if len(values) == 3 else None


def parse_tegrastats(line: str) -> GpuSample | None:
    """Read a line of a Jetson's tool, whose GPU shares the memory of the board."""
    load = re.search(r'GR3D_FREQ (\d+)%', line)
    memory = re.search(r'RAM (\d+)/\d+MB', line)
    temperature = re.search(r'gpu@(-?[\d.]+)C', line, re.IGNORECASE)
    if not load and not memory:
        return None
    found = (float(match[1]) if match else None for match in (load, memory, temperature))
    return GpuSample(*found)


#: Tool -> (its arguments, how to read what it prints).
TOOLS: dict[str, tuple[Sequence[str], Callable[[str], GpuSample | None]]] = {
    'tegrastats': (('--interval', str(PERIOD_MS)), parse_tegrastats),
    'nvidia-smi': (
        (
            '--query-gpu=utilization.gpu,memory.used,temperature.gpu',
            '--format=csv,noheader,nounits',
            f'--loop-ms={PERIOD_MS}',
        ),
        parse_nvidia_smi,
    ),
}


class GpuWatch:
    """Watches from its construction on; without a tool, or a GPU, it sees nothing."""

    def __init__(self) -> None:
        self._process: subprocess.Popen | None = None
        self._lines: list[str] = []
        for tool, (arguments, parse) in TOOLS.items():
            if path := find_tool(tool):
                self._parse = parse
                # Through a pipe: once nobody reads it any more, the tool ends, too.
                self._process = subprocess.Popen(
                    [path, *arguments],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                )
                self._reader = Thread(target=self._read, daemon=True)
                self._reader.start()
                break

    def stop(self) -> dict[str, dict[str, float]]:
        """Return mean and maximum of what was seen; nothing without a GPU."""
        if self._process is None:
            return {}
        self.close()
        return summary([sample for line in self._lines if (sample := self._parse(line))])

    def close(self) -> None:
        """End the tool, if there is one; calling it again does nothing."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._reader.join()

    def _read(self) -> None:
        with self._process.stdout as output:
            self._lines.extend(output)


def summary(samples: Sequence[GpuSample]) -> dict[str, dict[str, float]]:
    """Return mean and maximum of every figure that was seen."""
    result = {}
    for name in GpuSample._fields:
        values = [value for sample in samples if (value := getattr(sample, name)) is not None]
        if values:
            result[name] = {'mean': round(sum(values) / len(values), 1), 'max': max(values)}
    return result


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:  # such as [N/A]
        return None
