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
"""The gate: each limit from figures made by hand, and the command on real bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip('onnx', reason='the tiny bundle is made with onnx')

from tiny_bundle import make_tiny_bundle, paint
import yaml

from uhr_seg_ros.cli.main import main
from uhr_seg_ros.core.classes import CLASS_SETS
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.evaluation import gate as gates

CLASSES = CLASS_SETS['aerial']
NAMES = CLASSES.names
BUILDING, LAND, ROAD, VEGETATION, WATER = range(5)


def figures(wrong: dict[tuple[int, int], int] | None = None, **roofs: float) -> dict[str, Any]:
    """Return figures of 100 px per class, so many of them called another one."""
    counts = 100 * np.eye(5, dtype=int)
    for (true, found), pixels in (wrong or {}).items():
        counts[true, true] -= pixels
        counts[true, found] += pixels
    return {
        'iou': dict.fromkeys(NAMES, 0.5),
        'confusion': counts.tolist(),
        'recall': dict(zip(NAMES, (np.diag(counts) / 100).tolist(), strict=True)),
        'object_recall': {
            size: {'classes': {'building': recall}, 'objects_by_class': {'building': 20}}
            for size, recall in roofs.items()
        },
    }


def verdicts(content: dict[str, Any]) -> list[bool | None]:
    return [row['passed'] for row in gates.gate(content)]


def test_each_limit_alone() -> None:
    good = {'small': 0.75, 'large': 0.6}
    assert verdicts(figures(**good)) == [True, True, True, True]
    # A value that equals the limit keeps it.
    assert verdicts(figures({(VEGETATION, WATER): 5}, **good)) == [True] * 4
    assert verdicts(figures({(VEGETATION, WATER): 6}, **good)) == [False, True, True, True]
    assert verdicts(figures({(LAND, BUILDING): 6}, **good)) == [True, False, True, True]
    # The other way round is no danger, and roads are no open ground.
    others = {(WATER, VEGETATION): 15, (BUILDING, LAND): 90, (ROAD, LAND): 100}
    assert verdicts(figures(others, **good)) == [True] * 4
    many = {(WATER, ROAD): 20, (LAND, ROAD): 20, (VEGETATION, LAND): 10}
    assert verdicts(figures(many, **good)) == [True, True, False, True]
    assert verdicts(figures(small=0.75, large=0.59)) == [True, True, True, False]


def test_what_labels_do_not_tell_is_not_judged() -> None:
    content = figures(small=0.1)
    assert verdicts(content)[3] is None  # one size has no difference
    content['object_recall']['large'] = {
        'classes': {'building': 0.9},
        'objects_by_class': {'building': gates.FEWEST_ROOFS - 1},
    }
    assert verdicts(content)[3] is None
    counts = np.array(content['confusion'])
    counts[WATER] = counts[VEGETATION] = 0
    content['confusion'] = counts.tolist()
    rows = gates.gate(content)
    assert [row['passed'] for row in rows] == [None, True, None, None]
    assert gates.passes(rows)
    assert not gates.passes([row for row in rows if row['passed'] is None])
    assert 'not measured' in gates.describe(rows)[0]
    assert gates.describe(rows)[1] == 'gate: land called building: 0.000, kept (<= 0.05)'


def test_other_classes_are_refused() -> None:
    with pytest.raises(ConfigError, match='building, water are not among land, vegetation'):
        gates.check_gate_classes(['land', 'vegetation'])


@pytest.mark.parametrize(('painted', 'code'), [(VEGETATION, 0), (WATER, 1)])
def test_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], painted: int, code: int
) -> None:
    """A lawn in its own color passes; one in the color of water breaks the gate."""
    bundle = make_tiny_bundle(tmp_path / 'tiny', CLASSES)
    labels = np.repeat(np.array([LAND, VEGETATION, WATER], np.uint8), 32)[:, None].repeat(96, 1)
    seen = np.where(labels == VEGETATION, np.uint8(painted), labels)
    for folder, content in (('images', paint(seen, CLASSES)), ('labels', labels)):
        (tmp_path / 'set' / folder).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / 'set' / folder / 'a.png'), content)
    classes = [
        {'name': name, 'color': list(color)}
        for name, color in zip(NAMES, CLASSES.colors, strict=True)
    ]
    (tmp_path / 'set/classes.yaml').write_text(yaml.safe_dump({'classes': classes}))
    args = ['evaluate', '--bundle', str(bundle), '--dataset', 'folder', '--split', 'all']
    assert main([*args, '--root', str(tmp_path / 'set'), '--gate']) == code
    printed = capsys.readouterr().out
    (line,) = [each for each in printed.splitlines() if 'vegetation called water' in each]
    assert ('FAILED' in line) == (code == 1)
    assert 'roofs by size, largest difference: not measured' in printed
