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

"""What the processes of a replay take of the machine, and of its GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
import re
import subprocess
from threading import Event, Thread
import time
from typing import Any

import psutil

from uhr_seg_ros.core.gpu_health import GpuSample, parse_nvidia_smi, SMI_QUERY
from uhr_seg_ros.core.memory import peak_resident_bytes
from uhr_seg_ros.core.subprocesses import find_tool

SAMPLE_PERIOD_S = 2.0
"""How often the memory of the node is noted."""


@dataclass(frozen=True)
class Load:
    """
    What a replay took.

    Attributes:
        seconds: while frames were played.
        cpu_percent: process -> share of one core, 100 for a core in full use; the node with all
            that it started.
        memory_mb: resident memory of the node before and after.
        memory_series: time since the start, s, and resident memory of the node, MB.
        peak_mb: the most it ever was; of several processes the sum of their peaks.
        gpu: figure -> mean and max; see `GpuSample`.

    """

    seconds: float
    cpu_percent: dict[str, float]
    memory_mb: tuple[int, int]
    memory_series: list[tuple[float, float]]
    peak_mb: int
    gpu: dict[str, dict[str, float]]


class ProcessTree:
    """
    A process and all that it started, which are more than one for `ros2 run` and launch files.

    Args:
        pid: of the process at the root.

    """

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)

    def cpu_s(self) -> float:
        """Return the time of the processor that all have used, those that have ended included."""
        # What a child used is its parent's (`children_...`) from when it has ended.
        return sum(sum(times[:4]) for times in self._each(psutil.Process.cpu_times))

    def resident_bytes(self) -> int:
        """Return their resident memory; what they share counts for each."""
        return sum(memory.rss for memory in self._each(psutil.Process.memory_info))

    def peak_bytes(self) -> int:
        """Return the sum of the largest resident memory that each ever had; 0 outside Linux."""
        return sum(self._each(lambda process: peak_resident_bytes(process.pid) or 0))

    def _each(self, ask: Callable[[psutil.Process], Any]) -> list[Any]:
        """Ask all; the root has to be there, the others may have ended meanwhile."""
        found = [ask(self._root)]
        for process in self._root.children(recursive=True):
            with suppress(psutil.Error):
                found.append(ask(process))
        return found


class LoadMeter:
    """
    Measures from its construction on.

    Args:
        node_pid: process of the node.

    """

    def __init__(self, node_pid: int) -> None:
        self._node = ProcessTree(node_pid)
        self._start = time.monotonic()
        self._cpu_s = self._used()
        self._memory = self._node.resident_bytes()
        self._gpu = GpuWatch()
        self._series: list[tuple[float, float]] = []
        self._ended = Event()
        Thread(target=self._watch, daemon=True).start()

    def stop(self, player_cpu_s: float) -> Load:
        """Return what was taken since; the player, which has ended, says itself what it took."""
        seconds = time.monotonic() - self._start
        self._ended.set()
        used = {name: now - self._cpu_s[name] for name, now in self._used().items()}
        used['player'] = player_cpu_s
        memory = self._node.resident_bytes()
        return Load(
            round(seconds, 3),
            {name: round(100 * cpu_s / seconds, 1) for name, cpu_s in used.items()},
            (self._memory >> 20, memory >> 20),
            self._series,
            self._node.peak_bytes() >> 20,
            self._gpu.stop(),
        )

    def close(self) -> None:
        """Measure no longer; for a replay that failed."""
        self._ended.set()
        self._gpu.close()

    def _watch(self) -> None:
        """Record the memory of the node now and then."""
        with suppress(psutil.Error):  # the node has ended
            while True:
                seconds = round(time.monotonic() - self._start, 1)
                self._series.append((seconds, round(self._node.resident_bytes() / 2**20, 1)))
                if self._ended.wait(SAMPLE_PERIOD_S):
                    return

    def _used(self) -> dict[str, float]:
        return {'node': self._node.cpu_s(), 'collector': time.process_time()}


def idle_percent(seconds: float = 1.0) -> float:
    """Watch the machine; return the share of its processor time that nobody takes, %."""
    return psutil.cpu_times_percent(seconds).idle


#: How often the tools look, ms.
PERIOD_MS = 500


def parse_tegrastats(line: str) -> GpuSample | None:
    """Read a line of a Jetson's tool, whose GPU shares the memory of the board."""
    load = re.search(r'GR3D_FREQ (\d+)%', line)
    memory = re.search(r'RAM (\d+)/\d+MB', line)
    temperature = re.search(r'gpu@(-?[\d.]+)C', line, re.IGNORECASE)
    if not load and not memory:
        return None
    return GpuSample(
        *(float(match[1]) if match else None for match in (load, memory, temperature))
    )


#: Tool -> (its arguments, how to read what it prints).
TOOLS: dict[str, tuple[Sequence[str], Callable[[str], GpuSample | None]]] = {
    'tegrastats': (('--interval', str(PERIOD_MS)), parse_tegrastats),
    'nvidia-smi': (
        (*SMI_QUERY, f'--loop-ms={PERIOD_MS}'),
        parse_nvidia_smi,
    ),
}


class GpuWatch:
    """Watches from its construction on; without a tool, or a GPU, it sees nothing."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
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
                self._reader = Thread(target=self._read, args=(self._process,), daemon=True)
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

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as output:
            self._lines.extend(output)


def summary(samples: Sequence[GpuSample]) -> dict[str, dict[str, float]]:
    """Return mean and maximum of every figure that was seen."""
    result = {}
    for name in GpuSample._fields:
        values = [value for sample in samples if (value := getattr(sample, name)) is not None]
        if values:
            result[name] = {'mean': round(sum(values) / len(values), 1), 'max': max(values)}
    return result
