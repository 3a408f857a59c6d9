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

"""The driver's side: contexts, streams, graphs, threads and ends, through the real pycuda."""

from __future__ import annotations

import os
from pathlib import Path
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np

from tools.gpu_cases import Cases, Result
from tools.gpu_process import last_words, start_section
from tools.gpu_setup import Setup
from uhr_seg_ros.backends.tensorrt.kernels import DeviceMap, Kernels
from uhr_seg_ros.core.errors import EngineError

ROOT = Path(__file__).resolve().parents[1]

#: They run on the stand-in for the driver as tests, and here on the driver.
CHECKS = ('test/backends/cuda_checks.py', 'test/backends/cuda_life_checks.py')

#: Memory that contexts keep from one time to the next, bytes.
_KEPT = 8 << 20


def life(setup: Setup) -> Cases:
    """Run the checks of `Cuda` on the driver, open and close, and break a context."""
    yield 'opened and closed', lambda: _opened_and_closed(setup)
    yield 'checks', lambda: _checks(setup.files / 'checks.xml')
    yield 'after an illegal address', lambda: _in_a_process('broken_context', setup)


def broken_context(setup: Setup) -> Result:
    """
    Let a kernel write where nothing is; what is then said, and whether closing works.

    The context cannot be used afterwards: for a process of its own.
    """
    cuda = setup.machine.cuda()
    cubin = setup.kit.cubin(setup.machine.gpu().capability)
    kernels = Kernels(cuda, cuda.load(cubin), np.dtype(np.float16))
    stream, said = cuda.stream(), 'nothing'
    quarter = DeviceMap.over(256, (1, 2, 16, 16), 2)
    try:
        kernels.finish(quarter, (64, 64), (256, 1), 0, 0, stream)
        cuda.synchronize(stream)
    except EngineError as err:
        said = str(err)
    cuda.close()
    return {'said': said, 'closed': True}


def _opened_and_closed(setup: Setup) -> Result:
    free = []
    for _ in range(10):
        cuda = setup.machine.cuda()
        cuda.allocate(1 << 20)
        cuda.pinned(1 << 20)
        stream = cuda.stream()
        cuda.synchronize(stream)
        free.append(cuda.memory()[0])
        cuda.close()
    return {'times': len(free), 'keeps_memory': free[1] - free[-1] > _KEPT}


def _checks(report: Path) -> Result:
    """Run the files of checks by pytest; raises with the end of its output if it cannot."""
    command = [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider']
    done = subprocess.run(
        [*command, f'--junitxml={report}', *CHECKS],
        env={**os.environ, 'PYTEST_DISABLE_PLUGIN_AUTOLOAD': '1'},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if not report.is_file():
        raise EngineError(last_words(done.stdout + done.stderr))
    cases = list(ElementTree.parse(report).iter('testcase'))
    bad = {
        f'{case.get("classname")}.{case.get("name")}': last_words(fault.text or '')[:300]
        for case in cases
        for fault in (*case.findall('failure'), *case.findall('error'))
    }
    skipped = sum(case.find('skipped') is not None for case in cases)
    return {'run': len(cases) - skipped, 'skipped': skipped, 'failed': bad}


def _in_a_process(section: str, setup: Setup) -> Result:
    done = start_section(section, setup, capture_output=True, text=True)
    if done.returncode:
        return {'exit_code': done.returncode, 'said': last_words(done.stderr)}
    return {'exit_code': 0, 'said': last_words(done.stdout)}
