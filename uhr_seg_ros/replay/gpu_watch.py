# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""What a replay takes of the GPU, as NVIDIA's own tools tell it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import re
import shutil
import subprocess
from tempfile import TemporaryFile

from uhr_seg_ros.engines.gpu_health import GpuSample

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
        for tool, (arguments, parse) in TOOLS.items():
            if path := shutil.which(tool):
                self._parse = parse
                self._output = TemporaryFile('w+')
                self._process = subprocess.Popen(
                    [path, *arguments], stdout=self._output, stderr=subprocess.DEVNULL
                )
                break

    def stop(self) -> dict[str, dict[str, float]]:
        """Give mean and maximum of what was seen; nothing without a GPU."""
        if self._process is None:
            return {}
        self.close()
        self._output.seek(0)
        samples = [sample for line in self._output if (sample := self._parse(line))]
        self._output.close()
        return summary(samples)


    def close(self) -> None:
        """End the tool, if there is one; calling it again does nothing."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()


def summary(samples: Sequence[GpuSample]) -> dict[str, dict[str, float]]:
    """Give mean and maximum of every figure that was seen."""
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
