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
"""What a file of results has to tell of its run, and must not tell."""

from __future__ import annotations

import json
from pathlib import Path
import platform
from typing import Any


def check_provenance(report: dict[str, Any]) -> None:
    """Check that a report tells what its figures depend on, and not whose machine it was."""
    assert report['date'].endswith('+00:00')
    assert 'commit' in report
    assert 'rmw' in report
    assert set(report['versions']) >= {'uhr_seg_ros', 'python', 'numpy', 'opencv', 'onnxruntime'}
    assert report['versions']['onnxruntime']
    machine = report['machine']
    assert set(machine) >= {'cpu', 'flags', 'governor', 'cpus', 'memory_mb', 'os'}
    assert machine['cpu'] and machine['governor'] and machine['cpus'] > 0
    text = json.dumps(report)
    home, checkout = str(Path.home()), str(Path(__file__).resolve().parents[2])
    names = [name for name in (platform.node(), home, checkout) if len(name) > 1]
    assert not [name for name in names if f'{name}/' in text or f'"{name}"' in text]
