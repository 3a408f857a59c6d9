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

"""The tiny bundle that tests take without onnx is the one that they make with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_bundle import KEPT


def test_kept_bundle_is_the_one_that_is_made(tiny_bundle: Path) -> None:
    onnx = pytest.importorskip('onnx', reason='graphs are compared with onnx')
    names = sorted(file.name for file in tiny_bundle.glob('*.onnx'))
    assert names == sorted(file.name for file in KEPT.glob('*.onnx'))
    for name in names:
        assert onnx.load(KEPT / name).graph == onnx.load(tiny_bundle / name).graph, name
