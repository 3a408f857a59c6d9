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

"""What streams cost: every form of a small flight is read, and compared with JPEG."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip('av', reason='PyAV (av) is not installed')

from tools.stream_cost import main


def test_every_form_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / 'cost.json'
    assert main(['--size', '320x192', '--frames', '4', '--json', str(file)]) == 0
    found = json.loads(file.read_text())['read']
    assert list(found) == ['raw', 'JPEG', 'H.264', 'H.265']
    assert found['raw']['kb'] == pytest.approx(320 * 192 * 3 / 1e3, abs=0.1)
    assert found['H.264']['kb'] < found['JPEG']['kb'] < found['raw']['kb']
    assert found['JPEG']['time_to_jpeg'] == found['JPEG']['bytes_to_jpeg'] == 1.0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == list(found)
